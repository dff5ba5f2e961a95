//! What goes wrong, for whom, and from when to when.

use std::time::Duration;

use fuseboard::breaker::{CallerId, Timestamp};

use crate::traffic::{Random, unit};

/// How long a flapping caller is sick, and then well.
const FLAP: Duration = Duration::from_secs(5);
/// How many names a caller that goes by many has.
const NAMES: u128 = 16;
/// How long a healthy fleet takes to redeploy.
const REDEPLOY: Duration = Duration::from_secs(60);
/// Longest time that a call takes where nothing is wrong; the shortest is a tenth.
const CALL: Duration = Duration::from_millis(50);
/// How long a call takes that the fault makes fail at once, and one that it makes time out. Failures at rest take as
/// long as any call.
const FAST: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_secs(1);

/// Everything that goes wrong in a run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The dependency is down.
    Down,
    /// Half of all calls fail.
    Half,
    /// 30 % of all calls fail.
    Third,
    /// Every call of the busiest caller fails, and no other.
    SickBusiest,
    /// Every call of the quietest caller fails.
    SickQuietest,
    /// Two callers are sick: as many as the quorum asks for, so outside the promise.
    SickTwo,
    /// The path of three callers in ten is cut.
    Zone,
    /// Three callers in ten restart with a new name, and from then on all their calls fail.
    BadDeploy,
    /// The busiest caller is sick for 5 s and well for 5 s, in turns.
    Flapping,
    /// The busiest caller is sick and restarts under a new name, each 10 s.
    SickRenamed,
    /// The same, each 60 s.
    SickRenamedSlowly,
    /// Nothing fails: all callers get new names within a minute.
    Redeploy,
    /// All callers got new names in the minute before the dependency went down.
    DownRedeployed,
    /// The dependency is down, and the busiest caller succeeds from a cache.
    Cached,
    /// The same, right after a redeploy.
    CachedRedeployed,
    /// Every call of all instances of one service fails, and no other.
    SickService,
    /// The busiest caller is sick and goes by many names at once.
    SickNames,
}

/// How failures come: at once, or by giving up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Manner {
    Fast,
    Slow,
}

/// A fault at its time in a fleet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) fault: Fault,
    pub(crate) manner: Manner,
    pub(crate) callers: usize,
    /// Services that the callers are instances of, in turns.
    pub(crate) services: usize,
    /// Share of the calls that fail where nothing is wrong.
    pub(crate) rest: f64,
    pub(crate) begin: Timestamp,
    pub(crate) end: Timestamp,
}

/// How one call goes, if it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    pub(crate) end: Timestamp,
    pub(crate) fails: bool,
}

impl Fault {
    pub(crate) const ALL: [Self; 16] = [
        Self::None,
        Self::Redeploy,
        Self::Down,
        Self::DownRedeployed,
        Self::Half,
        Self::Third,
        Self::SickBusiest,
        Self::SickQuietest,
        Self::Flapping,
        Self::SickRenamed,
        Self::SickRenamedSlowly,
        Self::SickTwo,
        Self::Zone,
        Self::BadDeploy,
        Self::Cached,
        Self::CachedRedeployed,
    ];

    /// What tells voters that are services from voters that are instances.
    pub(crate) const OF_SERVICES: [Self; 15] = [
        Self::None,
        Self::Redeploy,
        Self::SickBusiest,
        Self::SickQuietest,
        Self::SickService,
        Self::SickNames,
        Self::SickRenamed,
        Self::SickRenamedSlowly,
        Self::SickTwo,
        Self::Zone,
        Self::BadDeploy,
        Self::Down,
        Self::DownRedeployed,
        Self::Half,
        Self::Cached,
    ];

    /// The faults of one caller: what the promise is about.
    pub(crate) const OF_ONE: [Self; 3] = [Self::SickBusiest, Self::SickQuietest, Self::Flapping];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "nothing",
            Self::Redeploy => "a healthy fleet redeploys",
            Self::Down => "dependency down",
            Self::DownRedeployed => "the same, after a redeploy",
            Self::Half => "50 % of the calls fail",
            Self::Third => "30 % of the calls fail",
            Self::SickBusiest => "the busiest caller sick",
            Self::SickQuietest => "the quietest caller sick",
            Self::Flapping => "the busiest caller flaps",
            Self::SickRenamed => "sick, a new name each 10 s",
            Self::SickRenamedSlowly => "sick, a new name each 60 s",
            Self::SickTwo => "two callers sick",
            Self::Zone => "a zone cut off",
            Self::BadDeploy => "a deploy breaks 30 % of them",
            Self::Cached => "down, the busiest has a cache",
            Self::CachedRedeployed => "the same, after a redeploy",
            Self::SickService => "all instances of one service sick",
            Self::SickNames => "sick, under 16 names at once",
        }
    }

    /// Below these, it is the same as another fault.
    pub(crate) const fn callers_min(self) -> usize {
        match self {
            Self::None | Self::Down | Self::Half | Self::Third | Self::Flapping | Self::Redeploy => 1,
            Self::SickTwo => 3,
            Self::Zone | Self::BadDeploy => 5,
            _ => 2,
        }
    }

    /// Whether the dependency itself is ill, so that its breaker should open for all.
    pub(crate) const fn is_of_the_dependency(self) -> bool {
        matches!(
            self,
            Self::Down | Self::DownRedeployed | Self::Half | Self::Third | Self::Cached | Self::CachedRedeployed
        )
    }

    /// How often the sick caller restarts.
    const fn restarts_each(self) -> Option<Duration> {
        match self {
            Self::SickRenamed => Some(Duration::from_secs(10)),
            Self::SickRenamedSlowly => Some(Duration::from_secs(60)),
            _ => None,
        }
    }
}

impl Manner {
    pub(crate) const fn by(seed: u64) -> Self {
        if seed.is_multiple_of(2) { Self::Fast } else { Self::Slow }
    }
}

impl World {
    /// Whether calls of this caller ever fail by the fault.
    pub(crate) const fn meets(&self, caller: usize) -> bool {
        match self.fault {
            Fault::None | Fault::Redeploy => false,
            Fault::Down | Fault::DownRedeployed | Fault::Half | Fault::Third => true,
            Fault::SickBusiest | Fault::Flapping | Fault::SickRenamed | Fault::SickRenamedSlowly | Fault::SickNames => {
                caller == 0
            }
            Fault::SickQuietest => caller + 1 == self.callers,
            Fault::SickTwo => caller < 2,
            Fault::SickService => self.service(caller) == 0,
            Fault::Zone | Fault::BadDeploy => matches!(caller % 10, 1 | 4 | 7),
            Fault::Cached | Fault::CachedRedeployed => caller != 0,
        }
    }

    /// The service that a caller is an instance of.
    pub(crate) const fn service(&self, caller: usize) -> usize {
        caller % self.services
    }

    /// The share of a caller's calls that fail at an instant.
    fn failing(&self, caller: usize, at: Timestamp) -> f64 {
        if at < self.begin || at >= self.end || !self.meets(caller) {
            return self.rest;
        }
        match self.fault {
            Fault::Half => 0.5,
            Fault::Third => 0.3,
            Fault::Flapping if (at.since(self.begin).as_nanos() / FLAP.as_nanos()) % 2 == 1 => self.rest,
            _ => 1.0,
        }
    }

    /// How a call goes that begins now. One that is under way as its fault begins fails with it.
    pub(crate) fn fate(&self, caller: usize, at: Timestamp, draw: u64) -> Fate {
        let mut random = Random::new(draw);
        let luck = random.unit();
        let natural = at.after(CALL.mul_f64(0.9_f64.mul_add(random.unit(), 0.1)));
        if luck >= self.rest && luck < self.failing(caller, at) {
            let length = if self.manner == Manner::Fast { FAST } else { SLOW };
            return Fate { end: at.after(length), fails: true };
        }
        Fate { end: natural, fails: luck < self.failing(caller, natural) }
    }

    /// The name that a caller goes by at an instant.
    pub(crate) fn name(&self, caller: usize, at: Timestamp) -> CallerId {
        let life = match self.fault {
            Fault::BadDeploy => u128::from(at >= self.begin && self.meets(caller)),
            Fault::Redeploy if at >= self.begin.after(moment_of_redeploy(caller)) => 1,
            Fault::DownRedeployed | Fault::CachedRedeployed
                if at >= self.begin.before(REDEPLOY).after(moment_of_redeploy(caller)) =>
            {
                1
            }
            Fault::SickNames if at >= self.begin && at < self.end && self.meets(caller) => {
                1 + u128::from(at.as_nanos()) % NAMES
            }
            fault if at >= self.begin && at < self.end && self.meets(caller) => {
                fault.restarts_each().map_or(0, |each| 1 + at.since(self.begin).as_nanos() / each.as_nanos())
            }
            _ => 0,
        };
        let number = u64::try_from(caller).expect("few callers") << 32 | u64::try_from(life).expect("few restarts");
        CallerId(Random::new(number).next().max(1))
    }
}

fn moment_of_redeploy(caller: usize) -> Duration {
    let number = u64::try_from(caller).expect("few callers");
    REDEPLOY.mul_f64(unit(Random::new(number).next()))
}
