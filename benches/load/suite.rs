//! Everything of `docs/performance.md` that goes over gRPC, in one run: servers in turns, several rounds, medians.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::{
    Result, Stretch, baseline,
    report::{self, Measurement, Row},
    server::Server,
    session, unary, watch,
};

// The servers, by the names that reports give them.
const EMPTY_OURS: &str = "empty, our build and listener";
const EMPTY_BARE: &str = "empty, our build, bare hyper";
const EMPTY_DEFAULT: &str = "empty, default build and runtime";
const OURS: &str = "fuseboard";

/// What to compare, and how thoroughly.
#[derive(Args)]
pub(crate) struct Options {
    /// The `fuseboard` program. Left out: only the empty services are measured.
    #[arg(long)]
    fuseboard: Option<PathBuf>,
    /// This program in the default build, for the empty service in the default build and runtime.
    #[arg(long)]
    plain: Option<PathBuf>,
    /// Turns that each server takes in each scenario.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a turn that are measured.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Core that servers run on. The generator should run on another.
    #[arg(long, default_value = "0")]
    core: String,
    /// Acquires a second in the open loop.
    #[arg(long, default_value_t = 50_000.0)]
    rate: f64,
    /// Where the JSON goes.
    #[arg(long, default_value = "target/bench/load.json")]
    json: PathBuf,
}

/// All that the suite has to say.
#[derive(Serialize)]
struct Report {
    rows: Vec<Row>,
    measurements: Vec<Measurement>,
}

/// Something that a server is asked to do for a stretch.
struct Scenario {
    name: &'static str,
    load: Load,
    /// Asked of all the empty services: where a claim is made against them.
    of_all: bool,
}

enum Load {
    Unary(unary::Options),
    Session(session::Options),
}

/// Runs all scenarios and prints the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    let this = std::env::current_exe()?;
    let start_empty = |program: &PathBuf, kind: baseline::Kind| {
        Server::start(program, &["baseline", "--kind", kind.name()], &options.core)
    };
    let mut servers = vec![
        (EMPTY_OURS, start_empty(&this, baseline::Kind::Ours)?),
        (EMPTY_BARE, start_empty(&this, baseline::Kind::Bare)?),
    ];
    if let Some(plain) = &options.plain {
        servers.push((EMPTY_DEFAULT, start_empty(plain, baseline::Kind::Default)?));
    }
    if let Some(fuseboard) = &options.fuseboard {
        servers.push((
            OURS,
            Server::start(
                fuseboard,
                &["serve", "--ephemeral", "--http-address", "off", "--log", "warn"],
                &options.core,
            )?,
        ));
    }

    let mut measurements = Vec::new();
    for scenario in scenarios(options.rate) {
        for round in 0..options.rounds {
            for (name, server) in &servers {
                if !scenario.of_all && [EMPTY_BARE, EMPTY_DEFAULT].contains(name) {
                    continue;
                }
                let stretch = Stretch {
                    scenario: scenario.name.to_owned(),
                    server: (*name).to_owned(),
                    pid: Some(server.pid()),
                    seconds: options.seconds,
                };
                eprintln!("{} · round {} · {name}", scenario.name, round + 1);
                measurements.push(match &scenario.load {
                    Load::Unary(load) => unary::run(server.address, load, &stretch)?,
                    Load::Session(load) => session::run(server.address, load, &stretch)?,
                });
            }
        }
    }
    for (name, server) in servers.iter().filter(|(name, _)| *name == OURS) {
        for watchers in [1, 1_000] {
            eprintln!("{watchers} watchers · {name}");
            let load = watch::Options { watchers, trips: 200 };
            measurements.extend(watch::run(server.address, &load, Some(server.pid()), name)?);
        }
    }

    let errors: u64 = measurements.iter().map(|m| m.errors).sum();
    let rows = report::rows(&measurements);
    print!("{}", report::table(&rows));
    report::write_json(&options.json, &Report { rows, measurements })?;
    if errors > 0 { Err(format!("{errors} items failed").into()) } else { Ok(()) }
}

fn scenarios(rate: f64) -> Vec<Scenario> {
    let unary = |calls, rate| Load::Unary(unary::Options { calls, rate, workers: 64, connections: 4, breakers: 1_000 });
    let session = |items, window, handles| {
        Load::Session(session::Options { items, window, handles, sessions: 1, breakers: 1_000 })
    };
    let (acquire, pair) = (unary::Calls::Acquire, unary::Calls::Pair);
    vec![
        Scenario { name: "unary Acquire, closed loop", load: unary(acquire, 0.0), of_all: true },
        Scenario { name: "unary Acquire and Report, closed loop", load: unary(pair, 0.0), of_all: true },
        Scenario { name: "unary Acquire, open loop", load: unary(acquire, rate), of_all: false },
        Scenario { name: "session, 1 item a frame", load: session(1, 256, false), of_all: false },
        Scenario { name: "session, 64 items a frame, by name", load: session(64, 16, false), of_all: false },
        Scenario { name: "session, 64 items a frame, by handle", load: session(64, 16, true), of_all: false },
    ]
}
