//! The one place that joins configuration, engine and transports.
//!
//! Each serving thread has a runtime and a listener of its own on the same port, and the kernel spreads connections over
//! them: a call is read, decided and answered on one thread. The main thread keeps the timers and waits for signals.
//!
//! The HTTP port has a thread of its own beside them.
//!
//! Order of a stop: health says NOT_SERVING, streams are told goodbye, listeners close, calls under way finish within the
//! grace, the HTTP port closes, which has told of the drain until then, and what was counted is stored.

use std::{
    convert::Infallible,
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use opentelemetry_otlp::ExporterBuildError;
use tokio::{runtime, sync::mpsc};

use crate::{
    breaker::Timestamp,
    config::{self, Config, DEFAULT_HTTP_ADDRESS, Endpoint, PolicyFile},
    engine::{self, Clock, Engine, FilePolicies},
    grpc::{
        self, AdminService, BreakerService, ClockService, Context, Dispatch, Gate, Services,
        pb::testing::clock_service_server::ClockServiceServer, standard_services,
    },
    http,
    limit::Level,
    notify::Notifier,
    otel::Otel,
    pulse::Pulse,
    reload::{self, Reload},
    share::FairShare,
    shutdown::Shutdown,
    store::{AuditRetention, Disk, DiskOptions, Memory, OnClockJump, OpenError, Opened, Store},
    tls::{self, Tls},
};

/// The instant at which a manual clock begins: 2020-01-01, so that timestamps are told apart from zero.
const MANUAL_CLOCK_START: Timestamp = Timestamp::from_nanos(1_577_836_800_000_000_000);

/// Descriptors that are not connections: the store, the log, the HTTP port, what has been accepted and is not let in yet.
const DESCRIPTORS_BESIDE: u64 = 64;
/// Descriptors of a serving thread: its listener, and what its runtime waits with.
const DESCRIPTORS_OF_THREAD: u64 = 5;

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; another address is set by {flag}")]
    Listen {
        /// Which setting says so.
        flag: &'static str,
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// A policy of the configuration is at fault, or the store cannot be read.
    #[error("cannot begin: {0}")]
    Engine(#[from] engine::Error),
    /// The data directory cannot be used.
    #[error("{0}; another directory is set by --data-dir, and --ephemeral keeps nothing")]
    Store(#[from] OpenError),
    /// The machine's clock is much later than what is stored.
    #[error(
        "the machine's clock is {} later than the time stored last, which would expire {expiring}. Where the clock is right, as after \
         a long stop, run `fuseboard store accept-clock {}` and start again, or start with --on-clock-jump accept; else \
         set the clock. Nothing has changed",
        humantime::format_duration(Duration::from_secs(jump.as_secs())),
        directory.display()
    )]
    ClockJump {
        /// How much later.
        jump: Duration,
        /// What would expire.
        expiring: engine::Expiring,
        /// Where it is stored.
        directory: PathBuf,
    },
    /// Who is an administrator cannot be read.
    #[error("no identities: {0}")]
    Identities(String),
    /// The collector's address cannot be used.
    #[error("no telemetry: {0}; otlp_endpoint names the collector")]
    Otel(#[from] ExporterBuildError),
    /// TLS cannot be had of the files.
    #[error("no TLS: {0}")]
    Tls(#[from] tls::Error),
}

/// Serves until it is told to stop.
///
/// # Errors
/// The server cannot start.
pub fn run(config: &Config) -> Result<(), Error> {
    let Some(directory) = config.home() else {
        return run_with(
            config,
            Arc::new(Memory::keeping(config.limits.event_log_events, audit_retention(config))),
            String::new(),
        );
    };
    let options = DiskOptions {
        events_max: config.limits.event_log_events,
        events_age: config.limits.event_log_age,
        audit: audit_retention(config),
        on_damage: config.on_damage,
        ..DiskOptions::default()
    };
    let Opened { store, damage } = Disk::open(directory, &options)?;
    let damage = damage.map(|damage| damage.to_string()).unwrap_or_default();
    check_clock(config, directory, &store)?;
    run_with(config, Arc::new(store), damage)
}

/// Refuses a start at a time that is implausible: one wrong clock would let everything expire, and time never goes back.
fn check_clock(config: &Config, directory: &Path, store: &Disk) -> Result<(), Error> {
    let (stored, now) = (store.now(), Clock::system(Timestamp::default()).now());
    let ahead = stored.since(now);
    if ahead > engine::CLOCK_JUMP_MAX {
        tracing::warn!(
            "the stored time is {} ahead of the machine's clock, and the server goes on from it; where a server has run with a \
             wrong clock, stop this one and run `fuseboard store repair-clock {}`",
            humantime::format_duration(Duration::from_secs(ahead.as_secs())),
            directory.display(),
        );
    }
    let jump = now.since(stored);
    if stored == Timestamp::default() || jump <= engine::CLOCK_JUMP_MAX {
        return Ok(());
    }
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let expiring = runtime.block_on(engine::expiring(store, stored, now, config.limits.event_log_age));
    let expiring = expiring.map_err(|refused| engine::Error::Store { why: refused.to_string() })?;
    match config.on_clock_jump {
        _ if expiring.is_empty() => Ok(()),
        OnClockJump::Accept => {
            tracing::warn!("the machine's clock is later than the time stored last by {jump:?}: {expiring} expire");
            Ok(())
        }
        OnClockJump::Stop => Err(Error::ClockJump { jump, expiring, directory: directory.to_owned() }),
    }
}

/// As [`run`], with a store of the caller's own, and what was damaged of it.
///
/// # Errors
/// The server cannot start.
#[doc(hidden)]
pub fn run_with(config: &Config, store: Arc<dyn Store>, store_damage: String) -> Result<(), Error> {
    let tls = tls_files(config).map(Tls::load).transpose()?;
    let keys = reload::keys(config.admin_token_file.path(), &config.identities).map_err(Error::Identities)?;
    let engine = engine(config, store)?;
    let gate = Gate::new(&engine, keys);
    let config = &Config { limits: have_descriptors(config), ..config.clone() };
    let shutdown = Shutdown::new();
    let context = Arc::new(Context {
        engine: engine.clone(),
        shutdown: shutdown.clone(),
        stream_max_age: config.stream_max_age,
        session_handles: config.limits.session_handles,
        gate: gate.clone(),
        notifier: Notifier::start(&config.webhooks, &engine, &shutdown)?,
        pulse: Pulse::new(config.serving_threads()),
        store_damage,
    });
    let address = config.address;
    let sockets = bind("--address", address, config.serving_threads())?;
    let http_socket = config.http_address.address().map_or(Ok(None), bind_http)?;
    // With port 0 it is the system that chooses one.
    let address = sockets.first().map_or(Ok(address), TcpListener::local_addr)?;
    let http_address = http_socket.as_ref().map(TcpListener::local_addr).transpose()?;
    let breakers = BreakerService::new(Arc::clone(&context));
    let admin = AdminService::new(Arc::clone(&context), transport_bounds(config));
    // It is this runtime, at the end of all, that drives what is sent to a collector.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let otel = start_otel(config, &context.engine, &runtime)?;
    let services = services(config, &context, otel.as_ref(), breakers.clone(), admin.clone());
    let dispatch = services.dispatch(shutdown.clone());
    let pulse = context.pulse.clone();
    let shown = admin.clone();
    shown.show(dispatch.pools());
    let http_stop = Shutdown::new();
    let http = http_socket.zip(http_address).map(|(socket, address)| {
        let port =
            http::Port::new(breakers, admin, context, dispatch.clone(), http_limits(config), address, tls.clone());
        shown.show(port.pools());
        serve_http(socket, port, shutdown.clone(), http_stop.clone())
    });
    let http = http.transpose()?;
    // Nothing is sent: it closes when the last serving thread has ended.
    let (serving, mut ended) = mpsc::channel::<Infallible>(1);
    let threads = sockets.into_iter().enumerate();
    let threads = threads.map(|(number, socket)| {
        let beats = (engine.clone(), pulse.clone());
        serve(number, socket, dispatch.clone(), tls.clone(), beats, serving.clone())
    });
    let threads = threads.collect::<io::Result<Vec<_>>>()?;
    drop(serving);
    runtime.block_on(async {
        let running = engine.clone();
        tokio::spawn(async move { running.run().await });
        let reload = Reload { engine: engine.clone(), gate, config: config.clone() };
        tokio::spawn(reload.on_signals()?);
        if let Some(tls) = tls {
            tokio::spawn(reload::renew(tls)?);
        }
        let signals = shutdown.on_signals()?;
        // Said last: who reads it may send a signal at once.
        let (version, clock) = (env!("CARGO_PKG_VERSION"), if config.manual_clock { "manual" } else { "system" });
        let store = engine.store_name();
        let http = http_address.map(tracing::field::display);
        tracing::info!(%address, http, threads = threads.len(), version, store, clock, "serving");
        let ended = async {
            ended.recv().await;
            http_stop.drain();
            engine.close(config.drain_grace).await;
            if let Some(otel) = otel {
                // It waits for what this runtime sends.
                _ = tokio::task::spawn_blocking(move || otel.shut_down()).await;
            }
        };
        tokio::select! {
            never = signals => match never {},
            () = ended => io::Result::Ok(()),
        }
    })?;
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a serving thread has panicked"))??;
    }
    if let Some(http) = http {
        http.join().map_err(|_| io::Error::other("the HTTP thread has panicked"))??;
    }
    tracing::info!("stopped");
    Ok(())
}

/// One serving thread. When it ends before it was told to, the whole server stops: half of it would answer and the other
/// half would not.
fn serve(
    number: usize,
    socket: TcpListener,
    dispatch: Dispatch,
    tls: Option<Tls>,
    (engine, pulse): (Engine, Pulse),
    serving: mpsc::Sender<Infallible>,
) -> io::Result<JoinHandle<io::Result<()>>> {
    thread::Builder::new().name(format!("serving-{number}")).spawn(move || {
        let shutdown = dispatch.shutdown().clone();
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let result = runtime.and_then(|runtime| {
            runtime.spawn(async move { pulse.keep(number, &engine).await });
            runtime.block_on(grpc::serve(socket, dispatch, tls))
        });
        shutdown.drain();
        drop(serving);
        result
    })
}

/// The thread of the HTTP port. As with the others, when it ends before it was told to, the whole server stops.
fn serve_http(
    socket: TcpListener,
    port: http::Port,
    shutdown: Shutdown,
    stop: Shutdown,
) -> io::Result<JoinHandle<io::Result<()>>> {
    thread::Builder::new().name("http".to_owned()).spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let result = runtime.and_then(|runtime| runtime.block_on(port.serve(socket, &stop)));
        shutdown.drain();
        result
    })
}

fn bind(flag: &'static str, address: SocketAddr, listeners: usize) -> Result<Vec<TcpListener>, Error> {
    grpc::bind(address, listeners).map_err(|source| Error::Listen { flag, address, source })
}

/// The HTTP port's socket. Nobody has to do without breakers because something else, perhaps another server of ours, has the
/// default port: then there is no HTTP port, and the log says so.
fn bind_http(address: SocketAddr) -> Result<Option<TcpListener>, Error> {
    match bind("--http-address", address, 1) {
        Err(Error::Listen { source, .. })
            if source.kind() == io::ErrorKind::AddrInUse && address == DEFAULT_HTTP_ADDRESS =>
        {
            tracing::warn!("{address} is taken: no HTTP port. Give it another one with --http-address, or say off");
            Ok(None)
        }
        sockets => Ok(sockets?.into_iter().next()),
    }
}

/// Begins to send telemetry, where a collector is configured.
fn start_otel(config: &Config, engine: &Engine, runtime: &runtime::Runtime) -> Result<Option<Otel>, Error> {
    let Endpoint::At(endpoint) = &config.otlp_endpoint else { return Ok(None) };
    let _driven_by = runtime.enter();
    Ok(Some(Otel::start(endpoint, config.otlp_sampling, engine)?))
}

fn services(
    config: &Config,
    context: &Context,
    otel: Option<&Otel>,
    breakers: BreakerService,
    admin: AdminService,
) -> Services {
    let (engine, shutdown) = (context.engine.clone(), context.shutdown.clone());
    let store_health = engine.store_health();
    let services = Services::new(transport_limits(config)).gate(context.gate.clone()).traced(otel.map(Otel::calls));
    let mut services = services.breaker_service(breakers).admin_service(admin);
    if config.manual_clock {
        let clock = ClockServiceServer::new(ClockService::new(engine));
        services = services.service(clock.max_decoding_message_size(config.limits.unary_message_bytes));
    }
    standard_services(services, &shutdown, store_health)
}

fn audit_retention(config: &Config) -> AuditRetention {
    AuditRetention {
        entries: config.limits.audit_entries,
        bytes: config.limits.audit_bytes as u64,
        age: config.limits.audit_age,
    }
}

fn transport_limits(config: &Config) -> grpc::Limits {
    let limits = &config.limits;
    grpc::Limits {
        connections: limits.max_connections,
        calls: limits.max_in_flight,
        // A session for each connection, and the watchers.
        streams: limits.max_connections.saturating_add(limits.max_watchers),
        // A client that asks for health watches it once on each of its connections.
        health_watches: limits.max_connections,
        unread_bytes: limits.unread_bytes,
        streams_per_connection: limits.max_streams_per_connection,
        unary_message_bytes: limits.unary_message_bytes,
        batch_message_bytes: limits.batch_message_bytes,
        header_list_bytes: limits.header_list_bytes,
        send_buffer_bytes: limits.send_buffer_bytes,
        fair_share: FairShare::percent(limits.fair_share_percent),
        certificate_max_age: config.stream_max_age,
        drain_grace: config.drain_grace,
        ..grpc::Limits::default()
    }
}

fn http_limits(config: &Config) -> http::Limits {
    let limits = &config.limits;
    http::Limits {
        connections: limits.max_http_connections,
        requests: limits.max_http_in_flight,
        streams: limits.max_http_streams,
        fair_share: FairShare::percent(limits.fair_share_percent),
        metrics_breakers: limits.metrics_breakers,
        certificate_max_age: config.stream_max_age,
        ..http::Limits::default()
    }
}

/// What the transport is bounded by and nobody shares, for server info. The engine tells its own bounds.
fn transport_bounds(config: &Config) -> Vec<Level> {
    let limits = &config.limits;
    [
        ("fair_share_percent", u64::from(limits.fair_share_percent)),
        ("max_streams_per_connection", u64::from(limits.max_streams_per_connection)),
        ("session_handles", u64::from(limits.session_handles)),
        ("unary_message_bytes", limits.unary_message_bytes as u64),
        ("batch_message_bytes", limits.batch_message_bytes as u64),
        ("header_list_bytes", u64::from(limits.header_list_bytes)),
        ("send_buffer_bytes", limits.send_buffer_bytes as u64),
        ("metrics_breakers", u64::from(limits.metrics_breakers)),
    ]
    .map(|(name, max)| Level::of_each(name, max))
    .into()
}

/// Asks the system for as many descriptors as there may be connections: the usual 1,024 would be the true bound. Where it has
/// fewer, there may be fewer connections: what the HTTP port, the store and the log need is kept back for them.
fn have_descriptors(config: &Config) -> config::Limits {
    let limits = config.limits.clone();
    let http = config.http_address.address().map_or(0, |_| limits.max_http_connections as u64);
    let beside = DESCRIPTORS_BESIDE + DESCRIPTORS_OF_THREAD * config.serving_threads() as u64;
    let wanted = limits.max_connections as u64 + http + beside;
    let had = match rlimit::increase_nofile_limit(wanted) {
        Ok(had) if had >= wanted => return limits,
        Ok(had) => had,
        Err(error) => {
            tracing::warn!(%error, wanted, "the limit of open files cannot be raised");
            match rlimit::Resource::NOFILE.get() {
                Ok((had, _)) if had < wanted => had,
                _ => return limits,
            }
        }
    };
    let (connections, http) = descriptors(had, beside, limits.max_connections as u64, http);
    tracing::warn!(
        had,
        wanted,
        max_connections = connections,
        max_http_connections = http,
        "too few open files for limits.max_connections, so there may be fewer connections: raise `ulimit -n`"
    );
    let to_count = |count| usize::try_from(count).unwrap_or(usize::MAX);
    config::Limits { max_connections: to_count(connections), max_http_connections: to_count(http).max(1), ..limits }
}

/// How many connections each port may have with so many descriptors: a quarter is HTTP's, as far as it may use it.
const fn descriptors(had: u64, beside: u64, grpc: u64, http: u64) -> (u64, u64) {
    // With fewer than twice of that it is a gamble in any case.
    let left = had - if had / 2 < beside { had / 2 } else { beside };
    let http = if http < left / 4 { http } else { left / 4 };
    let rest = if left - http > 1 { left - http } else { 1 };
    (if grpc < rest { grpc } else { rest }, http)
}

/// The files that make up TLS, where a certificate is configured.
pub(crate) fn tls_files(config: &Config) -> Option<tls::Files> {
    let (certificate, key) = config.tls_cert.path().zip(config.tls_key.path())?;
    Some(tls::Files {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        client_ca: config.tls_client_ca.path().map(Path::to_owned),
        client_auth: config.tls_client_auth,
    })
}

fn engine(config: &Config, store: Arc<dyn Store>) -> Result<Engine, Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let clock = if config.manual_clock { Clock::manual(MANUAL_CLOCK_START) } else { Clock::system(store.now()) };
    let limits = engine::Limits {
        breakers: u32::try_from(config.limits.max_breakers).unwrap_or(u32::MAX),
        request_ids: config.limits.max_request_ids,
        batch_clients: config.limits.max_batch_clients,
        batch_retention: config.limits.batch_retention,
        callers: config.limits.max_callers,
        policies: config.limits.max_policies,
        tokens: config.limits.max_tokens,
        events: config.limits.event_log_events,
        events_age: config.limits.event_log_age,
        watchers: config.limits.max_watchers as u64,
        ledger_bytes: config.limits.permit_ledger_bytes,
        statistics_bytes: config.limits.statistics_bytes,
        watch_keys: config.limits.max_watch_keys,
        handles: config.limits.max_handles,
        breaker_idle: config.limits.breaker_idle,
        fair_share: FairShare::percent(config.limits.fair_share_percent),
    };
    let opened = Engine::open(clock, limits, config.policies.clone().into(), store);
    Ok(runtime.block_on(opened)?)
}

impl From<PolicyFile> for FilePolicies {
    fn from(file: PolicyFile) -> Self {
        Self { default: file.default, by_pattern: file.by_pattern }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_descriptors_are_kept_back_for_http_and_the_store() {
        assert_eq!(descriptors(256, 64, 10_000, 1_000), (144, 48));
        assert_eq!(descriptors(256, 200, 10_000, 1_000), (96, 32));
        assert_eq!(descriptors(1_024, 64, 10_000, 1_000), (720, 240));
        assert_eq!(descriptors(1_024, 64, 10_000, 0), (960, 0));
        assert_eq!(descriptors(4_096, 64, 3_500, 100), (3_500, 100));
        for had in 0..2_000 {
            let (grpc, http) = descriptors(had, 64, 10_000, 1_000);
            assert!(grpc >= 1 && grpc + http <= had.max(1), "{had}");
        }
    }
}
