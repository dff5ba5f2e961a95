//! The one connection of a client, and when a stream that has ended is opened again.

use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tonic::{
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use crate::{Error, Options, pb::breaker_service_client::BreakerServiceClient};

/// Bounds one attempt to connect, so that a server behind a wire that swallows everything is found soon after the wire is
/// mended.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEPALIVE_AFTER: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that carries the token.
pub(crate) type Calls = InterceptedService<Channel, Token>;
/// The generated client over such a connection.
pub(crate) type Api = BreakerServiceClient<Calls>;

/// The client's connection. It can be replaced: a wire that swallows everything, but is acknowledged by a system on the
/// way, is noticed by no keepalive.
pub(crate) struct Connection {
    endpoint: Endpoint,
    token: Token,
    current: Mutex<(Channel, CancellationToken)>,
}

impl Connection {
    /// Connects when it is first used.
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        let endpoint = endpoint(options)?;
        let token = Token::new(options.token.as_deref())?;
        let current = Mutex::new((endpoint.connect_lazy(), CancellationToken::new()));
        Ok(Self { endpoint, token, current })
    }

    /// The connection as it is now, for other clients that are generated.
    pub(crate) fn calls(&self) -> Calls {
        InterceptedService::new(self.current.lock().0.clone(), self.token.clone())
    }

    /// The generated client, and what tells that its connection was replaced.
    pub(crate) fn api(&self) -> (Api, CancellationToken) {
        let (channel, replaced) = self.current.lock().clone();
        (BreakerServiceClient::with_interceptor(channel, self.token.clone()), replaced)
    }

    /// Dials anew. Who uses the old connection is told.
    pub(crate) fn replace(&self) {
        let fresh = (self.endpoint.connect_lazy(), CancellationToken::new());
        let (_, replaced) = std::mem::replace(&mut *self.current.lock(), fresh);
        replaced.cancel();
    }
}

fn endpoint(options: &Options) -> Result<Endpoint, Error> {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let problem = |problem: String| Error::Option { option: "address", problem };
    let endpoint = Endpoint::from_shared(format!("{scheme}://{}", options.address))
        .map_err(|error| problem(format!("{:?}: {error}", options.address)))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEPALIVE_AFTER)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    with_tls(endpoint, options)
}

#[cfg(feature = "tls")]
fn with_tls(endpoint: Endpoint, options: &Options) -> Result<Endpoint, Error> {
    use tonic::transport::{Certificate, ClientTlsConfig, Identity};

    let Some(tls) = &options.tls else { return Ok(endpoint) };
    let mut config = match &tls.roots {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let Some((certificate, key)) = &tls.identity {
        config = config.identity(Identity::from_pem(certificate, key));
    }
    if let Some(name) = &tls.server_name {
        config = config.domain_name(name);
    }
    endpoint.tls_config(config).map_err(|error| Error::Option { option: "tls", problem: error.to_string() })
}

#[cfg(not(feature = "tls"))]
fn with_tls(endpoint: Endpoint, _: &Options) -> Result<Endpoint, Error> {
    Ok(endpoint)
}

/// Sends the token with each request.
#[derive(Clone, Debug)]
pub(crate) struct Token(Option<MetadataValue<Ascii>>);

impl Token {
    fn new(token: Option<&str>) -> Result<Self, Error> {
        let Some(token) = token else { return Ok(Self(None)) };
        let problem = || Error::Option { option: "token", problem: "holds bytes that a header cannot carry".into() };
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| problem())?;
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// When a stream that has ended is opened again.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    /// In a row, since the stream last worked.
    failures: u32,
}

impl Retry {
    const FIRST: Duration = Duration::from_secs(1);
    const BASE: Duration = Duration::from_millis(200);
    const MAX: Duration = Duration::from_secs(5);

    /// The stream has answered.
    pub(crate) const fn worked(&mut self) {
        self.failures = 0;
    }

    /// The wait before the next attempt.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let longest = match self.failures {
            0 => Self::FIRST,
            failures => (Self::BASE * 2u32.pow(failures.min(10))).min(Self::MAX),
        };
        self.failures += 1;
        evenly(longest)
    }
}

/// Draws a duration from 0 to `longest`.
pub(crate) fn evenly(longest: Duration) -> Duration {
    rand::random_range(Duration::ZERO..=longest)
}
