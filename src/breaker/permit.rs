//! Permits, and the ledger that lets each be reported once.
//!
//! Every permit of a generation gets a serial in a slice of the ledger, and the slice keeps one bit for it: reported or
//! not. A slice holds permits whose leases end close together and goes when the last of them has ended, so memory
//! follows the rate of calls within a lease, not the calls in flight, and stops at a bound: past it the oldest slice is
//! given up, and what is reported for it later is stale. It is never counted twice, because a slice's id never returns.
//!
//! Probes have a serial like any other permit and are also listed one by one ([`Probe`]), because their number is
//! limited, their leases end exactly, and they must survive a restart.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use super::time::{Timestamp, nanos};

/// A lease is split into so many slices: how late an unreported permit may be noticed.
const SLICES_PER_LEASE: u64 = 16;
/// Most permits of a slice; then another is begun.
const SLICE_PERMITS_MAX: u32 = 1 << 18;
/// Most memory of one breaker's ledger, in bytes.
pub const LEDGER_BYTES_MAX: usize = 256 * 1024;

/// Names a caller: 0 is the one that gives no name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct CallerId(pub u64);

/// The service that a caller is an instance of: a hash of the part of its name before the first `/`. 0: that of callers without
/// a name, and of callers whose name could not be kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ServiceId(pub u64);

impl ServiceId {
    /// Of a caller from before a restart that has not called since. What it said counts for no service until it does.
    pub const UNKNOWN: Self = Self(u64::MAX);
}

impl From<CallerId> for ServiceId {
    /// A service of this one instance.
    fn from(caller: CallerId) -> Self {
        Self(caller.0)
    }
}

/// Names an Acquire over retries: 0 is one without a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct RequestId(pub u128);

/// A number, but for people its 32 hexadecimal digits.
impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&format_args!("{:032x}", self.0))
        } else {
            serializer.serialize_u128(self.0)
        }
    }
}

/// What it was written as.
impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u128::deserialize(deserializer).map(Self);
        }
        let digits = String::deserialize(deserializer)?;
        u128::from_str_radix(&digits, 16).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What a permit lets through.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PermitKind {
    /// A call of a closed breaker.
    Call,
    /// A call that decides over a half-open breaker.
    Probe,
    /// A call that decides over an isolated caller.
    CallerProbe,
    /// A call that only an override lets through. Its report moves nothing.
    Bypass,
}

/// Leave for one call. It ends with its lease.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub struct Permit {
    /// What it lets through.
    pub kind: PermitKind,
    /// The breaker's generation that it was issued in.
    pub generation: u64,
    /// The generation of the caller's scope. 0: it has never moved.
    pub caller_generation: u64,
    /// Slice of the ledger.
    pub slice: u64,
    /// Place in the slice.
    pub serial: u32,
    /// When its lease ends.
    pub expire: Timestamp,
    /// Who asked.
    pub caller: CallerId,
}

/// A probe that is out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Probe {
    /// Its permit.
    pub permit: Permit,
    /// The request it was granted to.
    pub request: RequestId,
}

/// What the ledger knows of a permit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    Open,
    Reported,
    Unknown,
}

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Ledger {
    /// In the order their leases end. A breaker that is called now and then has one, and it is in place.
    slices: SmallVec<[Slice; 1]>,
    last_id: u64,
    /// Memory of all slices' bits.
    bytes: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Slice {
    id: u64,
    /// Leases of this slice end at this instant or before.
    end: u64,
    /// The last lease's end.
    last_expire: Timestamp,
    issued: u32,
    reported: u32,
    /// Permits out by caller, where an unreported one counts; `reported` then has those of callers who moved.
    out: Vec<(CallerId, u32)>,
    /// One bit a permit, the first 128 in place.
    bits: SmallVec<[u64; 2]>,
}

impl Slice {
    /// Memory outside the ledger itself.
    fn bytes(&self) -> usize {
        let bits = if self.bits.spilled() { self.bits.capacity() * 8 } else { 0 };
        bits + self.out.capacity() * size_of::<(CallerId, u32)>()
    }

    fn out_mut(&mut self, caller: CallerId) -> Option<&mut u32> {
        self.out.iter_mut().find(|(who, _)| *who == caller).map(|(_, count)| count)
    }
}

/// Permits whose leases ended unreported.
#[derive(Debug, Default)]
pub(super) struct Expired {
    pub(super) count: u64,
    /// Whose they are, as far as that was noted.
    pub(super) by_caller: Vec<(CallerId, u64)>,
}

impl Ledger {
    /// A slice and serial for a permit whose lease ends at `expire`, within `bytes_max` of memory. `owner` is noted for
    /// the case that nobody reports it.
    pub(super) fn issue(
        &mut self,
        now: Timestamp,
        expire: Timestamp,
        lease: Duration,
        bytes_max: usize,
        owner: Option<CallerId>,
    ) -> (u64, u32) {
        let width = (nanos(lease) / SLICES_PER_LEASE).max(1);
        let end = (expire.as_nanos() / width).saturating_add(1).saturating_mul(width);
        let index = match self.slices.last() {
            Some(slice) if slice.end == end && slice.issued < SLICE_PERMITS_MAX => self.slices.len() - 1,
            _ => self.slice_for(now, end),
        };
        let slice = &mut self.slices[index];
        slice.last_expire = slice.last_expire.max(expire);
        let serial = slice.issued;
        slice.issued += 1;
        let issued = (slice.id, serial);
        let is_full = serial as usize / 64 == slice.bits.len();
        if !is_full && owner.is_none() {
            return issued;
        }
        let before = slice.bytes();
        if is_full {
            slice.bits.push(0);
        }
        if let Some(owner) = owner {
            match slice.out_mut(owner) {
                Some(count) => *count += 1,
                None => slice.out.push((owner, 1)),
            }
        }
        let after = slice.bytes();
        if after > before {
            self.bytes += after - before;
            self.keep_within(bytes_max);
        }
        issued
    }

    fn slice_for(&mut self, now: Timestamp, end: u64) -> usize {
        let place = self.slices.partition_point(|slice| slice.end <= end);
        if let Some(before) = place.checked_sub(1) {
            let slice = &self.slices[before];
            if slice.end == end && slice.issued < SLICE_PERMITS_MAX {
                return before;
            }
        }
        self.last_id = now.as_nanos().max(self.last_id + 1);
        let slice = Slice {
            id: self.last_id,
            end,
            last_expire: Timestamp::default(),
            issued: 0,
            reported: 0,
            out: Vec::new(),
            bits: SmallVec::new(),
        };
        self.slices.insert(place, slice);
        place
    }

    /// Gives up the oldest slices; the last one that is left starts anew when it alone is too large.
    fn keep_within(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max && !self.slices.is_empty() {
            self.bytes -= self.slices.remove(0).bytes();
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes the report of a permit; what the ledger knew of it before.
    pub(super) fn report(&mut self, slice: u64, serial: u32, owner: CallerId) -> Entry {
        let Some(index) = self.find(slice) else { return Entry::Unknown };
        let slice = &mut self.slices[index];
        if serial >= slice.issued {
            return Entry::Unknown;
        }
        let (word, bit) = (&mut slice.bits[serial as usize / 64], 1 << (serial % 64));
        if *word & bit != 0 {
            return Entry::Reported;
        }
        *word |= bit;
        slice.reported += 1;
        if let Some(count) = slice.out_mut(owner) {
            *count = count.saturating_sub(1);
        }
        Entry::Open
    }

    /// All permits that are out are this caller's: it was the only one. So they are noted like later ones.
    pub(super) fn assign(&mut self, owner: CallerId) {
        for slice in &mut self.slices {
            let before = slice.bytes();
            slice.out = vec![(owner, slice.issued.saturating_sub(slice.reported))];
            self.bytes = self.bytes + slice.bytes() - before;
        }
        self.keep_within(LEDGER_BYTES_MAX);
    }

    /// The permits of a caller whose scope has moved are stale and count for nothing when they expire.
    pub(super) fn disown(&mut self, caller: CallerId) {
        for slice in &mut self.slices {
            if let Some(count) = slice.out_mut(caller) {
                slice.reported += std::mem::take(count);
            }
        }
    }

    /// The newest first: most reports come soon.
    fn find(&self, id: u64) -> Option<usize> {
        self.slices.iter().rposition(|slice| slice.id == id)
    }

    /// When the first slice ends.
    pub(super) fn deadline(&self) -> Timestamp {
        self.slices.first().map_or(Timestamp::NEVER, |slice| slice.last_expire)
    }

    /// Drops slices whose leases have ended; the permits in them that nobody reported.
    pub(super) fn expire(&mut self, now: Timestamp) -> Expired {
        let mut expired = Expired::default();
        while self.slices.first().is_some_and(|slice| slice.last_expire <= now) {
            let slice = self.slices.remove(0);
            let mut unreported = slice.issued.saturating_sub(slice.reported);
            expired.count += u64::from(unreported);
            for (caller, count) in &slice.out {
                // Whoever reports a permit may have altered the caller on it.
                let count = unreported.min(*count);
                unreported -= count;
                expired.by_caller.push((*caller, count.into()));
            }
            self.bytes -= slice.bytes();
        }
        expired
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    /// Its sixteenth is a second.
    const LEASE: Duration = Duration::from_secs(16);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * SECOND)
    }

    fn issue(ledger: &mut Ledger, now: u64, expire: u64) -> (u64, u32) {
        ledger.issue(at(now), at(expire), LEASE, LEDGER_BYTES_MAX, None)
    }

    fn issue_to(ledger: &mut Ledger, caller: u64) -> (u64, u32) {
        ledger.issue(at(100), at(116), LEASE, LEDGER_BYTES_MAX, Some(CallerId(caller)))
    }

    fn by_caller(expired: &Expired) -> Vec<(u64, u64)> {
        expired.by_caller.iter().map(|(caller, count)| (caller.0, *count)).collect()
    }

    #[test]
    fn the_bounds_are_those_of_the_documentation() {
        assert_eq!((LEDGER_BYTES_MAX, SLICE_PERMITS_MAX), (262_144, 262_144));
    }

    #[test]
    fn a_request_id_is_read_as_it_was_written() {
        for id in [0, 1, 0x0123_4567_89ab_cdef_0011_2233_4455_6677, u128::MAX].map(RequestId) {
            let text = serde_json::to_string(&id).unwrap();
            assert_eq!(text, format!("\"{:032x}\"", id.0));
            assert_eq!(serde_json::from_str::<RequestId>(&text).unwrap(), id);
            assert_eq!(postcard::from_bytes::<RequestId>(&postcard::to_allocvec(&id).unwrap()).unwrap(), id);
        }
        assert!(serde_json::from_str::<RequestId>("\"x\"").is_err());
    }

    #[test]
    fn permits_whose_leases_end_in_one_sixteenth_share_a_slice() {
        let mut ledger = Ledger::default();
        let (first, serial) = issue(&mut ledger, 100, 116);
        assert_eq!((first, serial), (100 * SECOND, 0), "named by the time at which it began");
        let last = Timestamp::from_nanos(117 * SECOND - 1);
        assert_eq!(ledger.issue(at(100), last, LEASE, LEDGER_BYTES_MAX, None), (first, 1));
        assert_eq!(issue(&mut ledger, 101, 117), (101 * SECOND, 0), "the next sixteenth");
        assert_eq!(issue(&mut ledger, 101, 116), (first, 2), "an older slice that fits");
        assert_eq!(issue(&mut ledger, 101, 110), (101 * SECOND + 1, 0), "an id never returns");
        assert_eq!((ledger.slices.len(), ledger.deadline()), (3, at(110)), "in the order their leases end");
        let tiny = ledger.issue(at(102), at(102), Duration::from_nanos(1), LEDGER_BYTES_MAX, None);
        assert_eq!((tiny, ledger.deadline()), ((102 * SECOND, 0), at(102)));
    }

    #[test]
    fn a_full_slice_is_followed_by_another() {
        let mut ledger = Ledger::default();
        let (first, _) = issue(&mut ledger, 100, 116);
        ledger.slices[0].issued = SLICE_PERMITS_MAX;
        let (second, serial) = issue(&mut ledger, 100, 116);
        assert_eq!((second, serial), (first + 1, 0));
        assert_eq!(issue(&mut ledger, 100, 116), (second, 1));
        let (later, _) = issue(&mut ledger, 101, 117);
        ledger.slices[1].issued = SLICE_PERMITS_MAX;
        let (third, serial) = issue(&mut ledger, 100, 116);
        assert_eq!((third, serial, ledger.slices.len()), (later + 1, 0, 4));
    }

    #[test]
    fn each_permit_is_reported_once() {
        let mut ledger = Ledger::default();
        let issued: Vec<_> = (0..200).map(|_| issue(&mut ledger, 100, 116)).collect();
        for expected in [Entry::Open, Entry::Reported] {
            for (slice, serial) in &issued {
                assert_eq!(ledger.report(*slice, *serial, CallerId(0)), expected, "{serial}");
            }
        }
        let (slice, _) = issued[0];
        assert_eq!(ledger.report(slice, 200, CallerId(0)), Entry::Unknown, "never issued");
        assert_eq!(ledger.report(slice + 1, 0, CallerId(0)), Entry::Unknown);
        assert_eq!(ledger.expire(at(116)).count, 0, "nothing is left unreported");
    }

    #[test]
    fn what_is_not_reported_by_the_end_of_its_lease_expires() {
        let mut ledger = Ledger::default();
        let (slice, serial) = issue(&mut ledger, 100, 115);
        issue(&mut ledger, 100, 115);
        issue(&mut ledger, 100, 115);
        let late = Timestamp::from_nanos(116 * SECOND - 1);
        ledger.issue(at(100), late, LEASE, LEDGER_BYTES_MAX, None);
        issue(&mut ledger, 101, 117);
        ledger.report(slice, serial, CallerId(0));
        assert_eq!(ledger.deadline(), late);
        assert_eq!(ledger.expire(at(115)).count, 0, "a slice ends with the last of its leases");
        assert_eq!(ledger.expire(late).count, 3);
        assert_eq!((ledger.deadline(), ledger.is_empty()), (at(117), false));
        assert_eq!(ledger.report(slice, 1, CallerId(0)), Entry::Unknown);
        assert_eq!(ledger.expire(at(117)).count, 1);
        assert_eq!((ledger.deadline(), ledger.is_empty()), (Timestamp::NEVER, true));
    }

    #[test]
    fn expired_permits_are_told_apart_by_caller() {
        let mut ledger = Ledger::default();
        let issued: Vec<_> = [1, 1, 2, 1, 3].map(|caller| issue_to(&mut ledger, caller)).to_vec();
        ledger.report(issued[0].0, issued[0].1, CallerId(1));
        let mut other = ledger.clone();
        let expired = ledger.expire(at(116));
        assert_eq!((expired.count, by_caller(&expired)), (4, vec![(1, 2), (2, 1), (3, 1)]));
        other.disown(CallerId(1));
        // It says that it is of caller 2, and counts as that one's.
        other.report(issued[4].0, issued[4].1, CallerId(2));
        let expired = other.expire(at(116));
        assert_eq!((expired.count, by_caller(&expired)), (1, vec![(1, 0), (2, 0), (3, 1)]));
    }

    #[test]
    fn permits_of_an_only_caller_are_its_own_once_there_are_others() {
        let mut ledger = Ledger::default();
        let (slice, serial) = issue(&mut ledger, 100, 116);
        (0..4).for_each(|_| _ = issue(&mut ledger, 100, 116));
        ledger.report(slice, serial, CallerId(7));
        ledger.assign(CallerId(7));
        assert_eq!(ledger.bytes(), ledger.slices[0].bytes());
        assert_eq!(ledger.bytes(), size_of::<(CallerId, u32)>(), "one entry");
        let expired = ledger.expire(at(116));
        assert_eq!((expired.count, by_caller(&expired)), (4, vec![(7, 4)]));
        assert_eq!(ledger.bytes(), 0);
    }

    #[test]
    fn what_a_ledger_had_before_it_was_assigned_is_weighed_once() {
        let mut ledger = Ledger::default();
        (0..300).for_each(|_| _ = issue(&mut ledger, 100, 116));
        assert_eq!(ledger.bytes(), size_of::<[u64; 8]>());
        ledger.assign(CallerId(7));
        assert_eq!(ledger.bytes(), size_of::<[u64; 8]>() + size_of::<(CallerId, u32)>());
        ledger.assign(CallerId(8));
        assert_eq!(ledger.bytes(), size_of::<[u64; 8]>() + size_of::<(CallerId, u32)>());
    }

    #[test]
    fn the_ledger_weighs_what_is_outside_of_it_and_gives_up_the_oldest_slice_past_its_bound() {
        let mut ledger = Ledger::default();
        (0..128).for_each(|_| _ = issue(&mut ledger, 100, 116));
        assert_eq!(ledger.bytes(), 0, "in place");
        issue(&mut ledger, 100, 116);
        assert_eq!(ledger.bytes(), 4 * size_of::<u64>(), "one word more, in twice the places");
        issue_to(&mut ledger, 1);
        assert_eq!(ledger.bytes(), 4 * size_of::<u64>() + 4 * size_of::<(CallerId, u32)>());
        issue_to(&mut ledger, 1);
        assert_eq!(ledger.bytes(), ledger.slices[0].bytes(), "the same entry");
        let (first, _) = issue(&mut ledger, 100, 116);
        let before = ledger.bytes();
        let second = ledger.issue(at(101), at(117), LEASE, before, Some(CallerId(1)));
        assert_eq!((ledger.slices.len(), ledger.bytes()), (1, 4 * size_of::<(CallerId, u32)>()));
        assert_eq!(ledger.report(first, 0, CallerId(0)), Entry::Unknown, "given up");
        assert_eq!(ledger.report(second.0, second.1, CallerId(1)), Entry::Open);
        let (third, serial) = ledger.issue(at(102), at(118), LEASE, 0, Some(CallerId(1)));
        assert_eq!((ledger.is_empty(), ledger.bytes()), (true, 0), "also the last one");
        assert_eq!(ledger.report(third, serial, CallerId(1)), Entry::Unknown);
    }
}
