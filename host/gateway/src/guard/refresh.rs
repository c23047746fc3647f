//! The one task beside the calls: fetches sets of keys, takes files that changed, forgets what is over.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{Guard, Moment};
use crate::sources::files::FileWatch;

/// Keeps a guard fresh; `files` follows its files of keys. Never completes. Dropping it stops
/// everything at once and loses nothing: a guard that is opened after it goes on with what was
/// fetched, and `files` with what was noticed.
pub(crate) async fn refresh(guard: Arc<Guard>, files: &mut FileWatch) {
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
    let mut ticks = interval(EVICTION_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Moment::now();
        guard.limits.evict_expired(now.instant);
        guard.failures.evict_expired(now.instant);
        guard.authenticator.evict_expired(now);
    }
}

/// Both are bounded without it; this gives memory back when a crowd has gone.
const EVICTION_INTERVAL: Duration = Duration::from_secs(10);
