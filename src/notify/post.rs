//! One message to one receiver: signed as Standard Webhooks has it, sent once, taken or not.

use std::{fs, io, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use ring::hmac;
use tokio_rustls::rustls::crypto::ring as provider;

use super::{Webhook, shape::Message};

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What a secret begins with that is written as base64.
const BASE64_PREFIX: &str = "whsec_";

/// The way to a receiver.
pub(super) struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    content_type: &'static str,
    key: Option<hmac::Key>,
}

impl Poster {
    /// Reads the secret, and the machine's authorities.
    pub(super) fn new(webhook: &Webhook) -> io::Result<Self> {
        let builder = HttpsConnectorBuilder::new();
        let builder = builder.with_provider_and_native_roots(provider::default_provider())?;
        let connector = builder.https_or_http().enable_http1().build();
        let key = read_key(webhook)?;
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            url: webhook.url.clone(),
            content_type: webhook.shape.content_type(),
            key,
        })
    }

    /// Sends it once. The error is for people.
    #[expect(clippy::disallowed_methods, reason = "a receiver takes real time, whatever clock the breakers have")]
    pub(super) async fn post(&self, message: &Message) -> Result<(), String> {
        let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, self.content_type)
            .header(header::USER_AGENT, concat!("fuseboard/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", seconds);
        if let Some(key) = &self.key {
            request = request.header("webhook-signature", signature(key, &message.id, seconds, &message.body));
        }
        let request = request.body(Full::from(message.body.clone())).map_err(|error| error.to_string())?;
        let answer = tokio::time::timeout(TIMEOUT, self.client.request(request)).await;
        match answer {
            Err(_) => Err(format!("no answer within {TIMEOUT:?}")),
            Ok(Err(error)) => Err(innermost(&error)),
            Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
            Ok(Ok(answer)) => Err(refusal(answer.status())),
        }
    }
}

fn refusal(status: StatusCode) -> String {
    let what = if status.is_redirection() { "; redirections are not followed" } else { "" };
    format!("it answered {status}{what}")
}

/// What an error comes down to.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// The key in a webhook's secret file, if it has one.
fn read_key(webhook: &Webhook) -> io::Result<Option<hmac::Key>> {
    let Some(path) = &webhook.secret_file else { return Ok(None) };
    let wrong =
        |why: String| io::Error::other(format!("secret_file {} of webhook {:?}: {why}", path.display(), webhook.name));
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let advice = "must hold 24 bytes or more, or whsec_ and base64; make one with `openssl rand -hex 32`";
    signing_key(text.trim()).map(Some).ok_or_else(|| wrong(advice.to_owned()))
}

/// Reads a webhook's secret as a start does.
///
/// # Errors
/// It cannot be read, or is too short.
pub(crate) fn check_secret(webhook: &Webhook) -> io::Result<()> {
    read_key(webhook).map(drop)
}

/// The key in a secret: base64 behind `whsec_`, else the bytes themselves.
fn signing_key(secret: &str) -> Option<hmac::Key> {
    let bytes = match secret.strip_prefix(BASE64_PREFIX) {
        Some(encoded) => BASE64_STANDARD.decode(encoded).ok()?,
        None => secret.as_bytes().to_vec(),
    };
    (bytes.len() >= 24).then(|| hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// `v1,` and the HMAC-SHA256 of `id.timestamp.body`.
fn signature(key: &hmac::Key, id: &str, seconds: u64, body: &str) -> String {
    let tag = hmac::sign(key, format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, <https://www.standardwebhooks.com>.
    #[test]
    fn a_message_is_signed_as_the_specification_says() {
        let key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_can_be_guessed_is_none() {
        for secret in ["", "short", "whsec_", "whsec_c2hvcnQ=", "whsec_no base64 at all, however long it may be"] {
            assert!(signing_key(secret).is_none(), "{secret}");
        }
        assert!(signing_key("a secret of twenty-four b").is_some());
    }
}
