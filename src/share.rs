//! Fair shares: one mechanism for every bound that several clients use together.
//!
//! A [`Pool`] is a bound (connections, calls, bytes) and counts how much of it each [`Holder`] uses. A holder is an
//! identity, or an IP address while authentication is off. The rule is the dynamic threshold of Choudhury and Hahne (1998):
//! a holder may use at most the fair share (by default 75 %) of what the other holders leave of the bound. One holder alone
//! gets 75 % of it, two greedy ones 3/7 each, and `n` of them 3/(3n + 1), so a part of the bound always stays usable by somebody
//! new. A holder that uses nothing may have one unit while there is any room.
//!
//! An amount is given back by dropping its [`Use`], or by [`Pool::remove`] where it is kept elsewhere. A pool remembers only
//! holders that use some of it, so it has at most as many entries as units in use.

use std::{
    cmp::Ordering,
    collections::HashMap,
    fmt,
    hash::{BuildHasher as _, BuildHasherDefault, Hash, Hasher, RandomState},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

pub use crate::limit::Limit;
use crate::limit::Remedy;

/// Parts of a pool that are locked apart. A power of two.
const SHARDS: usize = 16;
/// A client that has one IPv6 address usually has all of its /64.
const IPV6_PREFIX: u128 = !0 << 64;

// ---- Holders -------------------------------------------------------------------------------------------------------

/// Who uses a part of a bound. Clones are cheap.
#[derive(Clone)]
pub struct Holder {
    who: Who,
    /// Computed once, since a holder is looked up in several pools for each call.
    hash: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Who {
    Server,
    Identity(Arc<str>),
    Address(IpAddr),
}

impl Holder {
    /// The holder of an identity, by its name.
    #[must_use]
    pub fn identity(name: Arc<str>) -> Self {
        Self::new(Who::Identity(name))
    }

    /// The holder of an address: IPv4 addresses are taken alone, IPv6 addresses by their /64.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        Self::new(Who::Address(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) if address.is_loopback() => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_PREFIX).into(),
        }))
    }

    /// Whether it is an identity.
    #[must_use]
    pub const fn is_identity(&self) -> bool {
        matches!(self.who, Who::Identity(_))
    }

    /// The server itself: for what no client asked for.
    #[must_use]
    pub fn server() -> Self {
        Self::new(Who::Server)
    }

    fn new(who: Who) -> Self {
        // Keyed at random: a client chooses its address.
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let hash = KEY.hash_one(&who);
        Self { who, hash }
    }
}

impl PartialEq for Holder {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.who == other.who
    }
}

impl Eq for Holder {}

impl PartialOrd for Holder {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Holder {
    fn cmp(&self, other: &Self) -> Ordering {
        self.who.cmp(&other.who)
    }
}

impl Hash for Holder {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// `identity:NAME`, `address:IP`, `address:PREFIX/64` or `server`.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.who {
            Who::Server => f.write_str("server"),
            Who::Identity(name) => write!(f, "identity:{name}"),
            Who::Address(IpAddr::V6(prefix)) if !prefix.is_loopback() => write!(f, "address:{prefix}/64"),
            Who::Address(address) => write!(f, "address:{address}"),
        }
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes the hash that a holder brings.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

// ---- Limits --------------------------------------------------------------------------------------------------------

/// The largest part of what the others leave of a bound that one holder may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FairShare {
    percent: u32,
}

impl FairShare {
    /// No shares: whoever comes first may use all of a bound.
    pub const OFF: Self = Self { percent: 100 };

    /// A share in percent, 1 to 100; what is outside is taken as the nearest.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self {
            percent: match percent {
                0 => 1,
                1..=100 => percent,
                _ => 100,
            },
        }
    }

    /// The share of `left`, rounded up. At least one unit.
    fn of(self, left: u64) -> u64 {
        let share = (u128::from(left) * u128::from(self.percent)).div_ceil(100);
        // Not above `left`, so it fits.
        u64::try_from(share).unwrap_or(left).max(1)
    }
}

impl Default for FairShare {
    fn default() -> Self {
        Self::percent(75)
    }
}

/// A holder gets no more of a bound.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// The limit.
    pub limit: Limit,
    /// The bound, of all holders together.
    pub max: u64,
    /// Who asked.
    pub holder: Holder,
    /// What it uses.
    pub used: u64,
    /// The most that it may use while the others use what they do.
    pub share: u64,
    /// Who uses the most, and how much. Only for those who may see others: see [`Refused::telling`].
    pub biggest: Option<(Holder, u64)>,
}

impl Refused {
    /// The same, naming the biggest user of the pool, for an operator.
    #[must_use]
    pub fn telling(mut self: Box<Self>, pool: &Pool) -> Box<Self> {
        self.biggest = pool.biggest(1).pop();
        self
    }

    /// Whether the holder has its share, and others could still get some.
    #[must_use]
    pub const fn is_share_used_up(&self) -> bool {
        self.used > 0 && self.used >= self.share
    }
}

/// What is refused, why, and what to do. It names nobody but the holder, unless it was told to.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit: Limit { what, advice, settings, .. }, max, holder, used, share, biggest } = self;
        write!(f, "the limit of {max} {what} is reached: {holder} uses {used}, and its fair share is {share} now")?;
        if let Some((biggest, used)) = biggest {
            write!(f, " ({biggest} uses the most, {used})")?;
        }
        write!(f, "; {}", Remedy(advice, settings))
    }
}

impl std::error::Error for Refused {}

// ---- Pools ---------------------------------------------------------------------------------------------------------

type Shard = Mutex<HashMap<Holder, u64, BuildHasherDefault<Hashed>>>;

/// A bound, and how much of it each holder uses.
pub struct Pool {
    limit: Limit,
    max: u64,
    fair_share: FairShare,
    used: AtomicU64,
    refused: AtomicU64,
    shards: [Shard; SHARDS],
}

impl Pool {
    /// One that nobody uses yet.
    #[must_use]
    pub fn new(limit: Limit, max: u64, fair_share: FairShare) -> Self {
        let (used, refused) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { limit, max, fair_share, used, refused, shards: Default::default() }
    }

    /// What it bounds.
    #[must_use]
    pub const fn limit(&self) -> &Limit {
        &self.limit
    }

    /// The bound.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// How much is in use. More than the bound only after [`Pool::add_anyway`].
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// How often somebody was refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// How much a holder uses.
    #[must_use]
    pub fn used_by(&self, holder: &Holder) -> u64 {
        self.shard(holder).lock().get(holder).copied().unwrap_or_default()
    }

    /// Whether a holder uses more than its share, as others came after it: what makes room for them takes from it first.
    #[must_use]
    pub fn is_above_share(&self, holder: &Holder) -> bool {
        let used = self.used_by(holder);
        used > self.share(self.used(), used)
    }

    /// The holders that use the most, the biggest first. It looks at every holder: for operators, not for each call.
    #[must_use]
    pub fn biggest(&self, count: usize) -> Vec<(Holder, u64)> {
        let mut biggest: Vec<(Holder, u64)> = Vec::new();
        for shard in &self.shards {
            biggest.extend(shard.lock().iter().map(|(holder, used)| (holder.clone(), *used)));
            biggest.sort_unstable_by(|(a, used_a), (b, used_b)| used_b.cmp(used_a).then_with(|| a.who.cmp(&b.who)));
            biggest.truncate(count);
        }
        biggest
    }

    /// Counts `amount` more for a holder, until [`Pool::remove`].
    ///
    /// # Errors
    /// The bound is reached, or the holder has its share.
    pub fn add(&self, holder: &Holder, amount: u64) -> Result<(), Box<Refused>> {
        let mut shard = self.shard(holder).lock();
        let held = shard.get_mut(holder);
        let used = held.as_deref().copied().unwrap_or_default();
        let room = |total: u64| {
            let after = total.checked_add(amount).filter(|after| *after <= self.max)?;
            (used == 0 || used.saturating_add(amount) <= self.share(total, used)).then_some(after)
        };
        if let Err(total) = self.used.fetch_update(Relaxed, Relaxed, room) {
            drop(shard);
            return Err(self.refuse(holder, used, total));
        }
        match held {
            Some(held) => *held += amount,
            None if amount > 0 => _ = shard.insert(holder.clone(), amount),
            None => {}
        }
        Ok(())
    }

    /// Counts `amount` more for a holder in any case: for what is already there, as after a restart.
    pub fn add_anyway(&self, holder: &Holder, amount: u64) {
        if amount == 0 {
            return;
        }
        *self.shard(holder).lock().entry(holder.clone()).or_default() += amount;
        self.used.fetch_add(amount, Relaxed);
    }

    /// Gives back what a holder was counted for.
    pub fn remove(&self, holder: &Holder, amount: u64) {
        let mut shard = self.shard(holder).lock();
        let Some(held) = shard.get_mut(holder) else { return };
        debug_assert!(*held >= amount, "{holder} gives back {amount} of {held} {}", self.limit.what);
        let amount = amount.min(*held);
        *held -= amount;
        if *held == 0 {
            shard.remove(holder);
        }
        self.used.fetch_sub(amount, Relaxed);
    }

    /// Takes `amount` for a holder, until the use is dropped.
    ///
    /// # Errors
    /// As [`Pool::add`].
    pub fn take(self: &Arc<Self>, holder: &Holder, amount: u64) -> Result<Use, Box<Refused>> {
        self.add(holder, amount)?;
        Ok(Use { pool: Arc::clone(self), holder: holder.clone(), amount })
    }

    /// Takes `amount` for a holder in any case, until the use is dropped.
    #[must_use]
    pub fn take_anyway(self: &Arc<Self>, holder: &Holder, amount: u64) -> Use {
        self.add_anyway(holder, amount);
        Use { pool: Arc::clone(self), holder: holder.clone(), amount }
    }

    /// The most that a holder may use that uses `used` of `total`.
    fn share(&self, total: u64, used: u64) -> u64 {
        let others = total.saturating_sub(used);
        self.fair_share.of(self.max.saturating_sub(others))
    }

    #[cold]
    fn refuse(&self, holder: &Holder, used: u64, total: u64) -> Box<Refused> {
        self.refused.fetch_add(1, Relaxed);
        let (limit, max, share) = (self.limit, self.max, self.share(total, used));
        Box::new(Refused { limit, max, holder: holder.clone(), used, share, biggest: None })
    }

    const fn shard(&self, holder: &Holder) -> &Shard {
        // The table inside takes the lowest and the highest bits.
        &self.shards[(holder.hash >> 32) as usize % SHARDS]
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (limit, used) = (self.limit.name, self.used());
        f.debug_struct("Pool")
            .field("limit", &limit)
            .field("used", &used)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

/// A part of a bound in use, given back on drop.
#[derive(Debug)]
pub struct Use {
    pool: Arc<Pool>,
    holder: Holder,
    amount: u64,
}

impl Use {
    /// How much it is.
    #[must_use]
    pub const fn amount(&self) -> u64 {
        self.amount
    }

    /// Whose it is.
    #[must_use]
    pub const fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Takes more, or gives some back.
    ///
    /// # Errors
    /// As [`Pool::add`]; then it stays as it was.
    pub fn resize(&mut self, amount: u64) -> Result<(), Box<Refused>> {
        if amount > self.amount {
            self.pool.add(&self.holder, amount - self.amount)?;
        } else {
            self.pool.remove(&self.holder, self.amount - amount);
        }
        self.amount = amount;
        Ok(())
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        self.pool.remove(&self.holder, self.amount);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    #[test]
    fn holders_have_an_order() {
        let [a, b] = ["a", "b"].map(|name| Holder::identity(name.into()));
        assert!(a < b && a <= a.clone() && Holder::server() < a);
        assert_eq!(b.partial_cmp(&a), Some(b.cmp(&a)));
    }

    use proptest::prelude::*;

    use super::*;
    use crate::limit::CALLS;

    fn pool(max: u64) -> Arc<Pool> {
        Arc::new(Pool::new(CALLS, max, FairShare::default()))
    }

    fn holder(number: u8) -> Holder {
        Holder::address(IpAddr::from([10, 0, 0, number]))
    }

    /// Takes one unit after the other, as long as it gets any.
    fn all_that_it_gets(pool: &Pool, holder: &Holder) -> u64 {
        (0..).take_while(|_| pool.add(holder, 1).is_ok()).count() as u64
    }

    #[test]
    fn one_holder_gets_three_quarters_and_the_rest_is_the_others() {
        let pool = pool(1_000);
        assert_eq!(all_that_it_gets(&pool, &holder(1)), 750);
        assert_eq!(all_that_it_gets(&pool, &holder(2)), 188);
        assert_eq!(all_that_it_gets(&pool, &holder(3)), 47);
        let refused = pool.add(&holder(1), 1).unwrap_err();
        assert_eq!((refused.used, refused.share, refused.max), (750, 574, 1_000));
        assert!(refused.is_share_used_up() && pool.is_above_share(&holder(1)) && !pool.is_above_share(&holder(3)));
        assert_eq!(pool.refused(), 4);
    }

    #[test]
    fn greedy_holders_that_come_and_go_end_with_equal_shares() {
        for (count, share) in [(1, 750), (2, 428), (3, 300), (9, 107)] {
            let pool = pool(1_000);
            for _ in 0..2_000 {
                for number in 0..count {
                    // Each gives back one and takes what it can.
                    pool.remove(&holder(number), u64::from(pool.used_by(&holder(number)) > 0));
                    all_that_it_gets(&pool, &holder(number));
                }
            }
            for number in 0..count {
                let used = pool.used_by(&holder(number));
                assert!(used.abs_diff(share) <= 2, "{count} holders: {used} and not {share}");
            }
        }
    }

    #[test]
    fn a_small_bound_has_a_place_for_everybody_while_there_is_room() {
        let pool = pool(2);
        pool.add(&holder(1), 1).unwrap();
        pool.add(&holder(2), 1).unwrap();
        let refused = pool.add(&holder(3), 1).unwrap_err();
        assert_eq!((refused.used, refused.is_share_used_up()), (0, false));
    }

    #[test]
    fn without_shares_the_first_may_have_all() {
        let pool = Pool::new(CALLS, 7, FairShare::OFF);
        assert_eq!(all_that_it_gets(&pool, &holder(1)), 7);
    }

    #[test]
    fn a_use_is_given_back_on_drop_and_grows_within_the_share() {
        let pool = pool(100);
        let mut held = pool.take(&holder(1), 10).unwrap();
        held.resize(75).unwrap();
        assert!(held.resize(76).is_err());
        assert_eq!((held.amount(), pool.used()), (75, 75));
        held.resize(5).unwrap();
        assert_eq!((pool.used_by(held.holder()), pool.used()), (5, 5));
        drop(held);
        assert_eq!((pool.used(), pool.biggest(5).len()), (0, 0), "a holder that uses nothing is forgotten");
    }

    #[test]
    fn what_is_already_there_counts_above_the_bound() {
        let pool = pool(10);
        pool.add_anyway(&holder(1), 25);
        assert_eq!(pool.used(), 25);
        assert!(pool.add(&holder(2), 1).is_err());
        pool.remove(&holder(1), 20);
        assert!(pool.add(&holder(2), 1).is_ok());
    }

    #[test]
    fn the_biggest_come_first() {
        let pool = pool(100);
        for (number, used) in [(1, 5), (2, 30), (3, 12), (4, 1)] {
            pool.add(&holder(number), used).unwrap();
        }
        assert_eq!(pool.biggest(2), [(holder(2), 30), (holder(3), 12)]);
        assert_eq!(pool.biggest(9).len(), 4);
    }

    #[test]
    fn a_refusal_names_its_holder_and_nobody_else_unless_asked() {
        let pool = pool(4);
        pool.add(&holder(1), 3).unwrap();
        pool.add(&holder(2), 1).unwrap();
        let refused = pool.add(&holder(2), 1).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the limit of 4 calls at a time is reached: address:10.0.0.2 uses 1, and its fair share is 1 now; send fewer \
             at a time, or use a session, or raise limits.max_in_flight"
        );
        assert!(refused.telling(&pool).to_string().contains("(address:10.0.0.1 uses the most, 3)"));
    }

    #[test]
    fn a_holder_is_an_identity_or_an_address_and_ipv6_goes_by_its_64() {
        let address = |text: &str| Holder::address(text.parse().unwrap());
        assert_eq!(address("::ffff:10.0.0.1"), address("10.0.0.1"));
        assert_eq!(address("2001:db8:1:2::5"), address("2001:db8:1:2:ffff::"));
        assert_ne!(address("2001:db8:1:2::5"), address("2001:db8:1:3::5"));
        assert_ne!(Holder::identity("10.0.0.1".into()), address("10.0.0.1"));
        assert_eq!(address("2001:db8:1:2::5").to_string(), "address:2001:db8:1:2::/64");
        assert_eq!(address("::1").to_string(), "address:::1");
        assert_eq!(Holder::identity("shop".into()).to_string(), "identity:shop");
    }

    #[test]
    fn threads_that_take_and_give_back_lose_nothing() {
        let pool = pool(50);
        thread::scope(|scope| {
            for number in 0..8 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..5_000 {
                        let taken = pool.take(&holder(number % 3), 1 + round % 5);
                        assert!(pool.used() <= 50);
                        drop(taken);
                    }
                });
            }
        });
        assert_eq!((pool.used(), pool.biggest(9).len()), (0, 0));
    }

    proptest! {
        /// Against a list of what was taken: the bound and the shares hold, and a newcomer gets in while there is room.
        #[test]
        fn whatever_is_taken_and_given_back_the_rule_holds(
            max in 1_u64..200,
            percent in 1_u32..=100,
            steps in proptest::collection::vec((0_u8..6, 1_u64..40, any::<bool>()), 1..200),
        ) {
            let pool = Pool::new(CALLS, max, FairShare::percent(percent));
            let mut used = [0_u64; 6];
            for (number, amount, gives_back) in steps {
                let index = usize::from(number);
                if gives_back {
                    let amount = amount.min(used[index]);
                    pool.remove(&holder(number), amount);
                    used[index] -= amount;
                    continue;
                }
                let total: u64 = used.iter().sum();
                let left = max - (total - used[index]);
                let wanted = used[index] + amount;
                let is_first = used[index] == 0;
                let fits = wanted <= left && (is_first || wanted * 100 < left * u64::from(percent) + 100);
                prop_assert_eq!(pool.add(&holder(number), amount).is_ok(), fits);
                used[index] += if fits { amount } else { 0 };
                prop_assert_eq!(pool.used(), used.iter().sum::<u64>());
                prop_assert_eq!(pool.used_by(&holder(number)), used[index]);
                prop_assert!(pool.used() <= max);
            }
            let holding = used.iter().filter(|used| **used > 0).count();
            prop_assert_eq!(pool.biggest(9).len(), holding);
        }
    }
}
