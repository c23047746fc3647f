//! What a call holds: first a place in the row, then a share of a session. Dropping either gives it
//! to the next.

use std::{sync::Arc, time::Instant};

use tokio::sync::oneshot;

use super::{
    accounting::{Answered, HostId},
    host::{SessionKey, Ticket},
    refusal::{Refusal, Shortage},
    session::Session,
    shared::Shared,
};
use crate::client::Client;

/// A share of a session, for one call.
#[derive(Debug)]
pub(crate) struct SessionLease {
    shared: Arc<Shared>,
    host: HostId,
    key: SessionKey,
    session: Session,
    answered: Answered,
}

/// A call that waits for its lease.
pub(super) struct LeaseWaiter {
    shared: Arc<Shared>,
    host: HostId,
    ticket: Ticket,
    receiver: oneshot::Receiver<Result<SessionLease, Refusal>>,
}

impl SessionLease {
    pub(super) const fn new(
        shared: Arc<Shared>,
        host: HostId,
        key: SessionKey,
        session: Session,
    ) -> Self {
        Self {
            shared,
            host,
            key,
            session,
            answered: Answered::No,
        }
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.session.client
    }

    /// The peer has answered: the session is of use.
    pub(crate) const fn on_answer(&mut self) {
        self.answered = Answered::Yes;
    }

    /// The session is not trusted any more: it takes no new calls and is closed when those on it are
    /// done.
    pub(crate) fn retire(&self) {
        self.session.close.cancel();
        let (host, key) = (self.host, self.key);
        self.shared
            .update(|state, now| state.accounting.on_closing(host, key, now));
    }
}

impl Drop for SessionLease {
    fn drop(&mut self) {
        let (host, key, answered) = (self.host, self.key, self.answered);
        self.shared
            .update(|state, now| state.accounting.finish(host, key, answered, now));
    }
}

impl LeaseWaiter {
    pub(super) const fn new(
        shared: Arc<Shared>,
        host: HostId,
        ticket: Ticket,
        receiver: oneshot::Receiver<Result<SessionLease, Refusal>>,
    ) -> Self {
        Self {
            shared,
            host,
            ticket,
            receiver,
        }
    }

    /// Waits for the lease, until `wait_timeout` has passed or `deadline` has come.
    pub(super) async fn wait(mut self, deadline: Instant) -> Result<SessionLease, Refusal> {
        let after = self.shared.config.wait_timeout;
        let latest = crate::driver::now() + after;
        let settled =
            tokio::time::timeout_at(deadline.min(latest).into(), &mut self.receiver).await;
        match settled {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Refusal::Closed),
            Err(_) => {
                let short = self.give_up();
                Err(if deadline <= latest {
                    Refusal::Deadline { short }
                } else {
                    Refusal::TimedOut { after, short }
                })
            }
        }
    }

    fn give_up(&self) -> Shortage {
        let (host, ticket) = (self.host, self.ticket);
        self.shared
            .update(|state, _| state.accounting.give_up(host, ticket))
    }
}

impl Drop for LeaseWaiter {
    fn drop(&mut self) {
        let (host, ticket) = (self.host, self.ticket);
        self.shared.update(|state, _| {
            state.waiting.remove(&ticket);
            state.accounting.abandon(host, ticket);
        });
        // A lease that was granted in this moment is in `receiver` and goes to the next with it.
    }
}
