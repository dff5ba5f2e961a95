//! Session load: Acquires and Reports in turn, one or many in a frame, a window of frames in flight on each stream.

use std::{collections::VecDeque, net::SocketAddr, time::Instant};

use bytes::{Buf, Bytes, BytesMut};
use clap::Args;
use fuseboard::pb::{
    Decision, Introduction, Outcome, ReportResult, SessionAcquire, SessionReport, SessionRequest, SessionResponse,
};
use prost::Message;

use crate::{
    Result, Stretch, keys,
    report::{Measurement, Tally},
    wire::{Arrival, Connection},
};

const SESSION: &str = "/fuseboard.v1.BreakerService/Session";

/// How to load sessions.
#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Items in a frame.
    #[arg(long, default_value_t = 1)]
    pub(crate) items: usize,
    /// Frames in flight on a session.
    #[arg(long, default_value_t = 256)]
    pub(crate) window: usize,
    /// Name breakers by handle, not by key.
    #[arg(long)]
    pub(crate) handles: bool,
    /// Sessions, each on a connection of its own.
    #[arg(long, default_value_t = 1)]
    pub(crate) sessions: usize,
    /// Breakers asked in turn.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) breakers: u32,
}

/// Loads the server for the stretch.
pub(crate) fn run(address: SocketAddr, options: &Options, stretch: &Stretch) -> Result<Measurement> {
    let mut sessions =
        (0..options.sessions).map(|number| Session::open(address, number, options)).collect::<Result<Vec<_>>>()?;
    stretch.measure(|tally| sessions.iter_mut().try_for_each(|session| session.step(tally)))
}

/// One stream and what is in flight on it.
struct Session {
    connection: Connection,
    stream: u32,
    /// Bytes that the server takes on the stream.
    credit: i64,
    options: Options,
    keys: Vec<String>,
    /// Number of the last item; the breaker of an Acquire is its number modulo the breakers.
    last_number: u64,
    /// Permits to report, with the number they were answered under.
    permits: VecDeque<(u64, Bytes)>,
    report_next: bool,
    /// When each frame in flight was sent, and with how many items. A server answers them in order or not: latencies
    /// are taken as if it did, which leaves their distribution nearly the same.
    sent: VecDeque<(Instant, usize)>,
    unsent: Option<SessionRequest>,
    inbound: BytesMut,
    arrivals: Vec<(u32, Arrival)>,
}

impl Session {
    fn open(address: SocketAddr, number: usize, options: &Options) -> Result<Self> {
        let mut connection = Connection::open(address)?;
        let keys = keys(options.breakers);
        let mut hello = SessionRequest { caller: format!("bench/{number}"), ..SessionRequest::default() };
        if options.handles {
            hello.introductions =
                (1..).zip(&keys).map(|(handle, key)| Introduction { handle, breaker: key.clone() }).collect();
        }
        Ok(Self {
            stream: connection.open_stream(SESSION),
            credit: connection.stream_credit(),
            connection,
            options: options.clone(),
            keys,
            last_number: 0,
            permits: VecDeque::new(),
            report_next: false,
            sent: VecDeque::new(),
            unsent: Some(hello),
            inbound: BytesMut::new(),
            arrivals: Vec::new(),
        })
    }

    fn step(&mut self, tally: &mut Tally) -> Result<()> {
        let mut arrivals = std::mem::take(&mut self.arrivals);
        self.connection.poll(&mut arrivals)?;
        let now = Instant::now();
        for (_, arrival) in arrivals.drain(..) {
            match arrival {
                Arrival::Data(piece) => self.inbound.extend_from_slice(&piece),
                Arrival::Credit(bytes) => self.credit += bytes,
                Arrival::End | Arrival::Reset => return Err("the server ended the session".into()),
            }
        }
        self.arrivals = arrivals;
        while let Some(message) = next_message(&mut self.inbound) {
            self.answered(SessionResponse::decode(message)?, now, tally);
        }
        while self.sent.len() < self.options.window {
            let frame = self.unsent.take().unwrap_or_else(|| self.frame());
            let length = frame.encoded_len() as i64 + 5;
            if self.credit < length || !self.connection.send(self.stream, &frame) {
                self.unsent = Some(frame);
                break;
            }
            self.credit -= length;
            self.sent.push_back((now, frame.acquires.len() + frame.reports.len()));
        }
        Ok(self.connection.flush()?)
    }

    /// The next frame: Acquires and Reports in turn, as far as there are permits to report.
    fn frame(&mut self) -> SessionRequest {
        let mut frame = SessionRequest::default();
        for _ in 0..self.options.items {
            self.last_number += 1;
            let number = self.last_number;
            self.report_next = !self.report_next;
            let reported = if self.report_next { self.permits.pop_front() } else { None };
            match reported {
                Some((acquired, permit)) => {
                    let (handle, breaker) = self.name(acquired);
                    let outcome = Outcome::Success.into();
                    frame.reports.push(SessionReport {
                        number,
                        handle,
                        breaker,
                        permit,
                        outcome,
                        ..Default::default()
                    });
                }
                None => {
                    let (handle, breaker) = self.name(number);
                    frame.acquires.push(SessionAcquire { number, handle, breaker, ..Default::default() });
                }
            }
        }
        frame
    }

    /// Handle or key of the breaker that the Acquire of this number asked.
    fn name(&self, number: u64) -> (u32, String) {
        let breaker = number as usize % self.keys.len();
        if self.options.handles { (breaker as u32 + 1, String::new()) } else { (0, self.keys[breaker].clone()) }
    }

    fn answered(&mut self, answer: SessionResponse, now: Instant, tally: &mut Tally) {
        let items = answer.acquired.len() + answer.reported.len();
        if let Some((sent, asked)) = self.sent.pop_front() {
            tally.record(items as u64, now - sent);
            tally.errors += asked.saturating_sub(items) as u64;
        }
        tally.errors += answer.errors.len() as u64;
        for acquired in answer.acquired {
            if acquired.decision() == Decision::Permitted {
                self.permits.push_back((acquired.number, acquired.permit));
            } else {
                tally.errors += 1;
            }
        }
        tally.errors += answer.reported.iter().filter(|item| item.result() != ReportResult::Counted).count() as u64;
    }
}

/// Takes a whole gRPC message off the front.
fn next_message(inbound: &mut BytesMut) -> Option<Bytes> {
    let length = inbound.get(1..5).map(|mut head| head.get_u32() as usize)?;
    if inbound.len() < 5 + length {
        return None;
    }
    inbound.advance(5);
    Some(inbound.split_to(length).freeze())
}
