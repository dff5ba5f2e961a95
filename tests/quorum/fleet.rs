//! The three arrangements of breakers that a fleet can have.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use fuseboard::breaker::{
    Acquire, Breaker, CALLERS_MAX, CallerId, Decision, Kind, LEDGER_BYTES_MAX, Moment, Outcome, Permit, PermitKind,
    Policy, Report, Reported, RequestId, ServiceId, StateName, Tally, Timestamp, Transition,
    policy::{PolicySpec, Voters},
};

use crate::traffic::Random;

/// How a fleet is protected.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Arrangement {
    /// One breaker for all, which opens on evidence that stands without the worst callers. With this `share`.
    Quorum(f64),
    /// The same with a `share` of 0, where services vote.
    Services,
    /// One breaker for all, which does not ask who calls.
    Plain,
    /// A breaker in each caller.
    Own,
}

/// How a shared breaker learns of outcomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Telling {
    /// Each at once.
    OneByOne,
    /// In tallies, as clients that decide by themselves send them: failures at once, successes after 100 ms, and one frame
    /// under way at a time. With all runs of failures, or only the trailing one.
    Tallies { runs: bool },
}

/// How long a success waits for others.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);
/// How long a frame takes to the server, and its answer back.
const ONE_WAY: Duration = Duration::from_millis(1);

/// The outcomes of one caller that the server was not told of yet.
#[derive(Clone, Default, Debug)]
struct Pending {
    /// Whether each call failed, in their order, under the generations of the first.
    calls: Vec<bool>,
    generations: (u64, u64),
    since: Timestamp,
    /// When it is sent.
    due: Option<(Timestamp, u64)>,
    /// Until when a frame is under way.
    busy: Timestamp,
}

#[derive(Clone, Debug)]
enum Wire {
    Send(CallerId),
    Arrive(CallerId, Tally, Timestamp),
}

/// What is under way between callers and a shared breaker.
#[derive(Debug)]
struct Frames {
    tells_runs: bool,
    pending: HashMap<CallerId, Pending>,
    events: BTreeMap<(Timestamp, u64), Wire>,
    order: u64,
}

impl Frames {
    fn schedule(&mut self, at: Timestamp, event: Wire) -> (Timestamp, u64) {
        self.order += 1;
        self.events.insert((at, self.order), event);
        (at, self.order)
    }

    fn note(&mut self, now: Timestamp, permit: &Permit, failed: bool) {
        let caller = permit.caller;
        let generations = (permit.generation, permit.caller_generation);
        if self.pending.get(&caller).is_some_and(|own| !own.calls.is_empty() && own.generations != generations) {
            self.send(now, caller);
        }
        let own = self.pending.entry(caller).or_default();
        if own.calls.is_empty() {
            (own.since, own.generations) = (now, generations);
        }
        own.calls.push(failed);
        let at = if failed { now } else { now.after(REPORT_INTERVAL) }.max(own.busy);
        let due = own.due;
        if due.is_none_or(|(due, _)| at < due) {
            if let Some(due) = due {
                self.events.remove(&due);
            }
            let due = self.schedule(at, Wire::Send(caller));
            self.pending.entry(caller).or_default().due = Some(due);
        }
    }

    fn send(&mut self, now: Timestamp, caller: CallerId) {
        let own = self.pending.entry(caller).or_default();
        let (calls, since, generations) = (std::mem::take(&mut own.calls), own.since, own.generations);
        let due = own.due.take();
        own.busy = now.after(2 * ONE_WAY);
        if let Some(due) = due {
            self.events.remove(&due);
        }
        if calls.is_empty() {
            return;
        }
        let runs: Vec<u32> = calls.split(|failed| !failed).map(|run| u32::try_from(run.len()).unwrap()).collect();
        let told = |run: u32| if self.tells_runs { run } else { 0 };
        let tally = Tally {
            generation: generations.0,
            caller_generation: generations.1,
            successes: u32::try_from(runs.len()).unwrap() - 1,
            failures: runs.iter().sum(),
            leading_failures: told(runs[0]),
            longest_run: told(runs.iter().copied().max().unwrap_or_default()),
            trailing_failures: runs[runs.len() - 1],
            ..Tally::default()
        };
        self.schedule(now.after(ONE_WAY), Wire::Arrive(caller, tally, since));
    }
}

/// The breakers of a fleet.
#[derive(Debug)]
pub(crate) struct Fleet {
    policy: Arc<Policy>,
    shared: Option<Breaker>,
    own: HashMap<CallerId, Breaker>,
    /// Of the callers that were introduced.
    services: HashMap<CallerId, ServiceId>,
    /// Absent where each outcome is told at once.
    frames: Option<Frames>,
    /// Moves that nobody has looked at yet.
    pub(crate) moves: Vec<Move>,
}

/// A move, as far as the simulation tells moves apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Move {
    pub(crate) at: Timestamp,
    pub(crate) what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// A closed breaker opened.
    Opened,
    /// A breaker closed.
    Closed,
    /// One caller of a shared breaker was cut off by itself.
    Isolated(CallerId),
}

impl Arrangement {
    pub(crate) const DEFAULT: [Self; 3] = [Self::Quorum(0.0), Self::Plain, Self::Own];

    fn policy(self) -> Policy {
        let spec = match self {
            Self::Quorum(share) => PolicySpec { share: Some(share), ..PolicySpec::default() },
            Self::Services => PolicySpec { voters: Some(Voters::Service), ..PolicySpec::default() },
            Self::Plain | Self::Own => PolicySpec { min_callers: Some(1), ..PolicySpec::default() },
        };
        spec.resolve().expect("a valid policy")
    }
}

impl Fleet {
    pub(crate) fn new(arrangement: Arrangement, now: Timestamp) -> Self {
        let policy = Arc::new(arrangement.policy());
        let shared = (arrangement != Arrangement::Own).then(|| Breaker::new(policy.clone(), 1, now));
        let (own, services) = (HashMap::new(), HashMap::new());
        Self { policy, shared, own, services, frames: None, moves: Vec::new() }
    }

    /// Of one breaker, told in this way.
    pub(crate) fn told(self, telling: Telling) -> Self {
        let frames = match telling {
            Telling::OneByOne => None,
            Telling::Tallies { runs } => {
                Some(Frames { tells_runs: runs, pending: HashMap::new(), events: BTreeMap::new(), order: 0 })
            }
        };
        Self { frames, ..self }
    }

    /// Says which service a caller is an instance of.
    pub(crate) fn introduce(&mut self, caller: CallerId, service: usize) {
        let number = u64::try_from(service).expect("few services");
        self.services.insert(caller, ServiceId(1 + number));
    }

    /// The service of a caller, where services vote.
    fn service(&self, caller: CallerId) -> ServiceId {
        let service = self.services.get(&caller).filter(|_| self.policy.voters == Voters::Service);
        service.copied().unwrap_or_else(|| caller.into())
    }

    /// Asks the breaker of this caller for leave.
    pub(crate) fn ask(&mut self, now: Timestamp, caller: CallerId) -> Decision {
        let acquire = Acquire {
            caller,
            service: self.service(caller),
            request: RequestId::default(),
            lease: None,
            ledger_bytes_max: LEDGER_BYTES_MAX,
            callers_max: CALLERS_MAX,
        };
        let breaker = self.awake(now, caller);
        let step = breaker.acquire(moment(now), &acquire);
        self.note(step.transitions);
        step.answer
    }

    /// Tells the breaker of this caller how its call went. True where it counts: not if the caller was cut off since.
    pub(crate) fn tell(&mut self, now: Timestamp, permit: &Permit, failed: bool, took: Duration) -> bool {
        if permit.kind == PermitKind::Call && self.frames.is_some() {
            self.awake(now, permit.caller);
            self.frames.as_mut().unwrap().note(now, permit, failed);
            self.awake(now, permit.caller);
            return true;
        }
        let outcome = if failed { Outcome::Failure } else { Outcome::Success };
        let report = Report { duration: Some(took), ..Report::of(outcome) };
        let breaker = self.awake(now, permit.caller);
        let step = breaker.report(moment(now), permit, &report);
        self.note(step.transitions);
        step.answer == Reported::Counted
    }

    /// Brings the shared breaker up to an instant.
    pub(crate) fn wake(&mut self, now: Timestamp) {
        if self.shared.is_some() {
            self.awake(now, CallerId::default());
        }
    }

    pub(crate) fn state(&self) -> Option<StateName> {
        self.shared.as_ref().map(|breaker| breaker.state().name())
    }

    /// The breaker that this caller asks, after all that was due before now, each at its own instant.
    fn awake(&mut self, now: Timestamp, caller: CallerId) -> &mut Breaker {
        while let Some(entry) = self.frames.as_mut().and_then(|frames| frames.events.first_entry()) {
            let at = entry.key().0;
            if at > now {
                break;
            }
            match entry.remove() {
                Wire::Send(caller) => self.frames.as_mut().unwrap().send(at, caller),
                Wire::Arrive(caller, tally, since) => {
                    let tally = Tally { age: at.since(since), ..tally };
                    let service = self.service(caller);
                    let step = self.due(at, caller).tally(moment(at), caller, service, &tally, CALLERS_MAX);
                    self.note(step.transitions);
                }
            }
        }
        self.due(now, caller)
    }

    fn due(&mut self, now: Timestamp, caller: CallerId) -> &mut Breaker {
        let Self { policy, shared, own, moves, .. } = self;
        let breaker = match shared {
            Some(breaker) => breaker,
            None => own.entry(caller).or_insert_with(|| Breaker::new(policy.clone(), 1, now)),
        };
        while let Some(due) = breaker.deadline().ever().filter(|due| *due <= now) {
            moves.extend(breaker.handle_timeout(moment(due)).iter().filter_map(Move::of));
        }
        breaker
    }

    fn note(&mut self, transitions: Vec<Transition>) {
        self.moves.extend(transitions.iter().filter_map(Move::of));
    }
}

impl Move {
    fn of(transition: &Transition) -> Option<Self> {
        let what = match (transition.kind, transition.from, transition.caller) {
            (Kind::Opened, StateName::Closed, _) => What::Opened,
            (Kind::CallerIsolated, StateName::Closed, Some(caller)) => What::Isolated(caller.caller),
            (Kind::Closed, ..) => What::Closed,
            _ => return None,
        };
        Some(Self { at: transition.at, what })
    }
}

fn moment(now: Timestamp) -> Moment {
    Moment { now, random: Random::new(now.as_nanos()).next() }
}
