//! What is being taken of a client's, in the order in which it came: publications that are stored,
//! subscriptions that are kept. What needs no wait passes by, unless something is before it.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::stream::{FuturesOrdered, Stream};
use postern_core::{
    BoxFuture,
    event::durable::Position,
    mqtt::{Publication, Reason, SubscriptionOptions, TopicFilter},
};

use super::stored_queue::StoredQueue;
use crate::mqtt::{PublishOutcome, routes::Route, share_member::ShareMember};

/// Takes no memory while there is nothing.
#[derive(Default)]
pub(super) struct Taking(Option<Box<FuturesOrdered<BoxFuture<Step>>>>);

/// What was waited for.
pub(super) enum Step {
    Published(Box<Publishing>, PublishOutcome),
    /// A publication with QoS 2 is taken, and its identifier is kept, where that is so.
    Kept(u16, Reason, bool),
    /// Of a PUBREC.
    Received(Received),
    /// Of a PUBREL.
    Released(u16, bool),
    Subscribed(Box<Subscribed>),
    /// Stored shares that the client takes from as well, or why it cannot.
    Shares(Result<Vec<ShareMember>, String>),
}

/// What a PUBREC has come to.
pub(super) struct Received {
    pub(super) id: u16,
    /// That the client has the message.
    pub(super) is_kept: bool,
    /// Where it lies, if the queue was not told: it comes again.
    pub(super) repeated: Option<Position>,
}

/// A publication on its way.
pub(super) struct Publishing {
    pub(super) publication: Arc<Publication>,
    pub(super) route: Arc<Route>,
    /// With QoS 1 and 2.
    pub(super) id: Option<u16>,
    /// A service is called, and no subscriber is told.
    pub(super) is_call: bool,
}

/// What a SUBSCRIBE or UNSUBSCRIBE has come to.
pub(super) struct Subscribed {
    pub(super) id: u16,
    pub(super) reasons: Vec<Reason>,
    pub(super) is_unsubscribe: bool,
    /// Filters whose retained messages are wanted.
    pub(super) retained: Vec<(TopicFilter, SubscriptionOptions)>,
    /// Where the session is durable: its queue, or why it has none.
    pub(super) stored: Option<Result<Option<StoredQueue>, String>>,
    /// Stored shares that the client takes from as well.
    pub(super) shares: Vec<ShareMember>,
}

impl Taking {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |steps| steps.len())
    }

    pub(super) fn push(&mut self, step: BoxFuture<Step>) {
        self.0.get_or_insert_default().push_back(step);
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let Some(steps) = &mut self.0 else {
            return Poll::Pending;
        };
        match Pin::new(&mut **steps).poll_next(cx) {
            Poll::Ready(Some(step)) => Poll::Ready(step),
            Poll::Ready(None) => {
                self.0 = None;
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// What a client is told whose session could not be written.
pub(super) const NOT_STORED: &str = "the session was not stored";
