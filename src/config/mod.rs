//! The server's configuration: flags over environment over a file over defaults.
//!
//! Every setting is one field of [`Config`] or [`Limits`], and says there what it means, its range, its default, its
//! flag and its environment variable; clap reads the same lines for `--help`. The layers choose one text for each
//! setting, and what they chose is read as if it had been typed as a flag, so a setting means the same wherever it was
//! written. A `Config` that exists is complete and valid.

#[cfg(test)]
mod docs;
mod error;
mod file;
mod identities;
mod layers;
mod policies;
mod setting;
mod tables;
mod value;
mod webhooks;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use clap::{Args, ValueEnum};

use self::value::{
    address, bytes, count, data_dir, duration, file_path, http_address, log_filter, otlp_endpoint, share,
};
pub use self::{
    error::{Error, Errors},
    file::{ReadAgain, parse_policies},
    identities::Identity,
    layers::{Loaded, load, unread},
    policies::PolicyFile,
};

use crate::{
    notify::Webhook,
    store::{OnClockJump, OnDamage},
    tls::ClientAuth,
};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogFormat {
    /// Lines for people, coloured on a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

/// Where a part of the server listens, if it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// There.
    At(SocketAddr),
}

impl Listen {
    /// The address, if there is one.
    #[must_use]
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

/// Where something is sent to, if it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Endpoint {
    /// Nowhere.
    Off,
    /// To this URL.
    At(String),
}

/// A file, if there is one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FilePath {
    /// None.
    Off,
    /// There.
    At(PathBuf),
}

impl FilePath {
    /// The path, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Off => None,
            Self::At(path) => Some(path),
        }
    }
}

/// Where the HTTP port is unless something else is said.
pub const DEFAULT_HTTP_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// The server's configuration, complete and valid.
#[derive(Clone, PartialEq, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct Config {
    /// Address to listen on, IP:PORT. Port 0: any free port. An address other than loopback needs tls_cert or insecure_network.
    #[arg(long, env = "FUSEBOARD_ADDRESS", value_name = "IP:PORT", default_value = "127.0.0.1:50051")]
    #[arg(value_parser = address)]
    pub address: SocketAddr,

    /// Address of the HTTP port, IP:PORT: dashboard, health, metrics and the JSON API. off: no such port. Port 0: any free
    /// port. Where the default is taken there is none, and where another is the server does not start. An address other than
    /// loopback needs tls_cert or insecure_network.
    #[arg(long, env = "FUSEBOARD_HTTP_ADDRESS", value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = http_address)]
    pub http_address: Listen,

    /// Threads that serve, each with its own listener on the address. 0 to 1,024. Zero: one for each core.
    #[arg(long, env = "FUSEBOARD_THREADS", value_name = "COUNT", default_value = "0")]
    #[arg(value_parser = count::<usize>(0..=1024))]
    pub threads: usize,

    /// Directory that keeps the state; made where it is not there. One server at a time uses it. auto: $XDG_STATE_HOME/fuseboard,
    /// else $HOME/.local/state/fuseboard; without a home /var/lib/fuseboard for root, and ./fuseboard-data for others.
    #[arg(long, env = "FUSEBOARD_DATA_DIR", value_name = "PATH", default_value = value::AUTO)]
    #[arg(value_parser = data_dir)]
    pub data_dir: PathBuf,

    /// Keep nothing: a restart begins afresh. Not together with a data_dir. true or false.
    #[arg(long, env = "FUSEBOARD_EPHEMERAL", value_name = "BOOL", default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub ephemeral: bool,

    /// What a start does about stored state that cannot be read: set-aside (keep it under another name, start with what
    /// can be read under a new history, and say so) or stop (do not start, and name the place).
    #[arg(long, env = "FUSEBOARD_ON_DAMAGE", value_name = "ACTION", default_value = "set-aside")]
    #[arg(value_enum, hide_possible_values = true)]
    pub on_damage: OnDamage,

    /// What a start does where the machine's clock is more than 24 h later than the time stored last, and tokens, overrides or
    /// events would expire by that: stop (do not start, and say what would) or accept (let them expire), for where nobody is
    /// there to say `fuseboard store accept-clock`.
    #[arg(long, env = "FUSEBOARD_ON_CLOCK_JUMP", value_name = "ACTION", default_value = "stop")]
    #[arg(value_enum, hide_possible_values = true)]
    pub on_clock_jump: OnClockJump,

    /// Keep time still until ClockService/Advance moves it, for tests. Only with a loopback address. Keeps nothing, as
    /// ephemeral does. true or false.
    #[arg(long, env = "FUSEBOARD_MANUAL_CLOCK", value_name = "BOOL", default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub manual_clock: bool,

    /// Longest time that a stopping server waits for calls under way and for streams to end. 0 to 10m. Zero: it does
    /// not wait.
    #[arg(long, env = "FUSEBOARD_DRAIN_GRACE", value_name = "DURATION", default_value = "10s")]
    #[arg(value_parser = duration(Duration::ZERO..=10 * MINUTE))]
    pub drain_grace: Duration,

    /// Age at which the server ends a stream politely, saying to come back; up to a tenth earlier, so that not all end
    /// at once. 1s to 1day. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_STREAM_MAX_AGE", value_name = "DURATION", default_value = "30m")]
    #[arg(value_parser = duration(SECOND..=DAY))]
    pub stream_max_age: Duration,

    /// Certificate that both ports show, a PEM file with its chain; with it they speak TLS only. It is read again when it
    /// changes, and on SIGHUP; a bad one changes nothing. off: no TLS.
    #[arg(long, env = "FUSEBOARD_TLS_CERT", value_name = "PATH", default_value = value::OFF, help_heading = "Security")]
    #[arg(value_parser = file_path)]
    pub tls_cert: FilePath,

    /// Private key of tls_cert, a PEM file. off: there is none, so no TLS.
    #[arg(long, env = "FUSEBOARD_TLS_KEY", value_name = "PATH", default_value = value::OFF, help_heading = "Security")]
    #[arg(value_parser = file_path)]
    pub tls_key: FilePath,

    /// Authorities whose client certificates are taken, a PEM file: mutual TLS. off: clients show no certificate.
    #[arg(long, env = "FUSEBOARD_TLS_CLIENT_CA", value_name = "PATH", default_value = value::OFF)]
    #[arg(value_parser = file_path, help_heading = "Security")]
    pub tls_client_ca: FilePath,

    /// Whether a client must show a certificate of tls_client_ca: required, or optional for those who bring a token instead. One
    /// that is shown and not of that authority is always refused.
    #[arg(long, env = "FUSEBOARD_TLS_CLIENT_AUTH", value_name = "WHEN", default_value = "required")]
    #[arg(value_enum, hide_possible_values = true, help_heading = "Security")]
    pub tls_client_auth: ClientAuth,

    /// Listen beyond loopback without TLS, where something else protects the network. true or false.
    #[arg(long, env = "FUSEBOARD_INSECURE_NETWORK", value_name = "BOOL", default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    #[arg(help_heading = "Security")]
    pub insecure_network: bool,

    /// File with the administrators' token, at least 32 bytes; with it the server asks everybody for a token or a certificate. It
    /// is read again on SIGHUP. off: without identities in the file nobody is asked, and everybody may do everything.
    #[arg(long, env = "FUSEBOARD_ADMIN_TOKEN_FILE", value_name = "PATH", default_value = value::OFF)]
    #[arg(value_parser = file_path, help_heading = "Security")]
    pub admin_token_file: FilePath,

    /// Which log lines are written: a level (error, warn, info, debug, trace, off), or levels by module as
    /// "warn,fuseboard=debug".
    #[arg(long, env = "FUSEBOARD_LOG", value_name = "FILTER", default_value = "info", help_heading = "Log")]
    #[arg(value_parser = log_filter)]
    pub log: String,

    /// How the log is written to stderr: text (for people) or json (one object a line).
    #[arg(long, env = "FUSEBOARD_LOG_FORMAT", value_name = "FORMAT", default_value = "text", help_heading = "Log")]
    #[arg(value_enum, hide_possible_values = true)]
    pub log_format: LogFormat,

    /// Collector that traces and metrics are sent to over OTLP, by gRPC: http://HOST:4317, or https://. off: none is.
    #[arg(long, env = "FUSEBOARD_OTLP_ENDPOINT", value_name = "URL", default_value = value::OFF)]
    #[arg(value_parser = otlp_endpoint, help_heading = "Log")]
    pub otlp_endpoint: Endpoint,

    /// Share of calls without a trace of their caller's that a trace is begun for. 0 to 1. Zero: only callers' traces go on.
    #[arg(long, env = "FUSEBOARD_OTLP_SAMPLING", value_name = "SHARE", default_value = "0", help_heading = "Log")]
    #[arg(value_parser = share)]
    pub otlp_sampling: f64,

    /// What is bounded, and where.
    #[command(flatten)]
    pub limits: Limits,

    /// The policies of the configuration file.
    #[arg(skip)]
    pub policies: PolicyFile,

    /// The identities of the configuration file.
    #[arg(skip)]
    pub identities: Vec<Identity>,

    /// The webhooks of the configuration file.
    #[arg(skip)]
    pub webhooks: Vec<Webhook>,

    /// The configuration file, if there is one: where a reload reads the policies.
    #[arg(skip)]
    pub file: Option<PathBuf>,
}

/// What is bounded. At a bound there is a clear error, and what is already there goes on working.
#[derive(Clone, PartialEq, Eq, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Breakers. At the bound a new key is refused. 1 to 10,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_BREAKERS", value_name = "COUNT", default_value = "100000")]
    #[arg(value_parser = count::<usize>(1..=10_000_000))]
    pub max_breakers: usize,

    /// How long a closed breaker that nobody declared may be idle before it is forgotten. 1s to 365days. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_BREAKER_IDLE", value_name = "DURATION", default_value = "1h")]
    #[arg(value_parser = duration(SECOND..=365 * DAY))]
    pub breaker_idle: Duration,

    /// Operators' policies, those of the file included. 1 to 1,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_POLICIES", value_name = "COUNT", default_value = "10000")]
    #[arg(value_parser = count::<usize>(1..=1_000_000))]
    pub max_policies: usize,

    /// Tokens, those that have expired included. 1 to 1,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_TOKENS", value_name = "COUNT", default_value = "10000")]
    #[arg(value_parser = count::<usize>(1..=1_000_000))]
    pub max_tokens: usize,

    /// Request ids remembered, so that the same Acquire twice gets the same answer. 1 to 100,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_REQUEST_IDS", value_name = "COUNT", default_value = "1000000")]
    #[arg(value_parser = count::<usize>(1..=100_000_000))]
    pub max_request_ids: usize,

    /// Memory of which permits were reported, over all breakers. Past it the oldest reports are answered stale. 1MiB to
    /// 64GiB. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_PERMIT_LEDGER_BYTES", value_name = "BYTES", default_value = "64MiB")]
    #[arg(value_parser = bytes::<usize>(MIB..=64 * GIB))]
    pub permit_ledger_bytes: usize,

    /// Memory of windows, streaks and known callers, over all breakers. Past it, callers whose calls are not counted apart yet
    /// count together, and a count window holds the calls it has places for. 1MiB to 64GiB. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_STATISTICS_BYTES", value_name = "BYTES", default_value = "256MiB")]
    #[arg(value_parser = bytes::<usize>(MIB..=64 * GIB))]
    pub statistics_bytes: usize,

    /// Clients whose last batch is remembered, so that a batch sent twice counts once. 1 to 10,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_BATCH_CLIENTS", value_name = "COUNT", default_value = "10000")]
    #[arg(value_parser = count::<usize>(1..=10_000_000))]
    pub max_batch_clients: usize,

    /// How long a client may be silent before its last batch may be forgotten to make room. 1s to 1day. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_BATCH_RETENTION", value_name = "DURATION", default_value = "10m")]
    #[arg(value_parser = duration(SECOND..=DAY))]
    pub batch_retention: Duration,

    /// Callers that breakers know, added up, and names of callers remembered. At the bound a new caller takes the place of
    /// its breaker's quietest, and a name that of one that nobody uses; calls count as ever. 1 to 100,000,000. Zero is
    /// invalid.
    #[arg(long, env = "FUSEBOARD_MAX_CALLERS", value_name = "COUNT", default_value = "1000000")]
    #[arg(value_parser = count::<usize>(1..=100_000_000))]
    pub max_callers: usize,

    /// Events held for watchers to resume from and for the history. Who needs an older one gets a resync. The history also
    /// keeps the newest 16 of each breaker that have left, a quarter as many in all and at most 64 MiB, until the server
    /// stops. 1 to 100,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_EVENT_LOG_EVENTS", value_name = "COUNT", default_value = "65536")]
    #[arg(value_parser = count::<usize>(1..=100_000_000))]
    pub event_log_events: usize,

    /// Age at which an event leaves the log, even where there is room for it. 1s to 365days. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_EVENT_LOG_AGE", value_name = "DURATION", default_value = "30days")]
    #[arg(value_parser = duration(SECOND..=365 * DAY))]
    pub event_log_age: Duration,

    /// Entries of the audit trail. At the bound the oldest entry of the identity that has the most goes. 1,000 to 10,000,000.
    /// Zero is invalid.
    #[arg(long, env = "FUSEBOARD_AUDIT_ENTRIES", value_name = "COUNT", default_value = "100000")]
    #[arg(value_parser = count::<u64>(1_000..=10_000_000))]
    pub audit_entries: u64,

    /// Bytes of the audit trail as it is stored. The same holds at this bound. 1MiB to 64GiB. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_AUDIT_BYTES", value_name = "BYTES", default_value = "64MiB")]
    #[arg(value_parser = bytes::<usize>(MIB..=64 * GIB))]
    pub audit_bytes: usize,

    /// Age at which an entry leaves the audit trail, even where there is room for it. 1h to 3650days. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_AUDIT_AGE", value_name = "DURATION", default_value = "400days")]
    #[arg(value_parser = duration(3_600 * SECOND..=3650 * DAY))]
    pub audit_age: Duration,

    /// Watches open at a time. 1 to 1,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_WATCHERS", value_name = "COUNT", default_value = "10000")]
    #[arg(value_parser = count::<usize>(1..=1_000_000))]
    pub max_watchers: usize,

    /// Keys and prefixes that all open watches name together. 1 to 100,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_WATCH_KEYS", value_name = "COUNT", default_value = "1000000")]
    #[arg(value_parser = count::<usize>(1..=100_000_000))]
    pub max_watch_keys: usize,

    /// Connections open at a time. To admit one more, the serving thread that accepts it closes the one of its own connections that has
    /// been idle the longest; if none of them is idle, it closes the new one at once. 1 to 1,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_CONNECTIONS", value_name = "COUNT", default_value = "10000")]
    #[arg(value_parser = count::<usize>(1..=1_000_000))]
    pub max_connections: usize,

    /// Fair share of what is bounded and used by several: the largest part of what the others leave of a bound that one
    /// identity, or one address where nobody is identified, may use, in percent. 1 to 100. Zero is invalid. 100: whoever comes
    /// first may use all of it.
    #[arg(long, env = "FUSEBOARD_FAIR_SHARE_PERCENT", value_name = "PERCENT", default_value = "75")]
    #[arg(value_parser = count::<u32>(1..=100))]
    pub fair_share_percent: u32,

    /// Calls and streams open at a time on one connection. 1 to 1,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_STREAMS_PER_CONNECTION", value_name = "COUNT", default_value = "1000")]
    #[arg(value_parser = count::<u32>(1..=1_000_000))]
    pub max_streams_per_connection: u32,

    /// Calls under way at a time, streams left out. One more is refused at once with RESOURCE_EXHAUSTED, never queued. 1 to 1,000,000.
    /// Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_IN_FLIGHT", value_name = "COUNT", default_value = "10000")]
    #[arg(value_parser = count::<usize>(1..=1_000_000))]
    pub max_in_flight: usize,

    /// Keys that one session may introduce and then name by a handle. 1 to 1,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_SESSION_HANDLES", value_name = "COUNT", default_value = "10000")]
    #[arg(value_parser = count::<u32>(1..=1_000_000))]
    pub session_handles: u32,

    /// Handles of all open sessions together. 1 to 100,000,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_HANDLES", value_name = "COUNT", default_value = "1000000")]
    #[arg(value_parser = count::<usize>(1..=100_000_000))]
    pub max_handles: usize,

    /// Connections of the HTTP port open at a time. For one more, the one that has been idle the longest gives way. 1 to 100,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_HTTP_CONNECTIONS", value_name = "COUNT", default_value = "1000")]
    #[arg(value_parser = count::<usize>(1..=100_000))]
    pub max_http_connections: usize,

    /// Requests of the HTTP port under way at a time, streams left out. One more is refused at once. 1 to 100,000. Zero is
    /// invalid.
    #[arg(long, env = "FUSEBOARD_MAX_HTTP_IN_FLIGHT", value_name = "COUNT", default_value = "256")]
    #[arg(value_parser = count::<usize>(1..=100_000))]
    pub max_http_in_flight: usize,

    /// Event streams of the HTTP port open at a time; an open dashboard holds one. 1 to 100,000. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_MAX_HTTP_STREAMS", value_name = "COUNT", default_value = "500")]
    #[arg(value_parser = count::<usize>(1..=100_000))]
    pub max_http_streams: usize,

    /// Breakers with metrics of their own. The others are told of in the sums, and added up under no name. 0 to 100,000.
    /// Zero: there are sums only.
    #[arg(long, env = "FUSEBOARD_METRICS_BREAKERS", value_name = "COUNT", default_value = "1000")]
    #[arg(value_parser = count::<u32>(0..=100_000))]
    pub metrics_breakers: u32,

    /// Bytes of messages that have begun and are not there whole, of all connections; each counts 4KiB beside what has come of it,
    /// and has 5s to be whole. 1MiB to 64GiB. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_UNREAD_BYTES", value_name = "BYTES", default_value = "128MiB")]
    #[arg(value_parser = bytes::<usize>(MIB..=64 * GIB))]
    pub unread_bytes: usize,

    /// Largest message of a unary call, but for those that bring lists. 1KiB to 16MiB. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_UNARY_MESSAGE_BYTES", value_name = "BYTES", default_value = "64KiB")]
    #[arg(value_parser = bytes::<usize>(KIB..=16 * MIB))]
    pub unary_message_bytes: usize,

    /// Largest frame of a session, request that brings a list (ReportBatch, Declare, WatchEvents) and piece of a
    /// snapshot. 1KiB to 64MiB. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_BATCH_MESSAGE_BYTES", value_name = "BYTES", default_value = "1MiB")]
    #[arg(value_parser = bytes::<usize>(KIB..=64 * MIB))]
    pub batch_message_bytes: usize,

    /// Largest list of headers of one call. 1KiB to 1MiB. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_HEADER_LIST_BYTES", value_name = "BYTES", default_value = "16KiB")]
    #[arg(value_parser = bytes::<u32>(KIB..=MIB))]
    pub header_list_bytes: u32,

    /// Bytes that wait to be sent on one stream before the server stops writing to it. 1KiB to 16MiB. Zero is invalid.
    #[arg(long, env = "FUSEBOARD_SEND_BUFFER_BYTES", value_name = "BYTES", default_value = "64KiB")]
    #[arg(value_parser = bytes::<usize>(KIB..=16 * MIB))]
    pub send_buffer_bytes: usize,
}

impl Config {
    /// How many threads serve: [`Config::threads`], or one for each core.
    #[must_use]
    pub fn serving_threads(&self) -> usize {
        match self.threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// Where the state is kept. `None`: in memory, and nothing outlives the process.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        (!self.ephemeral && !self.manual_clock).then_some(&self.data_dir)
    }

    /// The addresses that others than this machine can reach.
    fn network_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let addresses = [Some(self.address), self.http_address.address()];
        addresses.into_iter().flatten().filter(|address| !address.ip().is_loopback())
    }

    /// What to tell the operator about a configuration that is valid and yet may not be what was meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let open = self.network_addresses().filter(|_| self.tls_cert == FilePath::Off);
        open.map(|address| {
            format!("{address} is open to the network without TLS: whoever reaches it can trip, force and reset every breaker")
        })
        .collect()
    }
}

impl Default for Config {
    /// Every setting at its default.
    fn default() -> Self {
        setting::read([]).expect("each default is in its range")
    }
}

impl Default for Limits {
    /// Every limit at its default.
    fn default() -> Self {
        Config::default().limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_their_ranges() {
        let config = Config::default();
        assert_eq!(config.address.to_string(), "127.0.0.1:50051");
        assert_eq!(config.limits.max_breakers, 100_000);
        assert_eq!(config.limits.unary_message_bytes, 65_536);
        assert_eq!(config.warnings(), Vec::<String>::new());
    }

    #[test]
    fn state_is_kept_unless_asked_otherwise() {
        let config = Config::default();
        assert_eq!(config.home(), Some(config.data_dir.as_path()));
        assert_eq!(Config { ephemeral: true, ..config.clone() }.home(), None);
        assert_eq!(Config { manual_clock: true, ..config }.home(), None);
    }
}
