//! What the server has told, and whether what it tells now agrees with that.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use fuseboard::pb::{BreakerStatus, Event, GetStateResponse, OverrideMode, State};

use crate::figures::Figures;

/// What may be lost of statistics: those of the last second before the kill.
const LOSS_MAX: Duration = Duration::from_secs(1);
/// What a busy machine adds to that.
const SLACK: Duration = Duration::from_millis(500);
/// How far the server's time may be ahead of the machine's, which is stepped in small ways.
const AHEAD_MAX: Duration = Duration::from_millis(50);
/// Violations that are told in full.
const TOLD_MAX: usize = 40;

/// Everything that was told, over all lives of the server.
#[derive(Default)]
pub(crate) struct Ledger {
    seed: u64,
    /// Number of the life, from 1.
    pub(crate) life: u64,
    pub(crate) figures: Figures,
    pub(crate) violations: usize,
    /// Events by sequence; those that nobody was told are `None`.
    events: Vec<Option<Event>>,
    /// Events that a status named, and nobody was told yet: sequence, breaker.
    named: BTreeMap<u64, String>,
    /// Where a breaker stood in a generation.
    standings: HashMap<(String, u64), Standing>,
    /// Highest generation told of each breaker.
    generations: HashMap<String, u64>,
    /// Latest server time told, in nanoseconds.
    now: i64,
    history: String,
    /// What operators and services have written, by what it is about.
    registers: BTreeMap<String, Register>,
    /// Probes that nobody has reported with an answer.
    pub(crate) probes: Vec<Probe>,
    /// Permits of closed breakers that nobody reports: breaker, permit.
    pub(crate) permits: Vec<(String, String)>,
    /// What clients have sent in batches, by breaker.
    batches: BTreeMap<String, Batches>,
    /// Last revision that a breaker which hears of batches was declared with.
    revision: u64,
}

/// What is told of a breaker in one generation; it is never told otherwise.
#[derive(Clone, Debug)]
struct Standing {
    state: State,
    /// Override, since when and until when in nanoseconds.
    times: Option<(OverrideMode, Option<i64>, Option<i64>)>,
    /// Successful probes that were counted in it.
    successes: u32,
}

/// Something that one actor writes, one write at a time.
#[derive(Clone, Default, Debug)]
struct Register {
    /// What may be in force: what was answered, and what was sent since then.
    possible: Vec<String>,
}

/// A probe that is out.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) breaker: String,
    pub(crate) generation: u64,
    pub(crate) permit: String,
    pub(crate) request_id: String,
    /// Its lease runs until then at least.
    pub(crate) leased_until: Instant,
    /// A report was sent, and not answered.
    pub(crate) reporting: bool,
    /// Life that granted it.
    pub(crate) life: u64,
}

/// What a client has sent for one breaker.
#[derive(Clone, Default, Debug)]
struct Batches {
    generation: u64,
    /// The breaker's count at a start, without what was sent since.
    base: u64,
    /// Its count at the last start.
    floor: u64,
    /// Batches that are not in `base`: sequence, calls, when this life answered.
    sent: Vec<(u64, u64, Option<Instant>)>,
    last: u64,
}

impl Ledger {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// Something that the server must not do.
    pub(crate) fn violation(&mut self, what: impl AsRef<str>) {
        self.violations += 1;
        if self.violations <= TOLD_MAX {
            eprintln!("violation (seed {}, life {}): {}", self.seed, self.life, what.as_ref());
        }
    }

    // ---- Breakers ------------------------------------------------------------------------------------------------------

    /// A breaker's state in a generation.
    pub(crate) fn tell_state(&mut self, breaker: &str, generation: u64, state: State) {
        let highest = self.generations.entry(breaker.to_owned()).or_default();
        *highest = generation.max(*highest);
        let standing = Standing { state, times: None, successes: 0 };
        let told = self.standings.entry((breaker.to_owned(), generation)).or_insert(standing);
        if told.state != state {
            let told = told.state;
            self.violation(format!("{breaker} was told {told:?} in generation {generation}, and is told {state:?}"));
        }
    }

    /// Where a breaker stands.
    pub(crate) fn tell_status(&mut self, status: &BreakerStatus) {
        let (breaker, generation) = (&status.breaker, status.generation);
        self.tell_state(breaker, generation, status.state());
        let now = (status.override_mode(), status.state_since.map(nanos), status.state_until.map(nanos));
        let told = self.standings.get_mut(&(breaker.clone(), generation)).expect("it was just told");
        let told = *told.times.get_or_insert(now);
        if told != now {
            self.violation(format!("{breaker} in generation {generation} was told {told:?}, and is told {now:?}"));
        }
        if status.sequence > 0 && self.event(status.sequence).is_none() {
            self.named.insert(status.sequence, breaker.clone());
        }
    }

    /// A report of a probe was counted, and the round goes on.
    pub(crate) fn count_success(&mut self, breaker: &str, generation: u64) {
        if let Some(standing) = self.standings.get_mut(&(breaker.to_owned(), generation)) {
            standing.successes += 1;
        }
    }

    /// The highest generation told of a breaker.
    pub(crate) fn generation(&self, breaker: &str) -> u64 {
        self.generations.get(breaker).copied().unwrap_or_default()
    }

    /// A server time.
    pub(crate) fn tell_now(&mut self, now: Option<prost_types::Timestamp>) {
        self.now = self.now.max(now.map_or(0, nanos));
    }

    /// The first server time of a life.
    pub(crate) fn check_now(&mut self, now: Option<prost_types::Timestamp>) {
        let (told, now) = (self.now, now.map_or(0, nanos));
        if now < told {
            self.violation(format!("the server's time went back by {:?}", Duration::from_nanos((told - now) as u64)));
        }
        // The machine's clock does not go back here, so there is no reason to be ahead of it: leases and open periods that
        // run on would end early.
        let machine = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ahead = Duration::from_nanos(now.unsigned_abs()).saturating_sub(machine);
        self.figures.ahead = self.figures.ahead.max(ahead);
        if ahead > AHEAD_MAX {
            self.violation(format!("the server's time is ahead of the machine's by {ahead:?}"));
        }
    }

    /// Where a breaker stands after a start, before anybody has asked for anything.
    pub(crate) fn check_state(&mut self, breaker: &str, answer: &GetStateResponse, probes_max: u32) {
        let status = answer.status.clone().unwrap_or_default();
        let (told, generation) = (self.generation(breaker), status.generation);
        if generation < told {
            self.violation(format!("{breaker} was told in generation {told}, and is in {generation}"));
        }
        let overdue = Duration::from_secs(1);
        if let (State::Open, Some(until), Some(now)) = (status.state(), status.state_until, answer.now)
            && nanos(now) - nanos(until) > overdue.as_nanos() as i64
        {
            self.violation(format!("{breaker} is open beyond its deadline {until} at {now}"));
        }
        let successes = self.standings.get(&(breaker.to_owned(), generation)).map_or(0, |told| told.successes);
        let sure_until = Instant::now() + Duration::from_millis(100);
        let is_out = |probe: &&Probe| {
            probe.breaker == breaker
                && probe.generation == generation
                && !probe.reporting
                && probe.leased_until > sure_until
        };
        let out = self.probes.iter().filter(is_out).count() as u32;
        self.tell_status(&status);
        self.tell_now(answer.now);
        let Some(round) = answer.round.filter(|_| status.state() == State::HalfOpen) else { return };
        if round.probes_out > probes_max || round.probes_out < out {
            self.violation(format!(
                "{breaker} has {} probes out in generation {generation}; {out} were told, {probes_max} may be",
                round.probes_out
            ));
        }
        if round.successes < successes {
            self.violation(format!(
                "{breaker} has {} successes in generation {generation}; {successes} were told",
                round.successes
            ));
        }
    }

    // ---- Events --------------------------------------------------------------------------------------------------------

    fn event(&self, sequence: u64) -> Option<&Event> {
        self.events.get(usize::try_from(sequence).ok()?.checked_sub(1)?)?.as_ref()
    }

    /// The newest sequence told.
    pub(crate) fn newest(&self) -> u64 {
        let named = self.named.last_key_value().map_or(0, |(sequence, _)| *sequence);
        named.max(self.events.len() as u64)
    }

    /// An event, told by anybody.
    pub(crate) fn observe(&mut self, event: &Event) {
        let event = lasting(event);
        let Some(index) = usize::try_from(event.sequence).ok().and_then(|sequence| sequence.checked_sub(1)) else {
            return self.violation(format!("an event has no sequence: {event:?}"));
        };
        if self.events.len() <= index {
            self.events.resize(index + 1, None);
        }
        if let Some(told) = &self.events[index] {
            if *told != event {
                let told = told.clone();
                self.violation(format!("an event was told as\n  {told:?}\nand is told as\n  {event:?}"));
            }
            return;
        }
        if let Some(breaker) = self.named.remove(&event.sequence)
            && breaker != event.breaker
        {
            self.violation(format!(
                "{breaker} was told to have event {}, which is of {}",
                event.sequence, event.breaker
            ));
        }
        let status = event.status.clone();
        self.tell_now(event.event_time);
        self.figures.events = self.figures.events.max(event.sequence);
        self.events[index] = Some(event);
        if let Some(status) = status {
            self.tell_status(&status);
        }
    }

    /// The log of a server that has just started: its name, its time, its newest event.
    pub(crate) fn check_log(&mut self, history: &str, newest: u64) {
        if self.history.is_empty() {
            history.clone_into(&mut self.history);
        }
        if self.history != history {
            let told = self.history.clone();
            self.violation(format!("the history was {told}, and is {history}"));
        }
        let told = self.newest();
        if newest < told {
            self.violation(format!("event {told} was told, and the newest is {newest}"));
        }
    }

    /// Every event up to one is known once the log was read.
    pub(crate) fn check_complete(&mut self, newest: u64) {
        let missing = (1..=newest).find(|sequence| self.event(*sequence).is_none());
        if let Some(missing) = missing {
            self.violation(format!("event {missing} is not in the log that reaches to {newest}"));
        }
        let lost: Vec<_> =
            self.named.range(..=newest).map(|(sequence, breaker)| (*sequence, breaker.clone())).collect();
        if !lost.is_empty() {
            self.violation(format!("events that were told are not in the log: {lost:?}"));
        }
    }

    /// Sequences of events of breakers whose keys begin so.
    pub(crate) fn sequences(&self, prefix: &str) -> Vec<u64> {
        let known = self.events.iter().flatten();
        known.filter(|event| event.breaker.starts_with(prefix)).map(|event| event.sequence).collect()
    }

    // ---- Writes --------------------------------------------------------------------------------------------------------

    /// A write is about to be sent.
    pub(crate) fn write(&mut self, name: &str, value: &str) {
        let register = self.registers.entry(name.to_owned()).or_default();
        if register.possible.is_empty() {
            register.possible.push(String::new());
        }
        register.possible.push(value.to_owned());
        self.figures.writes += 1;
    }

    /// The last write was answered, or refused with nothing changed.
    pub(crate) fn written(&mut self, name: &str, value: &str) {
        let register = self.registers.entry(name.to_owned()).or_default();
        register.possible = vec![value.to_owned()];
    }

    /// What a write may replace, where that is known.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        match self.registers.get(name).map_or(&[][..], |register| &register.possible) {
            [value] => Some(value.clone()),
            _ => None,
        }
    }

    /// The highest number that may be in force.
    pub(crate) fn highest(&self, name: &str) -> u64 {
        let possible = self.registers.get(name).map_or(&[][..], |register| &register.possible);
        possible.iter().filter_map(|value| value.parse().ok()).max().unwrap_or_default()
    }

    /// What is in force after a start.
    pub(crate) fn check_value(&mut self, name: &str, value: &str) {
        let possible = self.registers.entry(name.to_owned()).or_default().possible.clone();
        if possible.len() > 1 {
            let kept = possible.last().is_some_and(|last| last == value);
            *(if kept { &mut self.figures.unanswered_kept } else { &mut self.figures.unanswered_lost }) += 1;
        }
        // Of what was never written nothing is known.
        if !possible.is_empty() && !possible.iter().any(|possible| possible == value) {
            self.violation(format!("{name} is {value:?}, and can be one of {possible:?}"));
        }
        self.written(name, value);
    }

    // ---- Probes --------------------------------------------------------------------------------------------------------

    /// A probe was granted.
    pub(crate) fn grant(&mut self, probe: Probe, probes_max: u32) {
        let now = Instant::now();
        self.probes.retain(|known| known.leased_until + Duration::from_secs(5) > now);
        let is_out = |other: &&Probe| {
            (&other.breaker, other.generation) == (&probe.breaker, probe.generation)
                && other.permit != probe.permit
                && !other.reporting
                && other.leased_until > now
        };
        let out: Vec<Probe> = self.probes.iter().filter(is_out).cloned().collect();
        if out.len() as u32 >= probes_max {
            self.violation(format!("{probes_max} probes may be out; {probe:?} was granted beside {out:#?}"));
        }
        self.figures.probes += 1;
        if !self.probes.iter().any(|known| known.permit == probe.permit) {
            self.probes.push(probe);
        }
    }

    /// A probe was asked for again in a later life.
    pub(crate) fn asked_again(&mut self, is_same: bool) {
        self.figures.asked_again += 1;
        self.figures.same_answer += u64::from(is_same);
    }

    /// A probe is about to be reported. `None`: another task reports it.
    pub(crate) fn report(&mut self, permit: &str) -> Option<Probe> {
        let probe = self.probes.iter_mut().find(|probe| probe.permit == permit && !probe.reporting)?;
        probe.reporting = true;
        Some(probe.clone())
    }

    // ---- Batches -------------------------------------------------------------------------------------------------------

    /// Number of the next batch for a breaker, which is about to be sent.
    pub(crate) fn send_batch(&mut self, breaker: &str, calls: u64) -> (u64, u64) {
        let batches = self.batches.entry(breaker.to_owned()).or_default();
        batches.last += 1;
        batches.sent.push((batches.last, calls, None));
        self.figures.batches += 1;
        (batches.last, batches.generation)
    }

    /// A batch was answered.
    pub(crate) fn batch_answered(&mut self, breaker: &str, sequence: u64) {
        let batches = self.batches.entry(breaker.to_owned()).or_default();
        if let Some(sent) = batches.sent.iter_mut().find(|sent| sent.0 == sequence) {
            sent.2 = Some(Instant::now());
        }
    }

    /// Batches to be sent again: sequence, calls.
    pub(crate) fn batches_before(&self, breaker: &str) -> Vec<(u64, u64)> {
        let batches = self.batches.get(breaker);
        batches.map_or_else(Vec::new, |batches| batches.sent.iter().map(|sent| (sent.0, sent.1)).collect())
    }

    /// A breaker's count after a start. The least it must be is what was answered well before the kill.
    pub(crate) fn check_count(&mut self, breaker: &str, count: u64, killed: Option<Instant>) {
        let batches = self.batches.entry(breaker.to_owned()).or_default();
        let early = |at: &Option<Instant>| killed.zip(*at).is_some_and(|(killed, at)| at + LOSS_MAX + SLACK < killed);
        let had_to = batches.sent.iter().filter(|sent| early(&sent.2)).map(|sent| sent.1).sum::<u64>();
        let (least, most) =
            (batches.floor + had_to, batches.base + batches.sent.iter().map(|sent| sent.1).sum::<u64>());
        batches.floor = count;
        batches.sent.iter_mut().for_each(|sent| sent.2 = None);
        self.figures.calls_kept += had_to;
        if !(least..=most).contains(&count) {
            self.violation(format!("{breaker} has counted {count}, and has to have {least} to {most}"));
        }
    }

    /// What was sent before the kill was sent again: those after `marked` were counted, and had not been before.
    pub(crate) fn check_resent(&mut self, breaker: &str, before: u64, marked: u64, after: u64) {
        let batches = self.batches.entry(breaker.to_owned()).or_default();
        let calls = |is_marked: bool| -> u64 {
            batches.sent.iter().filter(|sent| (sent.0 <= marked) == is_marked).map(|sent| sent.1).sum()
        };
        let (most, again) = (batches.base + calls(true), calls(false));
        batches.base = before;
        batches.floor = before;
        batches.sent.retain(|sent| sent.0 > marked);
        batches.sent.iter_mut().for_each(|sent| sent.2 = Some(Instant::now()));
        self.figures.calls_lost += most.saturating_sub(before);
        self.figures.calls_again += again;
        // Less: batches that are duplicates now were never counted. More: one would count again when it is sent again.
        if before != most {
            self.violation(format!("{breaker} has counted {before}, and what is marked as counted makes {most}"));
        }
        if after != before + again {
            self.violation(format!("{breaker} had {before}, was sent {again} again, and has {after}"));
        }
    }

    /// The generation that batches for a breaker are sent under.
    pub(crate) fn next_revision(&mut self) -> u64 {
        self.revision += 1;
        1 + self.revision
    }

    pub(crate) fn begin_batches(&mut self, breaker: &str, generation: u64) {
        self.batches.entry(breaker.to_owned()).or_default().generation = generation;
    }
}

/// What of an event is the same whenever it is told.
fn lasting(event: &Event) -> Event {
    let mut event = event.clone();
    if let Some(status) = &mut event.status {
        status.state_remaining = None;
        status.caller = None;
    }
    event
}

/// An instant in nanoseconds.
pub(crate) fn nanos(instant: prost_types::Timestamp) -> i64 {
    instant.seconds * 1_000_000_000 + i64::from(instant.nanos)
}
