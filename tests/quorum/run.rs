//! One run: a trace, a fault and an arrangement of breakers, and what came of it.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use fuseboard::breaker::{CallerId, Decision, Permit, StateName, Timestamp};

use crate::{
    fault::{Fault, Manner, World},
    fleet::{Arrangement, Fleet, Move, Telling, What},
    traffic::{Arrival, Random, START, Traffic},
};

/// A fleet, its traffic and what happens to it. With a seed, everything but the breakers.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Scenario {
    pub(crate) callers: usize,
    pub(crate) traffic: Traffic,
    /// Calls a second that a caller makes on average.
    pub(crate) rate: f64,
    /// Share of the calls that fail where nothing is wrong.
    pub(crate) rest: f64,
    pub(crate) fault: Fault,
    pub(crate) lengths: Lengths,
}

/// How long nothing is wrong, the fault lasts, and nothing is wrong again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lengths {
    pub(crate) before: Duration,
    pub(crate) fault: Duration,
    pub(crate) after: Duration,
}

/// Whether callers say who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Names {
    Said,
    Unsaid,
}

/// What a rejected caller does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Asking {
    /// Asks with its next call.
    NextCall,
    /// Asks again after the time it was told, also when it has nothing to call.
    RetryAfter,
}

/// A scenario as one seed draws it.
#[derive(Clone, Debug)]
pub(crate) struct Drawn {
    pub(crate) world: World,
    pub(crate) trace: Vec<Arrival>,
    pub(crate) asking: Asking,
    end: Timestamp,
}

/// What came of a run. Calls that were only made to ask again are in no count but `met`.
#[derive(Clone, Default, Debug)]
pub(crate) struct Outcome {
    /// How often the fleet's breaker opened before the fault. Where each caller has one: any of them.
    pub(crate) trips_before: u32,
    /// Callers cut off by themselves before the fault.
    pub(crate) isolated_before: u32,
    /// How often the breaker opened, from closed, while the fault lasted.
    pub(crate) trips: u32,
    /// The first of these.
    pub(crate) opened: Option<Onset>,
    /// When a caller that meets the fault was first cut off by itself.
    pub(crate) isolated: Option<Onset>,
    /// Callers cut off by themselves, from the fault on, that do not meet it.
    pub(crate) isolated_wrongly: u32,
    /// Calls that failed by the fault.
    pub(crate) met: u64,
    /// Calls that would have failed by the fault without any breaker.
    pub(crate) would_meet: u64,
    /// Calls that would have succeeded, and those of them that were refused.
    pub(crate) good: u64,
    pub(crate) good_refused: u64,
    /// The same of callers that never meet the fault.
    pub(crate) healthy_good: u64,
    pub(crate) healthy_refused: u64,
    /// How many callers that never meet the fault were refused, and the longest time that one was.
    pub(crate) healthy_callers_refused: u32,
    pub(crate) healthy_refused_for: Duration,
    /// The longest time that a caller which meets the fault was refused.
    pub(crate) sick_refused_for: Duration,
    /// Whether the fleet's breaker was not closed as the fault ended, and how long after that it closed.
    pub(crate) open_at_end: bool,
    pub(crate) closed_after: Option<Duration>,
    /// How long after the end of the fault somebody was last refused; zero where nobody was.
    pub(crate) last_refusal: Duration,
}

/// How far a fault had gone when something was done about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Onset {
    pub(crate) after: Duration,
    /// Failures that counted since the fault began. Calls that were under way as their caller was cut off come on top.
    pub(crate) failures: u64,
}

#[derive(Debug)]
enum Event {
    CallEnds { permit: Permit, began: Timestamp, failed: bool, is_met: bool },
    AsksAgain { caller: usize },
    FaultEnds,
}

#[derive(Clone, Default, Debug)]
struct Caller {
    name: CallerId,
    refused_since: Option<Timestamp>,
    refused_for: Duration,
    was_refused: bool,
    asks_again: Option<Timestamp>,
}

impl Asking {
    pub(crate) const fn by(seed: u64) -> Self {
        if (seed / 2).is_multiple_of(2) { Self::NextCall } else { Self::RetryAfter }
    }
}

impl Lengths {
    pub(crate) const fn total(self) -> Duration {
        self.before.saturating_add(self.fault).saturating_add(self.after)
    }
}

impl Scenario {
    /// Draws all that chance decides, differently in each scenario. A seed's last bit says how failures come, the one
    /// before it what rejected callers do.
    pub(crate) fn draw(&self, seed: u64) -> Drawn {
        let salt = format!("{self:?}").bytes().fold(seed, |sum, byte| Random::new(sum ^ u64::from(byte)).next());
        let lengths = self.lengths;
        let begin = START.after(lengths.before);
        Drawn {
            world: World {
                fault: self.fault,
                manner: Manner::by(seed),
                callers: self.callers,
                services: self.callers,
                rest: self.rest,
                begin,
                end: begin.after(lengths.fault),
            },
            trace: self.traffic.trace(self.callers, self.rate, lengths.total(), salt),
            asking: Asking::by(seed),
            end: START.after(lengths.total()),
        }
    }
}

impl Drawn {
    /// The same, where the callers are instances of so many services.
    pub(crate) const fn of_services(mut self, services: usize) -> Self {
        self.world.services = services;
        self
    }

    /// What comes of it under an arrangement.
    pub(crate) fn run(&self, arrangement: Arrangement) -> Outcome {
        self.play(arrangement, Names::Said, |_| {})
    }

    /// The same, where outcomes are told in this way.
    pub(crate) fn run_told(&self, arrangement: Arrangement, telling: Telling) -> Outcome {
        self.play_on(Fleet::new(arrangement, START).told(telling), Names::Said, |_| {})
    }

    /// As `run`, with a look at each decision.
    pub(crate) fn play(&self, arrangement: Arrangement, names: Names, seen: impl FnMut(Decision)) -> Outcome {
        self.play_on(Fleet::new(arrangement, START), names, seen)
    }

    fn play_on(&self, fleet: Fleet, names: Names, seen: impl FnMut(Decision)) -> Outcome {
        let mut run = Run {
            drawn: self,
            names,
            seen,
            fleet,
            events: BTreeMap::new(),
            order: 0,
            callers: vec![Caller::default(); self.world.callers],
            owners: HashMap::new(),
            failures: 0,
            outcome: Outcome::default(),
        };
        run.schedule(self.world.end, Event::FaultEnds);
        for arrival in &self.trace {
            run.events_until(arrival.at);
            run.arrive(arrival);
        }
        run.events_until(self.end);
        run.finish()
    }
}

struct Run<'a, F> {
    drawn: &'a Drawn,
    names: Names,
    seen: F,
    fleet: Fleet,
    events: BTreeMap<(Timestamp, u64), Event>,
    /// Tells events of one instant apart.
    order: u64,
    callers: Vec<Caller>,
    owners: HashMap<CallerId, usize>,
    failures: u64,
    outcome: Outcome,
}

impl<F: FnMut(Decision)> Run<'_, F> {
    fn schedule(&mut self, at: Timestamp, event: Event) {
        self.order += 1;
        self.events.insert((at, self.order), event);
    }

    fn events_until(&mut self, now: Timestamp) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, _), event) = entry.remove_entry();
            match event {
                Event::CallEnds { permit, began, failed, is_met } => {
                    self.outcome.met += u64::from(is_met);
                    let counts = self.fleet.tell(at, &permit, failed, at.since(began));
                    self.failures += u64::from(counts && failed && at >= self.drawn.world.begin);
                }
                Event::AsksAgain { caller } => {
                    if self.callers[caller].asks_again == Some(at) {
                        self.callers[caller].asks_again = None;
                        self.ask(at, caller, at.as_nanos());
                    }
                }
                Event::FaultEnds => {
                    self.fleet.wake(at);
                    self.outcome.open_at_end = self.fleet.state().is_some_and(|state| state != StateName::Closed);
                }
            }
            self.look_at_moves();
        }
    }

    fn arrive(&mut self, arrival: &Arrival) {
        let &Arrival { at, caller, draw } = arrival;
        let world = &self.drawn.world;
        let is_healthy = !world.meets(caller);
        let is_good = !world.fate(caller, at, draw).fails;
        let is_met = !is_good && at >= world.begin && at < world.end && !is_healthy;
        let is_refused = !self.ask(at, caller, draw);
        self.look_at_moves();
        let outcome = &mut self.outcome;
        outcome.would_meet += u64::from(is_met);
        outcome.good += u64::from(is_good);
        outcome.good_refused += u64::from(is_good && is_refused);
        outcome.healthy_good += u64::from(is_good && is_healthy);
        outcome.healthy_refused += u64::from(is_good && is_healthy && is_refused);
    }

    /// Asks for leave, and makes the call if it is given. False where it was refused.
    fn ask(&mut self, now: Timestamp, caller: usize, draw: u64) -> bool {
        let world = &self.drawn.world;
        let name = match self.names {
            Names::Said => world.name(caller, now),
            Names::Unsaid => CallerId::default(),
        };
        let who = &mut self.callers[caller];
        if who.name != name {
            who.name = name;
            self.owners.insert(name, caller);
            self.fleet.introduce(name, world.service(caller));
        }
        let decision = self.fleet.ask(now, name);
        (self.seen)(decision);
        match decision {
            Decision::Permitted(permit) => {
                who.refused_for += who.refused_since.take().map_or(Duration::ZERO, |since| now.since(since));
                let fate = world.fate(caller, now, draw);
                let is_fault = fate.fails && now >= world.begin && now < world.end;
                let is_met = is_fault && world.meets(caller);
                self.schedule(fate.end, Event::CallEnds { permit, began: now, failed: fate.fails, is_met });
                true
            }
            Decision::Rejected { retry_after, .. } => {
                who.refused_since.get_or_insert(now);
                who.was_refused = true;
                if now >= world.end {
                    self.outcome.last_refusal = now.since(world.end);
                }
                let is_waiting = who.asks_again.is_some_and(|again| again > now);
                if self.drawn.asking == Asking::RetryAfter && !is_waiting {
                    let again = now.after(retry_after);
                    who.asks_again = Some(again);
                    self.schedule(again, Event::AsksAgain { caller });
                }
                false
            }
        }
    }

    fn look_at_moves(&mut self) {
        for Move { at, what } in std::mem::take(&mut self.fleet.moves) {
            let world = &self.drawn.world;
            let is_before = at < world.begin;
            let onset = Onset { after: at.since(world.begin), failures: self.failures };
            let outcome = &mut self.outcome;
            match what {
                What::Opened if is_before => outcome.trips_before += 1,
                What::Opened if at < world.end => {
                    outcome.trips += 1;
                    outcome.opened.get_or_insert(onset);
                }
                What::Isolated(_) if is_before => outcome.isolated_before += 1,
                What::Isolated(name) => {
                    let is_sick = self.owners.get(&name).is_some_and(|who| world.meets(*who));
                    if is_sick {
                        outcome.isolated.get_or_insert(onset);
                    } else {
                        outcome.isolated_wrongly += 1;
                    }
                }
                What::Closed if at >= world.end && outcome.open_at_end => {
                    outcome.closed_after.get_or_insert_with(|| at.since(world.end));
                }
                What::Opened | What::Closed => {}
            }
        }
    }

    fn finish(mut self) -> Outcome {
        let world = &self.drawn.world;
        for (index, caller) in self.callers.iter_mut().enumerate() {
            let rest = caller.refused_since.take().map_or(Duration::ZERO, |since| self.drawn.end.since(since));
            caller.refused_for += rest;
            let outcome = &mut self.outcome;
            if world.meets(index) {
                outcome.sick_refused_for = outcome.sick_refused_for.max(caller.refused_for);
            } else {
                outcome.healthy_callers_refused += u32::from(caller.was_refused);
                outcome.healthy_refused_for = outcome.healthy_refused_for.max(caller.refused_for);
            }
        }
        self.outcome
    }
}
