//! The messages of a call on their way to an instance: framed, packed where that is configured, sent as
//! the instance has room. A stream has a task of its own, so that it flows whether or not its reply is
//! read.
//!
//! **Invariant:** a call that the instance has not begun can be sent once more on another connection:
//! what was read of a stream is kept until the reply begins, up to `REPLAY_BYTES_MAX`.
//! (gRPC proposal A6, "Transparent Retries", and its bound on what a client buffers.)

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use h2::{Reason, SendStream};
use parking_lot::Mutex;
use postern_core::{Blame, Body, BodyStream, Error, message_codec::Direction, service::CallKind};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::config::GrpcUpstreamConfig;
use crate::{
    ConnectionBytes,
    http::{
        Coding,
        grpc::{
            coding::Packing,
            frame::{self, COMPRESSED},
        },
    },
};

/// The messages of one call.
pub(super) enum Outgoing {
    /// All of them, as they are sent.
    AtHand(Bytes),
    Stream(Messages),
}

/// How messages become frames.
#[derive(Debug, Clone)]
pub(super) struct Framing {
    coding: Option<Coding>,
    message_bytes_max: usize,
    /// What coders take is counted here.
    bytes: ConnectionBytes,
}

/// Messages that arrive over time, as frames.
pub(super) struct Messages {
    stream: BodyStream,
    framing: Framing,
    has_ended: bool,
    /// Frames that were read, in order; `None` once they are too many to be kept.
    kept: Option<VecDeque<Bytes>>,
    n_kept_bytes: usize,
    /// How many of them this connection was given.
    n_sent: usize,
}

/// What sends the messages of a call. Dropped, it sends no more and resets the stream that is not over.
pub(super) enum Sender {
    /// All were handed over.
    Done,
    Task {
        task: AbortOnDropHandle<Messages>,
        told: Arc<Told>,
    },
}

/// What the task that sends and whoever reads the reply tell each other.
#[derive(Default)]
pub(super) struct Told {
    /// To give the messages back.
    stop: Notify,
    /// The reply has begun: the call is not sent once more.
    has_begun: AtomicBool,
    /// Why the messages of the caller ended early.
    fault: Mutex<Option<Error>>,
}

impl Framing {
    pub(super) fn new(config: &GrpcUpstreamConfig, bytes: ConnectionBytes) -> Self {
        Self {
            coding: config.compression,
            message_bytes_max: config.send_bytes_max,
            bytes,
        }
    }

    /// # Errors
    /// `resource-exhausted` for a message over the limit.
    async fn frame(&self, message: Bytes) -> Result<Bytes, Error> {
        let limit = self.message_bytes_max;
        let refused = |error: frame::MessageFrameError| error.into_error(KEY, Blame::Client);
        if message.len() <= limit
            && let Some(coding) = self.coding
            // Where there is no room for a coder the message goes as it is.
            && let Ok(mut packing) = Packing::new(message.clone(), coding, &self.bytes)
        {
            let packed = poll_fn(|cx| packing.poll(cx)).await?;
            if packed.len() < message.len() {
                return frame::frame(COMPRESSED, &packed, limit).map_err(refused);
            }
        }
        frame::frame(0, &message, limit).map_err(refused)
    }
}

impl Outgoing {
    /// # Errors
    /// `resource-exhausted` for a message at hand that is over the limit.
    pub(super) async fn new(
        body: Body,
        kind: Option<CallKind>,
        framing: &Framing,
    ) -> Result<Self, Error> {
        let is_streamed = kind.is_some_and(|kind| Direction::Request.is_streamed(kind));
        match body {
            Body::Empty if is_streamed => Ok(Self::AtHand(Bytes::new())),
            // No message at all is none that a unary method takes.
            Body::Empty => framing.frame(Bytes::new()).await.map(Self::AtHand),
            Body::One(message) => framing.frame(message).await.map(Self::AtHand),
            body @ (Body::Messages(_) | Body::Octets(_)) => {
                let stream = body.into_messages(framing.message_bytes_max);
                Ok(Self::Stream(Messages {
                    stream,
                    framing: framing.clone(),
                    has_ended: false,
                    kept: Some(VecDeque::new()),
                    n_kept_bytes: 0,
                    n_sent: 0,
                }))
            }
        }
    }

    /// Sends all of it on `stream`. What is at hand is left with the connection; there is a copy for
    /// another try.
    pub(super) fn send(self, mut stream: SendStream<Bytes>) -> (Sender, Option<Bytes>) {
        match self {
            Self::AtHand(frames) => {
                // An error says that the stream has ended, and that is told with the reply.
                let _ = stream.send_data(frames.clone(), true);
                (Sender::Done, Some(frames))
            }
            Self::Stream(mut messages) => {
                messages.n_sent = 0;
                let told = Arc::<Told>::default();
                let run = run(messages, stream, Arc::clone(&told));
                let task = AbortOnDropHandle::new(tokio::spawn(run));
                (Sender::Task { task, told }, None)
            }
        }
    }
}

impl Sender {
    /// Why the messages of the caller ended early, once.
    pub(super) fn take_fault(&self) -> Option<Error> {
        match self {
            Self::Done => None,
            Self::Task { told, .. } => told.fault.lock().take(),
        }
    }

    /// The reply has begun.
    pub(super) fn on_reply(&self) {
        if let Self::Task { told, .. } = self {
            told.has_begun.store(true, Ordering::Relaxed);
        }
    }

    /// The messages from the first on, for another try; `None` where they cannot be had again.
    pub(super) async fn take_back(self, at_hand: Option<Bytes>) -> Option<Outgoing> {
        match self {
            Self::Done => at_hand.map(Outgoing::AtHand),
            Self::Task { task, told } => {
                told.stop.notify_one();
                let messages = task.await.ok()?;
                messages
                    .kept
                    .is_some()
                    .then_some(Outgoing::Stream(messages))
            }
        }
    }
}

/// Sends `messages` to their end. Gives them back when it is told to stop, or when nothing more can be
/// sent.
async fn run(mut messages: Messages, mut stream: SendStream<Bytes>, told: Arc<Told>) -> Messages {
    let sent = tokio::select! {
        biased;
        () = told.stop.notified() => return messages,
        sent = messages.send_all(&mut stream, &told) => sent,
    };
    if let Err(Unsent::Source(error)) = sent {
        *told.fault.lock() = Some(error);
        stream.send_reset(Reason::CANCEL);
    }
    // The reply may say that they are to be sent once more.
    told.stop.notified().await;
    messages
}

/// Why not all messages were sent.
enum Unsent {
    /// What gives them failed.
    Source(Error),
    /// The stream has ended; its reply says why.
    Stream,
}

impl Messages {
    async fn send_all(
        &mut self,
        stream: &mut SendStream<Bytes>,
        told: &Told,
    ) -> Result<(), Unsent> {
        while let Some(frame) = self.next().await.map_err(Unsent::Source)? {
            if told.has_begun.load(Ordering::Relaxed) {
                self.kept = None;
            }
            send_frame(stream, frame).await?;
        }
        let ended = stream.send_data(Bytes::new(), true);
        ended.map_err(|_| Unsent::Stream)
    }

    /// The next frame that this connection was not given. Nothing that was read is lost when the future
    /// is dropped but a message that is being packed, of which more cannot be said than that it was read.
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        if let Some(frame) = self.kept.as_ref().and_then(|kept| kept.get(self.n_sent)) {
            self.n_sent += 1;
            return Ok(Some(frame.clone()));
        }
        if self.has_ended {
            return Ok(None);
        }
        let Some(message) = self.stream.next().await else {
            self.has_ended = true;
            return Ok(None);
        };
        // Until it is kept, the call cannot be sent once more.
        let kept = self.kept.take();
        let frame = self.framing.frame(message?).await?;
        self.n_kept_bytes += frame.len();
        if let Some(mut kept) = kept.filter(|_| self.n_kept_bytes <= REPLAY_BYTES_MAX) {
            kept.push_back(frame.clone());
            self.n_sent += 1;
            self.kept = Some(kept);
        }
        Ok(Some(frame))
    }
}

async fn send_frame(stream: &mut SendStream<Bytes>, mut frame: Bytes) -> Result<(), Unsent> {
    while !frame.is_empty() {
        stream.reserve_capacity(frame.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(room)) = room else {
            return Err(Unsent::Stream);
        };
        let part = frame.split_to(room.min(frame.len()));
        stream.send_data(part, false).map_err(|_| Unsent::Stream)?;
    }
    Ok(())
}

/// Frames of a stream that are kept for another try.
const REPLAY_BYTES_MAX: usize = 64 * 1024;
/// Of the configuration, for `Framing::message_bytes_max`.
const KEY: &str = "grpc.send-bytes-max";
