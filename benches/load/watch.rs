//! Watch load: breakers trip one after the other, each on one failure, and every watcher is to hear of it.
//!
//! The latency runs from sending the report of the failure to the event in the watcher's hands. Watchers are clients of
//! tonic's here, all on one thread: with many of them their own reading is a good part of the figure.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use clap::Args;
use fuseboard::pb::{
    AcquireRequest, Declaration, DeclareRequest, EventKind, Outcome, Policy, ReportRequest, ResetRequest,
    WatchEventsRequest, WatchFilter, breaker_service_client::BreakerServiceClient, watch_events_response::Message,
};
use hdrhistogram::Histogram;
use tokio::{runtime, sync::mpsc, time};
use tonic::{
    Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    Result,
    report::{Measurement, histogram},
    server,
};

/// Watchers that share a connection.
const WATCHERS_A_CONNECTION: usize = 100;
/// An event that takes longer is lost.
const EVENT_MAX: Duration = Duration::from_secs(10);
/// Between two trips, so that each is alone.
const PAUSE: Duration = Duration::from_millis(10);

/// How to load watches.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Watchers.
    #[arg(long, default_value_t = 1)]
    pub(crate) watchers: usize,
    /// Trips they watch.
    #[arg(long, default_value_t = 200)]
    pub(crate) trips: usize,
}

/// Measures deliveries: to any watcher, and to the last of all.
pub(crate) fn run(address: SocketAddr, options: &Options, pid: Option<u32>, name: &str) -> Result<Vec<Measurement>> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(watch(address, options, pid, name))
}

async fn watch(address: SocketAddr, options: &Options, pid: Option<u32>, name: &str) -> Result<Vec<Measurement>> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    let mut client = BreakerServiceClient::new(endpoint.connect().await?);
    let breakers: Vec<String> = (0..options.trips.min(100)).map(|i| format!("watch/{i}")).collect();
    let policy = Policy { failure_threshold: Some(1), ..Policy::default() };
    let declare = |breaker: &String| Declaration { breaker: breaker.clone(), policy: Some(policy), revision: 0 };
    let declarations = breakers.iter().map(declare).collect();
    client.declare(DeclareRequest { declarations, caller: String::new() }).await?;

    let (arrived, mut arrivals) = mpsc::channel(options.watchers);
    let mut channel = endpoint.connect().await?;
    for number in 0..options.watchers {
        if number > 0 && number.is_multiple_of(WATCHERS_A_CONNECTION) {
            channel = endpoint.connect().await?;
        }
        let stream = start_watcher(channel.clone()).await?;
        tokio::spawn(follow(stream, arrived.clone()));
    }

    let (mut all, mut last) = (histogram(), histogram());
    let mut errors = 0;
    let (started, cpu_before) = (Instant::now(), pid.map(server::cpu_time).transpose()?);
    for breaker in breakers.iter().cycle().take(options.trips) {
        let acquire = AcquireRequest { breaker: breaker.clone(), ..AcquireRequest::default() };
        let permit = client.acquire(acquire).await?.into_inner().permit;
        let outcome = Outcome::Failure.into();
        let report = ReportRequest { breaker: breaker.clone(), permit, outcome, ..ReportRequest::default() };
        let sent = Instant::now();
        client.report(report).await?;
        let mut slowest = Duration::ZERO;
        for _ in 0..options.watchers {
            let Ok(Some(heard)) = time::timeout(EVENT_MAX, arrivals.recv()).await else {
                errors += 1;
                continue;
            };
            let took = heard - sent;
            all.saturating_record(took.as_nanos() as u64);
            slowest = slowest.max(took);
        }
        last.saturating_record(slowest.as_nanos() as u64);
        client.reset(ResetRequest { breaker: breaker.clone(), ..ResetRequest::default() }).await?;
        time::sleep(PAUSE).await;
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu_after = pid.map(server::cpu_time).transpose()?;
    let measurement = |who: &str, latency: &Histogram<u64>| Measurement {
        scenario: format!("tripping report → {who}"),
        server: name.to_owned(),
        items: latency.len(),
        errors,
        seconds,
        server_cpu_seconds: cpu_before.zip(cpu_after).map(|(before, after)| (after - before).as_secs_f64()),
        latency: latency.into(),
    };
    Ok(match options.watchers {
        1 => vec![measurement("the watcher", &all)],
        n => vec![
            measurement(&format!("each of {n} watchers"), &all),
            measurement(&format!("the last of {n} watchers"), &last),
        ],
    })
}

async fn start_watcher(channel: Channel) -> Result<Streaming<fuseboard::pb::WatchEventsResponse>> {
    let filter = WatchFilter {
        prefixes: vec!["watch/".to_owned()],
        kinds: vec![EventKind::Opened.into()],
        ..WatchFilter::default()
    };
    let request = WatchEventsRequest { filter: Some(filter), skip_snapshot: true, ..WatchEventsRequest::default() };
    let mut stream = BreakerServiceClient::new(channel).watch_events(request).await?.into_inner();
    stream.message().await?.ok_or("the watch ended at once")?;
    Ok(stream)
}

/// Tells when each event came.
async fn follow(mut stream: Streaming<fuseboard::pb::WatchEventsResponse>, arrived: mpsc::Sender<Instant>) {
    while let Ok(Some(response)) = stream.message().await {
        if matches!(response.message, Some(Message::Event(_))) && arrived.send(Instant::now()).await.is_err() {
            return;
        }
    }
}
