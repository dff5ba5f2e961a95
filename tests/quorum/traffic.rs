//! Who calls when: a trace is drawn once, and every arrangement of breakers is run on it.

use std::time::Duration;

use fuseboard::breaker::Timestamp;

/// When every trace begins. Not zero, so that what is said to be earlier still is.
pub(crate) const START: Timestamp = Timestamp::from_nanos(1_000_000_000_000_000);

/// How the calls are spread over the callers. Caller 0 is always the busiest and the last one the quietest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Traffic {
    /// All alike.
    Even,
    /// The second makes half as many calls as the first, the third a third of them, and so on.
    Skewed,
    /// The first makes 90 % of all calls.
    Hog,
}

/// One call that somebody wants to make.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at: Timestamp,
    pub(crate) caller: usize,
    /// What chance has to say about the call: how long it takes and whether it fails. The same in every arrangement.
    pub(crate) draw: u64,
}

impl Traffic {
    pub(crate) const ALL: [Self; 3] = [Self::Even, Self::Skewed, Self::Hog];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Even => "even",
            Self::Skewed => "skewed",
            Self::Hog => "one makes 90 %",
        }
    }

    /// Below these, it is the same as a simpler one.
    pub(crate) const fn callers_min(self) -> usize {
        match self {
            Self::Even => 1,
            Self::Skewed => 3,
            Self::Hog => 2,
        }
    }

    fn weight(self, caller: usize, callers: usize) -> f64 {
        match self {
            Self::Even => 1.0,
            Self::Skewed => 1.0 / float(caller + 1),
            Self::Hog if caller == 0 => 0.9,
            Self::Hog => 0.1 / float(callers - 1),
        }
    }

    /// The calls of so many callers, who make `rate` calls a second each on average, at random instants.
    pub(crate) fn trace(self, callers: usize, rate: f64, length: Duration, seed: u64) -> Vec<Arrival> {
        let mut sum = 0.0;
        let sums: Vec<f64> = (0..callers)
            .map(|caller| {
                sum += self.weight(caller, callers);
                sum
            })
            .collect();
        let mut random = Random::new(seed);
        let mut trace = Vec::new();
        let (mut at, end) = (START, START.after(length));
        loop {
            let pause = -(1.0 - random.unit()).ln() / (rate * float(callers));
            at = at.after(Duration::from_secs_f64(pause));
            if at >= end {
                return trace;
            }
            let place = random.unit() * sum;
            let caller = sums.partition_point(|upto| *upto <= place).min(callers - 1);
            trace.push(Arrival { at, caller, draw: random.next() });
        }
    }
}

/// Splitmix64 (Steele, Lea and Flood, 2014): the same numbers on every machine and in every year.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn unit(&mut self) -> f64 {
        unit(self.next())
    }
}

/// A number in [0, 1) from the upper bits of a random one.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
pub(crate) fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1_u64 << 53) as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub(crate) const fn float(count: usize) -> f64 {
    count as f64
}
