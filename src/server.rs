//! The one place that joins configuration, engine and transports.
//!
//! Each serving thread has a runtime and a listener of its own on the same port, and the kernel spreads connections over
//! them: a call is read, decided and answered on one thread. The main thread keeps the timers and waits for signals.
//!
//! Order of a stop: health says NOT_SERVING, streams are told goodbye, listeners close, calls under way finish within the
//! grace.

use std::{io, net::TcpListener, sync::Arc, thread};

use tokio::{runtime, signal::unix};

use crate::{
    breaker::Timestamp,
    config::{Config, PolicyFile},
    engine::{self, Clock, Engine},
    grpc::{
        AdminService, BreakerService, ClockService, Context,
        pb::{
            admin_service_server::AdminServiceServer, breaker_service_server::BreakerServiceServer,
            testing::clock_service_server::ClockServiceServer,
        },
    },
    shutdown::Shutdown,
};

/// The instant at which a manual clock begins: 2020-01-01, so that timestamps are told apart from zero.
const MANUAL_CLOCK_START: Timestamp = Timestamp::from_nanos(1_577_836_800_000_000_000);

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The system refused something else.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
    /// A policy of the configuration is at fault.
    #[error("the configuration's policy is at fault: {0}")]
    Policy(#[from] engine::Error),
}

/// Serves until it is told to stop.
///
/// # Errors
/// The server cannot start.
pub fn run(config: &Config) -> Result<(), Error> {
    let engine = engine(config)?;
    let (stop, shutdown) = Shutdown::new();
    let context = Arc::new(Context {
        engine: engine.clone(),
        shutdown,
        stream_max_age: config.stream_max_age,
        session_handles: config.limits.session_handles,
    });
    let listener =
        TcpListener::bind(config.address).map_err(|source| Error::Listen { address: config.address, source })?;
    listener.set_nonblocking(true)?;
    tracing::info!(address = %listener.local_addr()?, version = env!("CARGO_PKG_VERSION"), store = "memory", "serving");
    let timers = engine.clone();
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(timers.run_timers());
    });
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<BreakerServiceServer<BreakerService>>().await;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(crate::pb::FILE_DESCRIPTOR_SET)
        };
        let incoming = tonic::transport::server::TcpIncoming::from(tokio::net::TcpListener::from_std(listener)?);
        let clock = config.manual_clock.then(|| ClockServiceServer::new(ClockService::new(engine.clone())));
        let mut terminate = unix::signal(unix::SignalKind::terminate())?;
        tonic::transport::Server::builder()
            .add_service(health)
            .add_service(reflection().build_v1().unwrap())
            .add_service(reflection().build_v1alpha().unwrap())
            .add_service(BreakerServiceServer::new(BreakerService::new(Arc::clone(&context))))
            .add_service(AdminServiceServer::new(AdminService::new(context, Vec::new())))
            .add_optional_service(clock)
            .serve_with_incoming_shutdown(incoming, async move {
                terminate.recv().await;
                stop.send_replace(true);
            })
            .await
            .map_err(io::Error::other)?;
        Ok(())
    })
}

fn engine(config: &Config) -> Result<Engine, Error> {
    let clock =
        if config.manual_clock { Clock::manual(MANUAL_CLOCK_START) } else { Clock::system(Timestamp::default()) };
    let limits = engine::Limits {
        breakers: u32::try_from(config.limits.max_breakers).unwrap_or(u32::MAX),
        request_ids: config.limits.max_request_ids,
        batch_clients: config.limits.max_batch_clients,
        policies: config.limits.max_policies,
        events: config.limits.event_log_events,
        watchers: config.limits.max_watchers as u64,
        ledger_bytes: config.limits.permit_ledger_bytes,
        breaker_idle: config.limits.breaker_idle,
        ..engine::Limits::default()
    };
    let engine = Engine::new(clock, limits, config.policies.default.clone())?;
    load_policies(&engine, config.policies.clone())?;
    Ok(engine)
}

fn load_policies(engine: &Engine, file: PolicyFile) -> Result<u64, engine::Error> {
    engine.load_policies(file.default, file.by_pattern)
}
