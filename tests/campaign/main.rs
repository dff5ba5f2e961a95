//! The campaign: half an hour of everything at once on the release binary.
//!
//! Several hundred breakers get sick and well in waves of their own, while callers ask and report (unary, in sessions, in
//! batches; some permits are lost, late or reported twice), operators reset, override and change policies, and watchers of
//! every habit follow. Afterwards three things must hold:
//!
//! - memory is flat: what the server holds at the end is what it held after the warm-up, but for a small allowance;
//! - nobody got an error that was not asked for, and no more probes were out than the policy says;
//! - every watcher is complete: its sequences are without gap and repetition, and its events are those of the history.
//!
//! `run.sh` builds what is needed and runs it; `CAMPAIGN_SECONDS` says for how long.

#![expect(clippy::disallowed_methods, reason = "plays in real time")]

use std::{env, error::Error, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use serde::Serialize;
use tokio::{task::JoinSet, time};

use crate::{server::Server, world::World};

mod callers;
mod history;
mod memory;
mod operators;
#[path = "../../benches/load/server.rs"]
mod server;
mod watchers;
mod world;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// How long without `CAMPAIGN_SECONDS`.
const DURATION: Duration = Duration::from_secs(1_800);
/// The run is looked at in so many parts.
const TENTHS: usize = 10;
/// Those that fill caches, tables and the event log; memory is compared after them.
const WARM_UP_TENTHS: usize = 3;
/// Growth of memory that is no leak: allocators and tables breathe.
const GROWTH_MAX: f64 = 0.10;
/// The same for runs so short that pages still fall into place.
const GROWTH_BYTES_MAX: f64 = 8e6;
/// The server may run wherever it likes.
const ANY_CORE: &str = "0-1023";
/// Between two looks at the server's memory.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// How long watchers may take to read to the end when the load has stopped.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);

/// What the campaign found.
#[derive(Serialize)]
struct Summary {
    seconds: u64,
    counts: world::Counts,
    events: u64,
    /// The server's memory over the run: the mean of each tenth.
    resident_bytes: Vec<f64>,
    server_cpu_seconds: f64,
    violations: Vec<String>,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("threads can be had");
    match runtime.block_on(campaign()) {
        Ok(summary) => {
            println!("{}", serde_json::to_string_pretty(&summary).expect("plain data"));
            if summary.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("campaign: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn campaign() -> Result<Summary> {
    let program = PathBuf::from(env::var("FUSEBOARD_BIN").unwrap_or_else(|_| "target/release/fuseboard".to_owned()));
    let duration = match env::var("CAMPAIGN_SECONDS") {
        Ok(seconds) => Duration::from_secs(seconds.parse()?),
        Err(_) => DURATION,
    };
    // A short event log is full after the warm-up, and slow readers fall behind it.
    let flags = ["serve", "--ephemeral", "--http-address", "off", "--log", "warn", "--event-log-events", "10000"];
    let server = Server::start(&program, &flags, ANY_CORE)?;
    let world = Arc::new(World::new(server.address));

    let mut watchers = JoinSet::new();
    watchers::start(&world, &mut watchers).await?;
    let mut actors = JoinSet::new();
    callers::declare(&world).await?;
    callers::start(&world, &mut actors);
    operators::start(&world, &mut actors);

    let mut memory = Vec::new();
    while world.elapsed() < duration && !watchers.is_empty() {
        time::sleep(SAMPLE_EVERY).await;
        memory.push(memory::resident_bytes(server.pid())? as f64);
    }
    world.stop();
    finish("an actor", &world, actors).await;
    world.set_target().await?;
    finish("a watcher", &world, watchers).await;

    let memory: Vec<f64> = memory.chunks(memory.len().div_ceil(TENTHS).max(1)).map(mean).collect();
    let (after_warm_up, at_end) = (memory[WARM_UP_TENTHS.min(memory.len() - 1)], memory[memory.len() - 1]);
    if at_end > after_warm_up * (1.0 + GROWTH_MAX) + GROWTH_BYTES_MAX {
        world.violation(format!("memory grew from {after_warm_up:.0} to {at_end:.0} bytes"));
    }
    Ok(Summary {
        seconds: duration.as_secs(),
        counts: world.counts(),
        events: world.history.len(),
        resident_bytes: memory,
        server_cpu_seconds: server::cpu_time(server.pid())?.as_secs_f64(),
        violations: world.violations(),
    })
}

/// Waits for tasks to end by themselves; one that fails or hangs is a violation.
async fn finish(who: &str, world: &World, mut tasks: JoinSet<Result<()>>) {
    let ended = time::timeout(CATCH_UP_MAX, async {
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => world.violation(format!("{who}: {error}")),
                Err(error) => world.violation(format!("{who} panicked: {error}")),
            }
        }
    });
    if ended.await.is_err() {
        world.violation(format!("{who} did not come to an end"));
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
