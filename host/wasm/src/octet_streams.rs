//! The two bodies of a call as streams of octets in its guest's store. Each octet is copied once: into the
//! memory that the guest reads to, and out of the one that it writes from.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Stream, task::AtomicWaker};
use parking_lot::Mutex;
use postern_core::{BodyKind, BodyStream, BoxFuture};
use tokio::sync::mpsc::{
    self, OwnedPermit,
    error::{SendError, TrySendError},
};
use wasmtime::{
    AsContextMut, StoreContextMut,
    component::{Destination, Source, StreamConsumer, StreamProducer, StreamResult, VecBuffer},
};

use crate::{
    bindings::Failure,
    capability::{
        async_call::AsyncCall,
        stream::{Outbound, StreamEnds, left, take_head},
    },
    concurrent::EndWaits,
    convert,
    framing::{MessageReader, TooLong, UnreadPart},
    progress::Progress,
    reply_draft::Drafted,
    state::StoreState,
    trap::Stop,
};

/// Most octets of a reply of octets that are one piece of it.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// What the two streams and the entry that made them know of each other.
#[derive(Default)]
pub(crate) struct OctetStreams {
    pub(crate) waits: EndWaits,
    /// Whether the call is over: what a guest has kept of it is dead.
    is_over: AtomicBool,
    /// `None` at its end, and once the call is over.
    inbound: Mutex<Option<BodyStream>>,
    outbound: Mutex<ReplyProgress>,
    /// Told when the reply's stream is closed.
    closed: AtomicWaker,
}

#[derive(Default)]
struct ReplyProgress {
    /// Of a reply of messages, the one that is being written.
    message: MessageReader,
    is_closed: bool,
}

/// What a guest reads: the body of the request.
pub(crate) struct RequestOctets {
    streams: Arc<OctetStreams>,
    progress: Arc<Progress>,
    kind: BodyKind,
    unread: UnreadPart,
}

/// What a guest writes: the body of the reply.
pub(crate) struct ReplyOctets {
    streams: Arc<OctetStreams>,
    outbound: mpsc::Sender<Outbound>,
    /// There while the caller has not taken what was sent before.
    reserving: Option<BoxFuture<Result<OwnedPermit<Outbound>, SendError<()>>>>,
    /// There once the first octet was written: what goes out with the first message, until it has.
    head: Option<Drafted>,
    is_octets: bool,
}

/// What of a guest's octets went to its caller.
struct Sent {
    n_taken: usize,
    /// Messages, or pieces, that are whole.
    n_messages: usize,
}

impl OctetStreams {
    /// Those of a call, and what to read and to write by; its body is taken.
    pub(crate) fn new(ends: &mut StreamEnds) -> (Arc<Self>, RequestOctets, ReplyOctets) {
        let streams = Arc::new(Self {
            inbound: Mutex::new(ends.inbound.take()),
            ..Self::default()
        });
        let request = RequestOctets {
            streams: Arc::clone(&streams),
            progress: Arc::clone(&ends.progress),
            kind: ends.kind,
            unread: UnreadPart::default(),
        };
        let reply = ReplyOctets {
            streams: Arc::clone(&streams),
            outbound: ends.outbound.clone(),
            reserving: None,
            head: None,
            is_octets: false,
        };
        (streams, request, reply)
    }

    /// Ready once the reply's stream is closed.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.closed.register(cx.waker());
        if self.outbound.lock().is_closed {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Lets go of the request, of which a guest that keeps its stream reads no more.
    pub(crate) fn end(&self) {
        self.is_over.store(true, Relaxed);
        drop(self.inbound.lock().take());
    }

    /// Whether the reply has ended within a message.
    pub(crate) fn is_within_message(&self) -> bool {
        self.outbound.lock().message.is_within()
    }
}

impl RequestOctets {
    /// Takes the next part of the body; `false` at its end.
    fn poll_part(&mut self, cx: &mut Context<'_>, state: &mut StoreState) -> Poll<bool> {
        let mut inbound = self.streams.inbound.lock();
        let Some(body) = &mut *inbound else {
            return Poll::Ready(false);
        };
        let part = match Pin::new(&mut *body).poll_next(cx) {
            Poll::Pending => {
                ready!(self.progress.poll_left(cx));
                *inbound = None;
                tell(state, left());
                return Poll::Ready(false);
            }
            Poll::Ready(None) => {
                let trailers = body.trailers();
                if let Some(ends) = state.slots.get_mut::<StreamEnds>() {
                    ends.trailers = trailers;
                }
                *inbound = None;
                return Poll::Ready(false);
            }
            Poll::Ready(Some(part)) => part,
        };
        let limit = state.guest.spec.limits.input_bytes_max;
        let checked = part.and_then(|part| {
            convert::check_input(part.len(), limit)?;
            Ok(part)
        });
        match checked {
            Ok(part) => {
                self.progress.on_message();
                self.streams.waits.on_crossing(state);
                self.unread = match self.kind {
                    BodyKind::Octets => UnreadPart::plain(part),
                    BodyKind::One | BodyKind::Messages => UnreadPart::framed(part),
                };
                Poll::Ready(true)
            }
            Err(error) => {
                *inbound = None;
                tell(state, convert::to_failure(error));
                Poll::Ready(false)
            }
        }
    }
}

/// Keeps why the request has ended before its end.
fn tell(state: &mut StoreState, failure: Failure) {
    if let Some(call) = state.slots.get_mut::<AsyncCall>() {
        call.request_failure = Some(failure);
    }
}

impl StreamProducer<StoreState> for RequestOctets {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, StoreState>,
        mut destination: Destination<'a, u8, VecBuffer<u8>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        if this.streams.is_over.load(Relaxed) {
            this.unread = UnreadPart::default();
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        this.streams.waits.set_inbound(false);
        let room = destination.remaining(&mut store);
        if room == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let mut n_written = 0;
        loop {
            if !this.unread.is_empty() {
                let store = store.as_context_mut();
                let mut direct = destination.reborrow().as_direct(store, PIECE_BYTES_MAX);
                let n_taken = this.unread.take_into(direct.remaining());
                direct.mark_written(n_taken);
                n_written += n_taken;
                // A reader that is the host, which passes the request on as the reply, takes one piece.
                if !this.unread.is_empty() || room.is_none_or(|room| n_written >= room) {
                    return Poll::Ready(Ok(StreamResult::Completed));
                }
            }
            match this.poll_part(cx, store.data_mut()) {
                Poll::Ready(true) => {}
                Poll::Ready(false) => return Poll::Ready(Ok(StreamResult::Dropped)),
                Poll::Pending if n_written > 0 => {
                    return Poll::Ready(Ok(StreamResult::Completed));
                }
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending => {
                    this.streams.waits.set_inbound(true);
                    return Poll::Pending;
                }
            }
        }
    }
}

impl ReplyOctets {
    /// Room for one message or piece; `None` when the caller has left.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Option<OwnedPermit<Outbound>>> {
        if self.reserving.is_none() {
            match self.outbound.clone().try_reserve_owned() {
                Ok(permit) => return Poll::Ready(Some(permit)),
                Err(TrySendError::Closed(_)) => return Poll::Ready(None),
                Err(TrySendError::Full(outbound)) => {
                    self.reserving = Some(Box::pin(outbound.reserve_owned()));
                }
            }
        }
        let Some(reserving) = &mut self.reserving else {
            return Poll::Ready(None);
        };
        let reserved = ready!(reserving.as_mut().poll(cx));
        self.reserving = None;
        Poll::Ready(reserved.ok())
    }

    /// The first octet is there: what was set of the reply until then goes out with it.
    fn begin(&mut self, state: &mut StoreState) {
        if self.head.is_none() {
            let head = state.ambient.as_mut().and_then(take_head);
            self.is_octets = head.as_ref().is_some_and(|head| head.is_octets());
            self.head = Some(head);
        }
    }

    /// Sends what is in `octets` for as long as there is room.
    fn send(
        &mut self,
        octets: &[u8],
        permit: OwnedPermit<Outbound>,
        bytes_max: usize,
    ) -> Result<Sent, TooLong> {
        let mut n_messages = 0;
        let mut permit = Some(permit);
        let mut rest = octets;
        while !rest.is_empty() {
            let next = || self.outbound.clone().try_reserve_owned().ok();
            let Some(permit) = permit.take().or_else(next) else {
                break;
            };
            let (n_taken, message) = if self.is_octets {
                let piece = rest.get(..PIECE_BYTES_MAX).unwrap_or(rest);
                (piece.len(), Some(Bytes::copy_from_slice(piece)))
            } else {
                self.streams.outbound.lock().message.read(rest, bytes_max)?
            };
            rest = rest.get(n_taken..).unwrap_or_default();
            if let Some(message) = message {
                let head = self.head.as_mut().and_then(Option::take);
                permit.send(Outbound { head, message });
                n_messages += 1;
            }
        }
        Ok(Sent {
            n_taken: octets.len() - rest.len(),
            n_messages,
        })
    }
}

impl StreamConsumer<StoreState> for ReplyOctets {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, StoreState>,
        mut source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let this = self.get_mut();
        this.streams.waits.set_outbound(false);
        let permit = match this.poll_room(cx) {
            Poll::Ready(Some(permit)) => permit,
            Poll::Ready(None) => return Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => {
                this.streams.waits.set_outbound(true);
                return Poll::Pending;
            }
        };
        if source.remaining(&mut store) == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        this.begin(store.data_mut());
        let limit = store.data().guest.spec.limits.output_bytes_max;
        let mut direct = source.reborrow().as_direct(store.as_context_mut());
        let sent = this.send(direct.remaining(), permit, limit);
        let Sent {
            n_taken,
            n_messages,
        } = match sent {
            Ok(sent) => sent,
            Err(TooLong { length }) => {
                return Poll::Ready(Err(Stop::Output { length, limit }.into()));
            }
        };
        direct.mark_read(n_taken);
        if n_messages > 0 {
            this.streams.waits.on_crossing(store.data_mut());
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

impl Drop for RequestOctets {
    /// Nobody reads it any more, so nobody waits for it.
    fn drop(&mut self) {
        self.streams.waits.set_inbound(false);
    }
}

impl Drop for ReplyOctets {
    fn drop(&mut self) {
        self.streams.waits.set_outbound(false);
        self.streams.outbound.lock().is_closed = true;
        self.streams.closed.wake();
    }
}
