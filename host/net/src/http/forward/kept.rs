//! Connections of HTTP/1.1 that wait for a request. Nothing runs for one that waits: its upkeep polls it
//! when the upstream says or closes something, and closes it after `keep_timeout`.

use std::{
    sync::{Arc, Weak},
    time::Instant,
};

use parking_lot::Mutex;
use postern_system::clock;
use tokio::{sync::Notify, time::sleep_until};

use super::{connections::Connections, http1::FreeHttp1};

/// Those with one address.
#[derive(Default)]
pub(super) struct KeptConnections {
    list: Mutex<KeptList>,
    upkeep: Arc<Notify>,
}

#[derive(Default)]
struct KeptList {
    /// The last used at the end.
    free: Vec<FreeHttp1>,
    /// The upkeep has a timer.
    is_timed: bool,
}

impl KeptConnections {
    pub(super) const fn upkeep(&self) -> &Arc<Notify> {
        &self.upkeep
    }

    /// Keeps one; the one that was used longest ago makes room where there are more than `limit`.
    pub(super) fn push(&self, free: FreeHttp1, limit: usize) {
        let closed = {
            let mut list = self.list.lock();
            // Told of under the lock, so that the upkeep finds it.
            free.begin_keeping();
            list.free.push(free);
            if !std::mem::replace(&mut list.is_timed, true) {
                self.upkeep.notify_one();
            }
            (list.free.len() > limit).then(|| list.free.remove(0))
        };
        drop(closed);
    }

    /// The last used that takes a request.
    pub(super) fn pop(&self) -> Option<FreeHttp1> {
        loop {
            let mut free = self.list.lock().free.pop()?;
            free.end_keeping();
            if free.settle() {
                return Some(free);
            }
        }
    }

    /// Closes what has ended or was kept long enough. Says when the next one will have been.
    fn maintain(&self, now: Instant) -> Option<Instant> {
        let mut list = self.list.lock();
        let closed = list
            .free
            .extract_if(.., |free| free.kept_until <= now || !free.settle());
        let closed: Vec<_> = closed.collect();
        let next = list.free.first().map(|free| free.kept_until);
        list.is_timed = next.is_some();
        drop(list);
        drop(closed);
        next
    }
}

/// Looks after what `connections` keeps, as long as there are such.
pub(super) async fn look_after(connections: Weak<Connections>, upkeep: Arc<Notify>) {
    loop {
        let Some(next) = connections
            .upgrade()
            .map(|connections| connections.kept().maintain(clock::now()))
        else {
            return;
        };
        match next {
            Some(next) => tokio::select! {
                () = upkeep.notified() => {}
                () = sleep_until(next.into()) => {}
            },
            None => upkeep.notified().await,
        }
    }
}
