//! The one task beside the calls: fetches sets of keys, takes files that changed, forgets what is over.

use std::{sync::Arc, time::Duration};

use postern_system::clock;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Failures, Guard, Moment};
use crate::sources::files::FileWatch;

/// What goes on beside the calls: with a guard, what [`refresh`] does; without one, addresses whose
/// failures are over are forgotten all the same, since components that judge credentials count them. Never
/// completes; dropping it loses nothing.
pub(crate) async fn maintain(
    guard: Option<Arc<Guard>>,
    failures: Option<Arc<Failures>>,
    files: &mut FileWatch,
) {
    match (guard, failures) {
        (Some(guard), _) => refresh(guard, files).await,
        (None, Some(failures)) => evict_failures(&failures).await,
        (None, None) => std::future::pending().await,
    }
}

/// Keeps a guard fresh; `files` follows its files of keys. Never completes. Dropping it stops
/// everything at once and loses nothing: a guard that is opened after it goes on with what was
/// fetched, and `files` with what was noticed.
async fn refresh(guard: Arc<Guard>, files: &mut FileWatch) {
    tokio::select! {
        () = guard.authenticator.follow() => {}
        () = follow_files(&guard, files) => {}
        () = evict_expired(&guard) => {}
    }
}

async fn follow_files(guard: &Guard, files: &mut FileWatch) {
    loop {
        let version = files.next().await;
        guard.authenticator.take(&version.path, &version.bytes);
    }
}

async fn evict_expired(guard: &Guard) {
    let mut ticks = eviction_ticks();
    loop {
        ticks.tick().await;
        let now = Moment::now();
        guard.limits.evict_expired(now.instant);
        guard.failures.evict_expired(now.instant);
        guard.authenticator.evict_expired(now);
    }
}

async fn evict_failures(failures: &Failures) {
    let mut ticks = eviction_ticks();
    loop {
        ticks.tick().await;
        failures.evict_expired(clock::now());
    }
}

fn eviction_ticks() -> Interval {
    let mut ticks = interval(EVICTION_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// What is kept is bounded without it; this gives memory back when many callers have gone.
const EVICTION_INTERVAL: Duration = Duration::from_secs(10);
