//! Credentials that are not good, by the address that they come from: each address may show some, at
//! a rate. Beyond it they are answered `resource-exhausted`, and tokens that were not verified before
//! are not verified at all, so that nobody makes the gateway compute signatures without end. Whoever
//! shows an API key, or a token that is remembered, is let through all the while: callers behind one
//! address do not lock one another out.
//!
//! Each address is a bucket (GCRA): what is kept is the moment at which its allowance is full again.

use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use postern_core::{Blame, Error, Kind, Peer, Retry};

use super::bounded_map::BoundedMap;
use crate::config::Auth;

/// Failures of every address. Bounded: the one that is nearest to a full allowance makes room.
#[derive(Debug)]
pub(crate) struct Failures {
    /// `None` where the configuration sets no limit.
    rate: Option<Rate>,
    /// What moments are counted from.
    begin: Instant,
    /// When the allowance of an address is full again, in nanoseconds.
    full: BoundedMap<u64, u64>,
    hasher: RandomState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate {
    per_second: u32,
    burst: u32,
}

impl Failures {
    #[must_use]
    pub(crate) fn new(settings: &Auth, now: Instant) -> Self {
        Self {
            rate: Rate::of(settings),
            begin: now,
            full: BoundedMap::new(ADDRESSES_MAX, |full| *full),
            hasher: RandomState::new(),
        }
    }

    /// Whether they are held to what `settings` say.
    pub(crate) fn fits(&self, settings: &Auth) -> bool {
        self.rate == Rate::of(settings)
    }

    /// What `peer` is told whose credentials are not good for the reason `error`: that, or when to come
    /// again after too many.
    #[must_use]
    pub(crate) fn refuse(&self, peer: &Peer, error: Error, now: Instant) -> Error {
        match error.kind == Kind::Unauthenticated {
            true => self.count(peer, now).err().unwrap_or(error),
            false => error,
        }
    }

    /// Counts credentials of `peer` that are not good.
    ///
    /// # Errors
    /// `resource-exhausted` when there were too many before them.
    pub(super) fn count(&self, peer: &Peer, now: Instant) -> Result<(), Error> {
        let Some(rate) = self.rate else { return Ok(()) };
        let now = self.nanos(now);
        let counted: Result<_, Infallible> = self.full.update(&self.key(peer), |full| {
            let full = full.copied().unwrap_or_default().max(now);
            Ok(match rate.wait(full, now) {
                None => (None, full.saturating_add(rate.each())),
                wait => (wait, full),
            })
        });
        let Ok(wait) = counted;
        wait.map_or(Ok(()), |wait| Err(refusal(wait)))
    }

    /// Whether more credentials of `peer` are worth a look.
    ///
    /// # Errors
    /// `resource-exhausted` when too many of them were not good.
    pub(super) fn check(&self, peer: &Peer, now: Instant) -> Result<(), Error> {
        let Some(rate) = self.rate else { return Ok(()) };
        let now = self.nanos(now);
        let full = self.full.read(&self.key(peer), |full| *full);
        let wait = full.and_then(|full| rate.wait(full, now));
        wait.map_or(Ok(()), |wait| Err(refusal(wait)))
    }

    /// Forgets addresses whose allowance is full.
    pub(super) fn evict_expired(&self, now: Instant) {
        let now = self.nanos(now);
        self.full.retain(|full| *full > now);
    }

    #[cfg(test)]
    pub(super) fn n_addresses(&self) -> usize {
        self.full.len()
    }

    fn key(&self, peer: &Peer) -> u64 {
        self.hasher.hash_one(peer.caller_key())
    }

    fn nanos(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.begin);
        u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Rate {
    fn of(settings: &Auth) -> Option<Self> {
        let per_second = settings.failures_rate;
        (per_second > 0).then_some(Self {
            per_second,
            burst: settings.failures_burst,
        })
    }

    /// What one failure takes of an allowance, in nanoseconds.
    const fn each(self) -> u64 {
        NANOS / self.per_second as u64
    }

    /// How long one more has to wait.
    fn wait(self, full: u64, now: u64) -> Option<Duration> {
        let after = full.max(now).saturating_add(self.each());
        let over = after.saturating_sub(now.saturating_add(self.each() * u64::from(self.burst)));
        (over > 0).then(|| Duration::from_nanos(over))
    }
}

fn refusal(wait: Duration) -> Error {
    let wait_ms = wait.as_micros().div_ceil(1000);
    let message =
        format!("too many credentials from this address were not good; try again in {wait_ms} ms");
    Error::new(Kind::ResourceExhausted, Blame::Client, message)
        .with_retry(Retry::After(wait))
        .with_details(format!(
            "{{\"limit\":\"auth.failures\",\"retry-after-ms\":{wait_ms}}}"
        ))
}

/// Addresses that are known at one time: 16 octets each.
const ADDRESSES_MAX: usize = 100_000;
const NANOS: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use postern_core::{Origin, Transport, testing::epoch};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn failures(per_second: u32, burst: u32) -> Failures {
        let settings = Auth {
            failures_rate: per_second,
            failures_burst: burst,
            ..Auth::default()
        };
        Failures::new(&settings, epoch())
    }

    fn peer(address: &str) -> Peer {
        let address = address.parse().expect("an address");
        Peer::new(Transport::Tcp, Origin::Ip(address))
    }

    #[test]
    fn a_burst_is_taken_then_the_rate_holds_for_the_address() {
        let (failures, now) = (failures(10, 3), epoch());
        let bad = peer("10.0.0.1:1");
        for _ in 0..3 {
            assert!(failures.check(&bad, now).is_ok());
            assert!(failures.count(&bad, now).is_ok());
        }
        let refused = failures.count(&bad, now).expect_err("one over");
        assert_eq!(refused.kind, Kind::ResourceExhausted);
        assert_eq!(refused.retry, Retry::After(100 * MS));
        // Another port is the same address, another address is not.
        assert!(failures.check(&peer("10.0.0.1:2"), now).is_err());
        assert!(failures.count(&peer("10.0.0.2:1"), now).is_ok());
        assert!(failures.check(&bad, now + 99 * MS).is_err());
        assert!(failures.count(&bad, now + 100 * MS).is_ok());
        assert!(failures.count(&bad, now + 100 * MS).is_err());
    }

    #[test]
    fn what_is_refused_does_not_lengthen_the_wait() {
        let (failures, now) = (failures(10, 1), epoch());
        let bad = peer("10.0.0.1:1");
        assert!(failures.count(&bad, now).is_ok());
        for _ in 0..1000 {
            assert!(failures.count(&bad, now + 50 * MS).is_err());
        }
        assert!(failures.count(&bad, now + 100 * MS).is_ok());
    }

    #[test]
    fn zero_is_no_limit_and_full_allowances_are_forgotten() {
        let (none, now) = (failures(0, 1), epoch());
        let bad = peer("10.0.0.1:1");
        assert!((0..1000).all(|_| none.count(&bad, now).is_ok()));
        let some = failures(10, 1);
        assert!(some.count(&bad, now).is_ok());
        some.evict_expired(now + 99 * MS);
        assert_eq!(some.n_addresses(), 1);
        some.evict_expired(now + 100 * MS);
        assert_eq!(some.n_addresses(), 0);
    }
}
