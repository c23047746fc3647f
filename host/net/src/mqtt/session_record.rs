//! What is to be written of one session. States are written in the order in which they came about: an
//! older one that is written last would forget what clients were told since.

use parking_lot::Mutex;
use postern_core::Error;

use super::StoredSession;

/// The newest state of a session, until it is written.
#[derive(Debug, Default)]
pub(super) struct SessionRecord {
    newest: Mutex<NewestState>,
    /// Number of the state that is on disk; held while one is written.
    written: tokio::sync::Mutex<u64>,
}

#[derive(Debug, Default)]
struct NewestState {
    /// Counts states.
    number: u64,
    state: Option<StoredSession>,
}

impl SessionRecord {
    /// `state` is the newest. Gives its number, which is to be written.
    pub(super) fn replace(&self, state: StoredSession) -> u64 {
        let mut newest = self.newest.lock();
        newest.number += 1;
        newest.state = Some(state);
        newest.number
    }

    /// The state of that number, or a newer one, is on disk when this resolves.
    ///
    /// # Errors
    /// What `save` says.
    pub(super) async fn write<F: Future<Output = Result<(), Error>>>(
        &self,
        number: u64,
        save: impl FnOnce(StoredSession) -> F,
    ) -> Result<(), Error> {
        let mut written = self.written.lock().await;
        if *written >= number {
            return Ok(());
        }
        let (newest, state) = {
            let newest = self.newest.lock();
            (newest.number, newest.state.clone())
        };
        if let Some(state) = state {
            save(state).await?;
        }
        *written = newest;
        let mut known = self.newest.lock();
        if known.number == newest {
            known.state = None;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn state(expiry_s: u32) -> StoredSession {
        StoredSession {
            client_id: "c".into(),
            expiry_s,
            ended_at_ms: None,
            subscriptions: Vec::new(),
            received: Vec::new(),
            released: Vec::new(),
            taken_receipt: 0,
            will: None,
        }
    }

    #[tokio::test]
    async fn an_older_state_is_never_written_over_a_newer_one() {
        let record = SessionRecord::default();
        let written = RefCell::new(Vec::new());
        let save = |state: StoredSession| {
            written.borrow_mut().push(state.expiry_s);
            std::future::ready(Ok(()))
        };
        let [first, second] = [1, 2].map(|expiry_s| record.replace(state(expiry_s)));
        // Whichever is asked for first.
        assert!(record.write(second, save).await.is_ok());
        assert!(record.write(first, save).await.is_ok());
        assert_eq!(*written.borrow(), [2]);
        let third = record.replace(state(3));
        let failed = |_| std::future::ready(Err(Error::not_found("full")));
        assert!(record.write(third, failed).await.is_err());
        assert!(record.write(third, save).await.is_ok());
        assert_eq!(*written.borrow(), [2, 3]);
    }
}
