//! Calls of one client that wait for their responses. A response is matched by its id alone and may come over
//! another connection than its request went; whoever waits no more is forgotten at once, so that what comes
//! late finds nobody.

use std::collections::BTreeMap;

use super::call_id::CallId;

/// Those who wait, by the ids of their calls.
#[derive(Debug)]
pub struct PendingCalls<T> {
    waiting: BTreeMap<CallId, Waiting<T>>,
    calls_max: usize,
}

#[derive(Debug)]
struct Waiting<T> {
    /// Which the request was sent on.
    connection: u64,
    waiter: T,
}

/// As many calls wait as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} calls wait for responses, which is the limit")]
pub struct TooManyCalls {
    pub limit: usize,
}

impl<T> PendingCalls<T> {
    #[must_use]
    pub const fn new(calls_max: usize) -> Self {
        Self {
            waiting: BTreeMap::new(),
            calls_max,
        }
    }

    /// Keeps who waits for the response to the call `id`, sent on `connection`.
    ///
    /// # Errors
    /// When there is no room.
    pub fn begin(&mut self, id: CallId, connection: u64, waiter: T) -> Result<(), TooManyCalls> {
        let limit = self.calls_max;
        if self.waiting.len() >= limit {
            return Err(TooManyCalls { limit });
        }
        self.waiting.insert(id, Waiting { connection, waiter });
        Ok(())
    }

    /// Who waits for the response to `id`, once: for it has come, or is waited for no more.
    pub fn end(&mut self, id: CallId) -> Option<T> {
        self.waiting.remove(&id).map(|waiting| waiting.waiter)
    }

    /// Whoever waits for responses to what was sent on `connection`, which is over: the published server
    /// answers over the connection of the request, and drops answers for which it is gone.
    pub fn end_connection(&mut self, connection: u64) -> Vec<T> {
        let mut ended = Vec::new();
        let waiting = std::mem::take(&mut self.waiting);
        for (id, waiting) in waiting {
            if waiting.connection == connection {
                ended.push(waiting.waiter);
            } else {
                self.waiting.insert(id, waiting);
            }
        }
        ended
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}
