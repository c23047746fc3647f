//! The bodies that this end sends, asked for one message after the other. Calls on the session's stream
//! wait for one another there; a call that has a stream of its own waits for that only.

use std::{
    collections::HashMap,
    task::{Context, Poll},
};

use futures_util::{
    StreamExt,
    future::{AbortHandle, Abortable, Aborted},
    stream::FuturesUnordered,
};
use postern_core::{BodyStream, BoxFuture, Text};

use super::Item;

/// The rest of a body that this end sends.
pub(super) struct Outgoing {
    pub(super) id: Text,
    pub(super) body: BodyStream,
}

pub(super) struct Pumped {
    pub(super) outgoing: Outgoing,
    pub(super) item: Option<Item>,
}

type Asked = FuturesUnordered<BoxFuture<Result<Pumped, Aborted>>>;

/// Bodies that are asked for their next messages.
#[derive(Default)]
pub(super) struct Pumps {
    /// Of calls on the session's stream.
    shared: Asked,
    /// Of calls that have a stream of their own.
    own: Asked,
    own_streams: HashMap<Text, OwnStream>,
    /// Ends the pump of a call that is over.
    handles: HashMap<Text, AbortHandle>,
}

/// The stream of one call.
#[derive(Default)]
struct OwnStream {
    is_full: bool,
    /// Waits for room.
    waiting: Option<Outgoing>,
    has_input_ended: bool,
}

impl Pumps {
    /// A call has a stream of its own.
    pub(super) fn set_own(&mut self, id: &Text) {
        self.own_streams.insert(id.clone(), OwnStream::default());
    }

    pub(super) fn has_own(&self, id: &Text) -> bool {
        self.own_streams.contains_key(id)
    }

    /// The stream of a call has room, or none.
    pub(super) fn set_full(&mut self, id: &Text, is_full: bool) {
        let Some(own) = self.own_streams.get_mut(id) else {
            return;
        };
        own.is_full = is_full;
        if !is_full && let Some(outgoing) = own.waiting.take() {
            self.ask(outgoing);
        }
    }

    /// The peer sends nothing more on the stream of a call. False where it has none.
    pub(super) fn on_own_input_end(&mut self, id: &Text) -> bool {
        let own = self.own_streams.get_mut(id);
        own.is_some_and(|own| {
            own.has_input_ended = true;
            true
        })
    }

    /// Whether the peer sends nothing more on the stream of a call; none where it has none.
    pub(super) fn has_own_input_ended(&self, id: &Text) -> Option<bool> {
        self.own_streams.get(id).map(|own| own.has_input_ended)
    }

    /// Asks a body for its next message, once the stream of its call has room.
    pub(super) fn ask(&mut self, outgoing: Outgoing) {
        let asked = match self.own_streams.get_mut(&outgoing.id) {
            Some(own) if own.is_full => {
                self.handles.remove(&outgoing.id);
                own.waiting = Some(outgoing);
                return;
            }
            Some(_) => &self.own,
            None => &self.shared,
        };
        let (handle, registration) = AbortHandle::new_pair();
        self.handles.insert(outgoing.id.clone(), handle);
        asked.push(Box::pin(Abortable::new(next(outgoing), registration)));
    }

    /// The body of a call is not asked any more, for the present.
    pub(super) fn pause(&mut self, id: &Text) {
        self.handles.remove(id);
    }

    /// A call is over.
    pub(super) fn stop(&mut self, id: &Text) {
        if let Some(handle) = self.handles.remove(id) {
            handle.abort();
        }
        self.own_streams.remove(id);
    }

    /// The next message. Those for the session's stream are not asked for while `may_send` is false.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        may_send: bool,
    ) -> Poll<Result<Pumped, Aborted>> {
        if let Poll::Ready(Some(pumped)) = self.own.poll_next_unpin(cx) {
            return Poll::Ready(pumped);
        }
        if may_send && let Poll::Ready(Some(pumped)) = self.shared.poll_next_unpin(cx) {
            return Poll::Ready(pumped);
        }
        Poll::Pending
    }
}

/// The next message of a body. It ends at the deadline of its call, which is not seen to here.
async fn next(mut outgoing: Outgoing) -> Pumped {
    let item = outgoing.body.next().await;
    Pumped { outgoing, item }
}
