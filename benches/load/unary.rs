//! Unary load: Acquire alone, or each followed by its Report.
//!
//! *Closed*: a number of workers, each with one call out at a time; what a server can do. *Open*: calls start at a
//! fixed rate, and a call's latency runs from when it should have started, so that a slow answer cannot hide the calls
//! it held up (no coordinated omission); what a caller feels.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use clap::{Args, ValueEnum};
use fuseboard::pb::{AcquireRequest, AcquireResponse, Decision, Outcome, ReportRequest, ReportResponse, ReportResult};
use prost::Message;

use crate::{
    Result, Stretch, keys,
    report::{Measurement, Tally},
    wire::{Arrival, Connection},
};

const ACQUIRE: &str = "/fuseboard.v1.BreakerService/Acquire";
const REPORT: &str = "/fuseboard.v1.BreakerService/Report";

/// How to load the unary RPCs.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// What is called.
    #[arg(long, default_value = "acquire")]
    pub(crate) calls: Calls,
    /// Workers of the closed loop, each with one call out.
    #[arg(long, default_value_t = 64)]
    pub(crate) workers: usize,
    /// Acquires a second of the open loop. 0: closed loop.
    #[arg(long, default_value_t = 0.0)]
    pub(crate) rate: f64,
    /// Connections that the calls are spread over.
    #[arg(long, default_value_t = 4)]
    pub(crate) connections: usize,
    /// Breakers asked in turn.
    #[arg(long, default_value_t = 1_000)]
    pub(crate) breakers: u32,
}

/// Which RPCs are called.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Calls {
    /// Acquire alone: permits are left to their lease.
    Acquire,
    /// Acquire, then Report of a success.
    Pair,
}

/// Loads the server for the stretch.
pub(crate) fn run(address: SocketAddr, options: &Options, stretch: &Stretch) -> Result<Measurement> {
    let mut lanes =
        (0..options.connections).map(|number| Lane::open(address, number, options)).collect::<Result<Vec<_>>>()?;
    stretch.measure(|tally| lanes.iter_mut().try_for_each(|lane| lane.step(tally)))
}

/// A call to be made: when it should start, and for which breaker.
struct Next {
    due: Instant,
    breaker: usize,
    /// Of the report; an Acquire has none yet.
    permit: Option<String>,
}

/// A call that is out.
struct Call {
    next: Next,
    answer: Vec<u8>,
}

/// A connection and the calls of its workers, or its share of the rate.
struct Lane {
    connection: Connection,
    caller: String,
    pair: bool,
    keys: Vec<String>,
    last_breaker: usize,
    /// Time between two calls of this lane's share, and when the next one is due. None in the closed loop.
    schedule: Option<(Duration, Instant)>,
    waiting: VecDeque<Next>,
    out: HashMap<u32, Call>,
    arrivals: Vec<(u32, Arrival)>,
}

impl Lane {
    fn open(address: SocketAddr, number: usize, options: &Options) -> Result<Self> {
        let now = Instant::now();
        let lanes = options.connections;
        let mut lane = Self {
            connection: Connection::open(address)?,
            caller: format!("bench/{number}"),
            pair: options.calls == Calls::Pair,
            keys: keys(options.breakers),
            last_breaker: number,
            schedule: None,
            waiting: VecDeque::new(),
            out: HashMap::new(),
            arrivals: Vec::new(),
        };
        if options.rate > 0.0 {
            let between = Duration::from_secs_f64(lanes as f64 / options.rate);
            lane.schedule = Some((between, now + between.mul_f64(number as f64 / lanes as f64)));
        } else {
            let workers = (options.workers + lanes - 1 - number) / lanes;
            (0..workers).for_each(|_| lane.acquire_at(now));
        }
        Ok(lane)
    }

    fn step(&mut self, tally: &mut Tally) -> Result<()> {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.connection.poll(&mut arrivals)?;
        let now = Instant::now();
        for (stream, arrival) in arrivals.drain(..) {
            match arrival {
                Arrival::Data(piece) => {
                    if let Some(call) = self.out.get_mut(&stream) {
                        call.answer.extend_from_slice(&piece);
                    }
                }
                Arrival::End | Arrival::Reset => {
                    if let Some(call) = self.out.remove(&stream) {
                        self.answered(call, now, tally);
                    }
                }
                Arrival::Credit(_) => {}
            }
        }
        self.arrivals = arrivals;
        while let Some((between, due)) = self.schedule.filter(|(_, due)| *due <= now) {
            self.acquire_at(due);
            self.schedule = Some((between, due + between));
        }
        while self.out.len() < self.connection.streams_max() && self.start_next() {}
        Ok(self.connection.flush()?)
    }

    fn acquire_at(&mut self, due: Instant) {
        self.last_breaker = (self.last_breaker + 1) % self.keys.len();
        self.waiting.push_back(Next { due, breaker: self.last_breaker, permit: None });
    }

    fn start_next(&mut self) -> bool {
        let Some(next) = self.waiting.front() else { return false };
        let breaker = self.keys[next.breaker].clone();
        let stream = match &next.permit {
            None => {
                let request = AcquireRequest { breaker, caller: self.caller.clone(), ..AcquireRequest::default() };
                self.connection.call(ACQUIRE, &request)
            }
            Some(permit) => {
                let permit = permit.clone();
                let outcome = Outcome::Success.into();
                let request = ReportRequest { breaker, permit, outcome, ..ReportRequest::default() };
                self.connection.call(REPORT, &request)
            }
        };
        if let Some(stream) = stream {
            self.out.extend(self.waiting.pop_front().map(|next| (stream, Call { next, answer: Vec::new() })));
        }
        stream.is_some()
    }

    fn answered(&mut self, call: Call, now: Instant, tally: &mut Tally) {
        tally.record(1, now.saturating_duration_since(call.next.due));
        let message = call.answer.get(5..);
        if call.next.permit.is_some() {
            let report = message.and_then(|message| ReportResponse::decode(message).ok());
            tally.errors += u64::from(report.is_none_or(|report| report.result() != ReportResult::Counted));
        } else {
            match message.and_then(|message| AcquireResponse::decode(message).ok()) {
                Some(answer) if answer.decision() == Decision::Permitted => {
                    if self.pair {
                        let Next { breaker, .. } = call.next;
                        self.waiting.push_back(Next { due: now, breaker, permit: Some(answer.permit) });
                        return;
                    }
                }
                _ => tally.errors += 1,
            }
        }
        if self.schedule.is_none() {
            self.acquire_at(now);
        }
    }
}
