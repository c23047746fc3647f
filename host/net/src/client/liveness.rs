//! What a client shows of its session beside calls: whether it is there, and whether its peer is.

use std::{sync::Arc, time::Duration};

use postern_core::{
    Blame, Error, Kind,
    wire::{Dialect, Link},
};
use tokio::sync::oneshot;

use super::{Abandon, Client, command::Command, failure::lost, life::Life};
use crate::driver;

/// A PING that may be lost is said this many times, as HELLO is.
const PING_TIMES: u32 = 4;

impl Client {
    /// Whether a call may begin.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(*self.shared.life.borrow(), Life::Open)
    }

    /// Completes when no more calls may begin; at once when that is so already.
    pub async fn closing(&self) {
        let mut life = self.shared.life.clone();
        // An error means that the driver is gone, which is the end.
        let _ = life.wait_for(|life| !matches!(life, Life::Open)).await;
    }

    /// Completes when the session is over and every call has its answer or its error; gives the
    /// reason.
    pub async fn ended(&self) -> Arc<str> {
        let mut life = self.shared.life.clone();
        let ended = life.wait_for(|life| matches!(life, Life::Ended(_))).await;
        match ended.as_deref() {
            Ok(Life::Ended(reason)) => Arc::clone(reason),
            Ok(Life::Open | Life::Closing) | Err(_) => "the driver ended".into(),
        }
    }

    /// Sends PING and waits for its PONG, at most `timeout`; gives the time between them. On a
    /// datagram link PING is said four times within `timeout`.
    ///
    /// # Errors
    /// `deadline-exceeded` when no PONG came, `unavailable` when the session is over,
    /// `unimplemented` when the peer speaks the base dialect, which need not answer.
    pub async fn ping(&self, timeout: Duration) -> Result<Duration, Error> {
        let (shared, destination) = (&self.shared, &self.shared.destination);
        if matches!(*shared.dialect.borrow(), Dialect::Base) {
            let message = format!("{destination} speaks the base dialect, which answers no PING");
            return Err(Error::new(Kind::Unimplemented, Blame::Upstream, message));
        }
        let id = shared.next_id();
        let (pong, mut ponged) = oneshot::channel();
        let gone = |_| lost(destination, &"the session has ended");
        let begin = driver::now();
        let ping = Command::Ping(id, Some(pong));
        shared.commands.send(ping).map_err(gone)?;
        let mut abandon = Abandon {
            id: Some(id),
            commands: &shared.commands,
        };
        let n_times = match shared.link {
            Link::Stream => 1,
            Link::Datagram => PING_TIMES,
        };
        for time_idx in 0..n_times {
            if time_idx > 0 {
                let again = Command::Ping(id, None);
                shared.commands.send(again).map_err(gone)?;
            }
            match tokio::time::timeout(timeout / n_times, &mut ponged).await {
                Ok(Ok(())) => {
                    abandon.id = None;
                    return Ok(driver::now() - begin);
                }
                Ok(Err(_)) => return Err(lost(destination, &"it was over before PONG came")),
                Err(_) => {}
            }
        }
        let message = format!("{destination} did not answer PING within {timeout:?}");
        Err(Error::deadline_exceeded(Blame::Upstream, message))
    }

    /// Ends the session at once and without a word, for `reason`. Calls under way fail.
    pub fn cut(&self, reason: impl Into<String>) {
        // A driver that has ended needs no cut.
        let _ = self.shared.commands.send(Command::Cut(reason.into()));
    }
}
