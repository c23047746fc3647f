//! The one task beside the calls: fetches sets of keys, reads files again, forgets what is over.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

use super::{Guard, Moment};

/// Keeps a guard fresh. Never completes; dropping it stops everything at once, and a guard that is
/// opened after it goes on with what was fetched.
pub async fn refresh(guard: Arc<Guard>) {
    tokio::select! {
        () = guard.authenticator.follow() => {}
        () = follow_files(&guard) => {}
        () = sweep(&guard) => {}
    }
}

async fn follow_files(guard: &Arc<Guard>) {
    let mut ticks = interval(guard.authenticator.settings().files_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let guard = Arc::clone(guard);
        let reading = tokio::task::spawn_blocking(move || guard.authenticator.reread());
        if let Err(error) = reading.await {
            error!(%error, "reading files of keys panicked");
        }
    }
}

async fn sweep(guard: &Guard) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Moment::now();
        guard.limits.sweep(now.instant);
        guard.failures.sweep(now.instant);
        guard.authenticator.sweep(now);
    }
}

/// Both are bounded without it; this gives memory back when a crowd has gone.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
