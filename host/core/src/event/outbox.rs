//! How a handler reaches the session of a call after it has answered: it hands a subscription over,
//! and the session's driver sends what comes of it.

use std::{fmt, sync::Arc};

use super::hub::Subscription;
use crate::error::{Blame, Error, Kind};

/// The sending end of a session, as its transport implements it.
pub trait Push: Send + Sync {
    /// Sends what the subscription gives for as long as both last. It is read only while the session
    /// has room, so that a peer that does not read loses events and not its session.
    ///
    /// # Errors
    /// `unavailable` when the session has ended; the subscription is dropped, which ends it.
    fn attach(&self, subscription: Subscription) -> Result<(), Error>;

    /// Events that may wait for the peer in each of its subscriptions, where the transport has a bound
    /// of its own.
    fn queue_max(&self) -> Option<usize> {
        None
    }
}

/// Where a peer takes events beside replies. Closed where the transport has no sessions.
#[derive(Clone, Default)]
pub struct Outbox(Option<Arc<dyn Push>>);

impl Outbox {
    #[must_use]
    pub fn new(push: Arc<dyn Push>) -> Self {
        Self(Some(push))
    }

    /// An outbox that takes nothing.
    #[must_use]
    pub const fn closed() -> Self {
        Self(None)
    }

    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// See `Push::queue_max`.
    #[must_use]
    pub fn queue_max(&self) -> Option<usize> {
        self.0.as_ref().and_then(|push| push.queue_max())
    }

    /// See `Push::attach`.
    ///
    /// # Errors
    /// Also `failed-precondition` where there is no session.
    pub fn attach(&self, subscription: Subscription) -> Result<(), Error> {
        match &self.0 {
            Some(push) => push.attach(subscription),
            None => Err(Error::new(
                Kind::FailedPrecondition,
                Blame::Client,
                "events need a session, which this transport does not have",
            )),
        }
    }
}

impl PartialEq for Outbox {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

impl Eq for Outbox {}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_open() { "open" } else { "closed" })
    }
}
