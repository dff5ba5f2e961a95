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

/// The service that a caller is an instance of: a hash of the part of its name before the first `/`. 0: it is not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct ServiceId(pub u64);

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
