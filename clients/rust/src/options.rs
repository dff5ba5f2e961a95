//! What a client and a breaker can be told. Every default is good for a server on this machine.

use std::{env, fmt, fs, sync::Arc, time::Duration};

use crate::{Error, Observer, Policy};

/// How calls are decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// In this process's memory while the breaker is closed or open.
    #[default]
    Cached,
    /// By the server, each call.
    Strict,
}

/// What decides calls while the server cannot be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum WhenUnavailable {
    /// A breaker in this process stands in.
    #[default]
    Local,
    /// Every call is permitted.
    Permit,
    /// Every call is rejected, for [`Reason::Unavailable`](crate::Reason::Unavailable).
    Reject,
}

/// TLS to the server. The default is the machine's roots and no certificate of one's own.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// PEM of the authorities to trust, in the place of the machine's.
    pub roots: Option<String>,
    /// PEM of the certificate chain and of the key by which this client shows who it is.
    pub identity: Option<(String, String)>,
    /// The name that the server's certificate is to carry. None: the address's.
    pub server_name: Option<String>,
}

/// The time that decisions go by: what has passed since any fixed point, never going back. For tests.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// A client's options. `Options::default()` reads the environment as its fields say.
#[derive(Clone)]
pub struct Options {
    /// The server: `host:port`, `http://…`, or `https://…`, the latter with TLS. Default: `FUSEBOARD_ADDRESS`, else
    /// `127.0.0.1:50051`.
    pub address: String,
    /// Who asks, as `service/instance`. Bytes other than A-Z a-z 0-9 . _ - : / become `-`; at most 200 are kept.
    /// Default: `FUSEBOARD_CALLER`, else `FUSEBOARD_SERVICE` (else `app`), the host's name and the process's number.
    pub caller: String,
    /// Sent with each request as `authorization: Bearer …`. Default: `FUSEBOARD_TOKEN`, else none.
    pub token: Option<String>,
    /// Default: off, but for an `https` address, where it is the machine's roots. Needs the feature `tls`.
    pub tls: Option<Tls>,
    /// Of breakers that say none. Default: cached.
    pub mode: Mode,
    /// Of breakers that say none. Default: local.
    pub when_unavailable: WhenUnavailable,
    /// Longest wait for the answer to an acquire. Above 0. Default: 50 ms.
    pub acquire_timeout: Duration,
    /// Longest wait of `execute` for the answer to a report. Above 0. Default: 50 ms.
    pub report_timeout: Duration,
    /// How long successes are gathered before they are told. Above 0. Default: 100 ms.
    pub report_interval: Duration,
    /// How often the server says that it is there: 1 s to 60 s. Default: 2 s.
    pub progress_interval: Duration,
    /// How old what the watch said may be for a call to be permitted from memory. Default: twice the progress interval.
    pub max_staleness: Option<Duration>,
    /// Longest wait of `close`. Default: 1 s.
    pub close_timeout: Duration,
    /// Hears every decision, outcome and event. Default: none. What happens to the link is also told by `tracing`.
    pub observer: Option<Arc<dyn Observer>>,
    /// Default: the machine's. The link's own timers go by the machine's clock all the same.
    pub clock: Option<Clock>,
}

impl Default for Options {
    fn default() -> Self {
        let text = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            address: text("FUSEBOARD_ADDRESS").unwrap_or_else(|| "127.0.0.1:50051".into()),
            caller: text("FUSEBOARD_CALLER").unwrap_or_else(|| {
                let host = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| text("HOSTNAME"));
                let service = text("FUSEBOARD_SERVICE").unwrap_or_else(|| "app".into());
                format!("{service}/{}-{}", host.as_deref().map_or("unknown", str::trim), std::process::id())
            }),
            token: text("FUSEBOARD_TOKEN"),
            tls: None,
            mode: Mode::Cached,
            when_unavailable: WhenUnavailable::Local,
            acquire_timeout: Duration::from_millis(50),
            report_timeout: Duration::from_millis(50),
            report_interval: Duration::from_millis(100),
            progress_interval: Duration::from_secs(2),
            max_staleness: None,
            close_timeout: Duration::from_secs(1),
            observer: None,
            clock: None,
        }
    }
}

impl fmt::Debug for Options {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, caller, mode, when_unavailable, .. } = self;
        write!(f, "Options({address}, {caller}, {mode:?}, {when_unavailable:?})")
    }
}

impl Options {
    /// For a server, with every other default.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), ..Self::default() }
    }

    pub(crate) fn staleness_max(&self) -> Duration {
        self.max_staleness.unwrap_or(self.progress_interval * 2)
    }

    /// The options within their ranges, or what is wrong with them.
    pub(crate) fn validated(mut self) -> Result<Self, Error> {
        let problem = |option, problem: &str| Err(Error::Option { option, problem: problem.to_owned() });
        for (option, duration) in [
            ("acquire_timeout", self.acquire_timeout),
            ("report_timeout", self.report_timeout),
            ("report_interval", self.report_interval),
            ("max_staleness", self.staleness_max()),
        ] {
            if duration.is_zero() {
                return problem(option, "is 0; it is to be longer");
            }
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(60)).contains(&self.progress_interval) {
            return problem("progress_interval", "is to be 1 s to 60 s");
        }
        if let Some((scheme, rest)) = self.address.split_once("://") {
            match scheme {
                "https" => self.tls = Some(self.tls.unwrap_or_default()),
                "http" if self.tls.is_none() => {}
                "http" => return problem("address", "is http although TLS is set; write https"),
                _ => return problem("address", "has a scheme that is neither http nor https"),
            }
            self.address = rest.trim_end_matches('/').to_owned();
        }
        if self.tls.is_some() && cfg!(not(feature = "tls")) {
            return problem("tls", "needs the feature `tls` of this crate");
        }
        self.caller = key_bytes(&self.caller);
        Ok(self)
    }
}

/// One breaker's options.
#[derive(Debug, Clone, Default)]
pub struct BreakerOptions {
    /// The policy that is declared for it. Default: none is; the server's own holds.
    pub policy: Option<Policy>,
    /// Of the declaration: the highest stands, the first among equals. 0: none; the last one stands.
    pub revision: u64,
    /// Default: the client's.
    pub mode: Option<Mode>,
    /// Default: the client's.
    pub when_unavailable: Option<WhenUnavailable>,
    /// Longest that `execute` lets a call take; then it is dropped, and its outcome is a timeout. Default: no limit.
    pub call_timeout: Option<Duration>,
}

/// The longest key, and the longest caller.
const KEY_BYTES: usize = 200;

const fn is_key_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':' | b'/')
}

/// Text with what is not a key's byte turned into `-`, cut to a key's length.
fn key_bytes(text: &str) -> String {
    text.bytes().take(KEY_BYTES).map(|byte| if is_key_byte(byte) { char::from(byte) } else { '-' }).collect()
}

pub(crate) fn validate_key(key: &str) -> Result<(), Error> {
    let problem = |problem: String| Err(Error::Option { option: "breaker", problem });
    if key.is_empty() || key.len() > KEY_BYTES {
        return problem(format!("the key has {} bytes; it is to have 1 to {KEY_BYTES}", key.len()));
    }
    match key.bytes().position(|byte| !is_key_byte(byte)) {
        Some(at) => problem(format!("byte {at} of the key {key:?} is none of A-Z a-z 0-9 . _ - : /")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_out_of_range_is_named() {
        let named = |options: Options| options.validated().expect_err("refused").to_string();
        assert!(
            named(Options { acquire_timeout: Duration::ZERO, ..Options::default() }).starts_with("acquire_timeout")
        );
        let often = Options { progress_interval: Duration::from_millis(10), ..Options::default() };
        assert_eq!(named(often), "progress_interval: is to be 1 s to 60 s");
        assert!(named(Options::new("ftp://here")).starts_with("address"));
    }

    #[test]
    fn a_caller_is_made_of_a_keys_bytes() {
        let options = Options { caller: "web app/ü".into(), ..Options::default() }.validated().expect("valid");
        assert_eq!(options.caller, "web-app/--");
        assert!(validate_key("a key").is_err());
        assert!(validate_key("shop/payments:eu-1").is_ok());
    }
}
