//! The load generator: asks a server as fast as it can, or at a fixed rate, and tells what came of it.
//!
//! `cargo bench --bench load -- unary --address 127.0.0.1:50051` loads a server that runs; `suite` starts servers of its
//! own, ours and empty ones, and compares them. Every run is bounded in time and count.

#![expect(clippy::disallowed_methods, reason = "measures real time")]

use std::{
    error::Error,
    net::SocketAddr,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Args, Parser, Subcommand};

use crate::report::{Measurement, Tally};

mod baseline;
mod report;
mod server;
mod session;
mod suite;
mod unary;
mod watch;
mod wire;

/// As in `fuseboard`. The default build, which empty services are also measured in, does without.
#[cfg(not(fuseboard_plain))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Time before a measurement in which a server and its caches warm up.
const WARM_UP: Duration = Duration::from_millis(500);

#[derive(Parser)]
#[command(about = "Loads a Fuseboard server and measures it")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Given by `cargo bench`.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Serve an empty service with the same messages.
    Baseline {
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:50052")]
        address: SocketAddr,
        /// How it is served.
        #[arg(long)]
        kind: baseline::Kind,
    },
    /// Load the unary RPCs.
    Unary {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        options: unary::Options,
    },
    /// Load sessions.
    Session {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        options: session::Options,
    },
    /// Trip breakers under watchers.
    Watch {
        #[command(flatten)]
        target: Target,
        #[command(flatten)]
        options: watch::Options,
    },
    /// Start servers, compare them in turns and print the table.
    Suite(suite::Options),
}

#[derive(Args)]
struct Target {
    /// Where the server listens.
    #[arg(long, default_value = "127.0.0.1:50051")]
    address: SocketAddr,
    /// The server's process, for its CPU time.
    #[arg(long)]
    pid: Option<u32>,
    /// Seconds to measure.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
}

impl Target {
    fn stretch(&self, scenario: &str) -> Stretch {
        let server = self.address.to_string();
        Stretch { scenario: scenario.to_owned(), server, pid: self.pid, seconds: self.seconds }
    }
}

/// One measurement to be taken: of whom, under which name, for how long.
struct Stretch {
    scenario: String,
    server: String,
    pid: Option<u32>,
    seconds: f64,
}

impl Stretch {
    /// Drives a generator through warm-up and measurement.
    fn measure(&self, mut step: impl FnMut(&mut Tally) -> Result<()>) -> Result<Measurement> {
        let mut drive = |time: Duration| -> Result<(Tally, Duration)> {
            let (mut tally, started) = (Tally::new(), Instant::now());
            while started.elapsed() < time {
                step(&mut tally)?;
            }
            Ok((tally, started.elapsed()))
        };
        let (warm_up, _) = drive(WARM_UP)?;
        let cpu_before = self.pid.map(server::cpu_time).transpose()?;
        let (tally, wall) = drive(Duration::from_secs_f64(self.seconds))?;
        let cpu_after = self.pid.map(server::cpu_time).transpose()?;
        if tally.items == 0 {
            return Err(format!("{}: {} answered nothing", self.scenario, self.server).into());
        }
        Ok(Measurement {
            scenario: self.scenario.clone(),
            server: self.server.clone(),
            items: tally.items,
            errors: warm_up.errors + tally.errors,
            seconds: wall.as_secs_f64(),
            server_cpu_seconds: cpu_before.zip(cpu_after).map(|(before, after)| (after - before).as_secs_f64()),
            latency: (&tally.latency).into(),
        })
    }
}

/// The keys that a load asks in turn, of 24 bytes each.
fn keys(count: u32) -> Vec<String> {
    (0..count).map(|number| format!("bench/service-{number:06}/get")).collect()
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let measurements = match command {
        Command::Baseline { address, kind } => return baseline::serve(kind, address),
        Command::Suite(options) => return suite::run(&options),
        Command::Unary { target, options } => {
            vec![unary::run(target.address, &options, &target.stretch("unary"))?]
        }
        Command::Session { target, options } => {
            vec![session::run(target.address, &options, &target.stretch("session"))?]
        }
        Command::Watch { target, options } => {
            watch::run(target.address, &options, target.pid, &target.address.to_string())?
        }
    };
    println!("{}", serde_json::to_string_pretty(&measurements)?);
    match measurements.iter().map(|m| m.errors).sum::<u64>() {
        0 => Ok(()),
        errors => Err(format!("{errors} items failed").into()),
    }
}
