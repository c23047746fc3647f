//! How often calls may come: allowances that are shared by a caller, an address, a service, a
//! header's value, or by all.
//!
//! Each limit is a GCRA (governor). A call is asked of the narrowest limits first and each that
//! admits it counts it; so a caller that is over its own limit does not use up everybody's.

use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};
use postern_core::{Blame, Call, Error, Kind, Retry, Transport, error::push_json_string};

use super::{authenticator::Sender, bounded_map::BoundedMap, error::GuardError, headers::first};
use crate::config::{RateKey, RateLimit};

/// All limits, narrowest first.
#[derive(Debug, Default)]
pub(super) struct RateLimits(Vec<Arc<Limit>>);

/// One limit and who has used how much of it.
#[derive(Debug)]
struct Limit {
    name: String,
    settings: RateLimit,
    /// What governor counts from.
    begin: Instant,
    limiter: RateLimiter<u64, Allowances, Told, NoOpMiddleware<Duration>>,
    hasher: RandomState,
}

/// When the allowance of a key is full again, in nanoseconds. Bounded: the one that is nearest to
/// full makes room, because forgetting it gives away least.
#[derive(Debug)]
struct Allowances(BoundedMap<u64, Nanos>);

/// The time that governor is told. It asks a clock; calls bring their own time.
#[derive(Debug, Clone, Copy)]
struct Told;

thread_local! {
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

impl RateLimits {
    /// Limits that are as they were `before` keep what they have counted.
    pub(super) fn open<'a>(
        settings: impl IntoIterator<Item = (&'a String, &'a RateLimit)>,
        before: Option<&Self>,
        now: Instant,
    ) -> Result<Self, GuardError> {
        let kept = |name: &str, settings: &RateLimit| {
            let before = before.into_iter().flat_map(|limits| &limits.0);
            let mut same = before.filter(|limit| limit.name == name && limit.settings == *settings);
            same.next().map(Arc::clone)
        };
        let mut limits = Vec::new();
        for (name, settings) in settings {
            limits.push(match kept(name, settings) {
                Some(limit) => limit,
                None => Arc::new(Limit::new(name, settings, now)?),
            });
        }
        limits.sort_by_key(|limit| width(limit.settings.by));
        Ok(Self(limits))
    }

    /// Counts a call.
    ///
    /// # Errors
    /// `resource-exhausted` with the time after which the call would pass.
    pub(super) fn admit(&self, call: &Call, sender: Sender, now: Instant) -> Result<(), Error> {
        let is_nested = is_nested(call, sender);
        let mut asked = self
            .0
            .iter()
            .filter(|limit| limit.settings.nested || !is_nested);
        asked.try_for_each(|limit| limit.admit(call, now))
    }

    /// Counts a call whose credentials are not good, which makes it one of an anonymous caller:
    /// against the limits of callers and addresses. Those that many callers share are not for
    /// somebody to use up who may not even call.
    pub(super) fn admit_failed(&self, call: &Call, now: Instant) -> Result<(), Error> {
        let of_caller = |limit: &&Arc<Limit>| match limit.settings.by {
            RateKey::Principal | RateKey::Peer => true,
            RateKey::Header | RateKey::Service | RateKey::Global => false,
        };
        let mut asked = self.0.iter().filter(of_caller);
        asked.try_for_each(|limit| limit.admit(call, now))
    }

    /// Forgets allowances that are full.
    pub(super) fn evict_expired(&self, now: Instant) {
        for limit in &self.0 {
            limit.tell(now);
            limit.limiter.retain_recent();
        }
    }

    #[cfg(test)]
    fn n_keys(&self) -> usize {
        self.0.iter().map(|limit| limit.limiter.len()).sum()
    }
}

impl Limit {
    fn new(name: &str, settings: &RateLimit, now: Instant) -> Result<Self, GuardError> {
        let refused = || GuardError::Rate {
            limit: name.to_owned(),
        };
        let rate = NonZeroU32::new(settings.rate).ok_or_else(refused)?;
        let burst = NonZeroU32::new(settings.burst.unwrap_or(settings.rate)).ok_or_else(refused)?;
        // At most 10^9 calls in 1 ms would be less than a nanosecond each.
        let each = (settings.per / rate.get()).max(Duration::from_nanos(1));
        let quota = Quota::with_period(each)
            .ok_or_else(refused)?
            .allow_burst(burst);
        NOW.set(Duration::ZERO);
        let allowances = Allowances(BoundedMap::new(settings.keys_max, |full: &Nanos| {
            full.as_u64()
        }));
        Ok(Self {
            name: name.to_owned(),
            settings: settings.clone(),
            begin: now,
            limiter: RateLimiter::new(quota, allowances, Told),
            hasher: RandomState::new(),
        })
    }

    fn admit(&self, call: &Call, now: Instant) -> Result<(), Error> {
        let mut calls = self.settings.calls.iter();
        if !calls.any(|pattern| pattern.matches(&call.service, &call.method)) {
            return Ok(());
        }
        let now = self.tell(now);
        let admitted = self.limiter.check_key(&self.key(call));
        admitted.map_err(|until| self.refusal(until.wait_time_from(now)))
    }

    /// Who shares an allowance. Only a hash is kept: 64 keyed bits, so that nobody can choose a
    /// name that meets another's, and no name holds a frame's buffer in memory.
    fn key(&self, call: &Call) -> u64 {
        let context = &call.context;
        match self.settings.by {
            RateKey::Principal => match &context.principal {
                Some(principal) => self.hasher.hash_one(("principal", &*principal.name)),
                None => self
                    .hasher
                    .hash_one(("anonymous", context.peer.caller_key())),
            },
            RateKey::Peer => self.hasher.hash_one(context.peer.caller_key()),
            RateKey::Service => self.hasher.hash_one(&*call.service),
            RateKey::Header => {
                let name = self.settings.header.as_deref().unwrap_or_default();
                self.hasher.hash_one(first(&call.headers, name))
            }
            RateKey::Global => 0,
        }
    }

    fn refusal(&self, wait: Duration) -> Error {
        let wait_ms = wait.as_micros().div_ceil(1000);
        let mut details = b"{\"limit\":".to_vec();
        push_json_string(&mut details, &self.name);
        details.extend_from_slice(format!(",\"retry-after-ms\":{wait_ms}}}").as_bytes());
        let RateLimit { rate, per, .. } = self.settings;
        let name = &self.name;
        let message = format!(
            "limit {name} of {rate} calls in {} ms is reached; try again in {wait_ms} ms",
            per.as_millis()
        );
        Error::new(Kind::ResourceExhausted, Blame::Client, message)
            .with_retry(Retry::After(wait))
            .with_details(details)
    }

    /// Sets governor's clock, as this thread sees it.
    fn tell(&self, now: Instant) -> Duration {
        let now = now.saturating_duration_since(self.begin);
        NOW.set(now);
        now
    }
}

impl StateStore for Allowances {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.update(key, |full| f(full.copied()))
    }
}

impl ShrinkableKeyedStateStore<u64> for Allowances {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain(|full| *full > drop_below);
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.len() == 0
    }
}

impl Clock for Told {
    type Instant = Duration;

    fn now(&self) -> Duration {
        NOW.get()
    }
}

/// Whether a call was counted where it came in: a plugin of this gateway makes it, or another gateway
/// has passed it on. What anybody else says of its own depth exempts it from nothing.
fn is_nested(call: &Call, sender: Sender) -> bool {
    let context = &call.context;
    let is_plugin = context.peer.transport == Transport::Plugin;
    context.depth > 0 && (is_plugin || sender == Sender::Gateway)
}

/// Narrow limits are asked first.
const fn width(by: RateKey) -> u8 {
    match by {
        RateKey::Principal => 0,
        RateKey::Peer => 1,
        RateKey::Header => 2,
        RateKey::Service => 3,
        RateKey::Global => 4,
    }
}

#[cfg(test)]
mod tests;
