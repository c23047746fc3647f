//! Role `async-stream-handler`: calls of many messages, answered without waiting in the host. In a component
//! it needs the feature `async-streams`.
//!
//! ```
//! use postern_guest::{AsyncReply, AsyncRequest, AsyncStreamHandler, Octets, Result};
//!
//! #[derive(Default)]
//! struct Echo;
//!
//! impl AsyncStreamHandler for Echo {
//!     async fn handle(
//!         &mut self,
//!         _: &str,
//!         _: &str,
//!         request: &mut AsyncRequest,
//!         reply: &mut AsyncReply,
//!     ) -> Result<()> {
//!         while let Some(message) = request.receive::<Octets>().await? {
//!             reply.send(message).await?;
//!         }
//!         Ok(())
//!     }
//! }
//!
//! # #[cfg(not(target_arch = "wasm32"))]
//! postern_guest::export!(Echo: AsyncStreamHandler);
//! ```

use std::{fmt, mem};

use crate::{
    body::{Decode, Encode},
    call::{self, BodyKind},
    failure::{Failure, Kind},
    host::async_stream::{self as host, Reader, Writer},
    plugin::Plugin,
    stream,
};

/// Octets of the length before each message. wit, interface `async-stream-handler`.
pub(crate) const LENGTH_BYTES: usize = 4;
/// Octets that are asked for at once.
const READ_BYTES: usize = 64 * 1024;

/// Answers calls of many messages.
pub trait AsyncStreamHandler: Plugin {
    /// Answers one call. An instance has one call at a time. The reply ends when this returns.
    ///
    /// # Errors
    /// What the call fails with, after what was sent.
    fn handle(
        &mut self,
        service: &str,
        method: &str,
        request: &mut AsyncRequest,
        reply: &mut AsyncReply,
    ) -> impl Future<Output = Result<(), Failure>>;
}

/// The messages of the request, or the pieces of a body of octets, whose ends mean nothing.
pub struct AsyncRequest {
    reader: Reader,
    is_octets: bool,
    /// What was read and not given, from `start` on.
    read: Vec<u8>,
    start: usize,
    ended: bool,
}

/// The messages of the reply; once [`call::set_octets`] was called before the first, pieces of one body.
pub struct AsyncReply {
    writer: Writer,
}

impl AsyncRequest {
    pub(crate) fn new(reader: Reader) -> Self {
        Self {
            reader,
            is_octets: call::request_kind() == BodyKind::Octets,
            read: Vec::new(),
            start: 0,
            ended: false,
        }
    }

    /// The next message; `None` after the last.
    ///
    /// # Errors
    /// `invalid-argument` when the message is not a `T`, and whatever ended the request.
    pub async fn receive<T: Decode>(&mut self) -> Result<Option<T>, Failure> {
        let message = if self.is_octets {
            self.piece().await?
        } else {
            self.message().await?
        };
        message.map(T::decode).transpose()
    }

    async fn piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        if !self.ended {
            let (piece, ended) = self.reader.read(Vec::with_capacity(READ_BYTES)).await;
            self.ended = ended;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        host::request_failure().map_or(Ok(None), Err)
    }

    async fn message(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut length = [0; LENGTH_BYTES];
        for n_read in 0..LENGTH_BYTES {
            let Some(octet) = self.octet().await? else {
                return if n_read == 0 { Ok(None) } else { Err(within()) };
            };
            length.rotate_left(1);
            if let Some(last) = length.last_mut() {
                *last = octet;
            }
        }
        // Within the memory of a component, where an address has as many octets.
        let wanted = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        self.exactly(wanted).await.map(Some)
    }

    async fn octet(&mut self) -> Result<Option<u8>, Failure> {
        while self.start == self.read.len() {
            if self.ended {
                return host::request_failure().map_or(Ok(None), Err);
            }
            self.refill().await;
        }
        let octet = self.read.get(self.start).copied();
        self.start += 1;
        Ok(octet)
    }

    /// So many octets. What is not at hand is read to where it is wanted.
    async fn exactly(&mut self, wanted: usize) -> Result<Vec<u8>, Failure> {
        let at_hand = self.read.get(self.start..).unwrap_or_default();
        let taken = at_hand.get(..wanted).unwrap_or(at_hand);
        let mut message = Vec::with_capacity(wanted);
        message.extend_from_slice(taken);
        self.start += taken.len();
        while message.len() < wanted {
            if self.ended {
                return Err(host::request_failure().unwrap_or_else(within));
            }
            // The room is what the vector has beyond its length, which may be more than was asked for.
            let missing = wanted - message.len();
            if message.capacity() - message.len() == missing {
                let (read, ended) = self.reader.read(message).await;
                message = read;
                self.ended = ended;
            } else {
                self.refill().await;
                let piece = self.read.get(..missing).unwrap_or(&self.read);
                message.extend_from_slice(piece);
                self.start = piece.len();
            }
        }
        Ok(message)
    }

    /// Reads once more, over what was given.
    async fn refill(&mut self) {
        let mut room = mem::take(&mut self.read);
        room.clear();
        room.reserve(READ_BYTES);
        let (read, ended) = self.reader.read(room).await;
        self.read = read;
        self.start = 0;
        self.ended = ended;
    }
}

impl AsyncReply {
    pub(crate) fn new(writer: Writer) -> Self {
        stream::set_replies_octets(false);
        Self { writer }
    }

    /// Sends one message. Waits while the caller reads slowly.
    ///
    /// # Errors
    /// `internal` when the value has no form in JSON, `cancelled` when the caller has gone.
    pub async fn send<T: Encode>(&mut self, message: T) -> Result<(), Failure> {
        let message = message.encode()?;
        let octets = if stream::replies_octets() {
            message
        } else {
            framed(&message)?
        };
        if octets.is_empty() || self.writer.write_all(octets).await {
            return Ok(());
        }
        Err(Failure::new(Kind::Cancelled, "the caller has gone away"))
    }
}

impl fmt::Debug for AsyncRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncRequest")
            .field("is_octets", &self.is_octets)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for AsyncReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncReply")
    }
}

/// A message with its length before it.
pub(crate) fn framed(message: &[u8]) -> Result<Vec<u8>, Failure> {
    let length = u32::try_from(message.len());
    let length = length.map_err(|_| Failure::internal("a message has more than 4 GiB"))?;
    let mut octets = Vec::with_capacity(LENGTH_BYTES + message.len());
    octets.extend_from_slice(&length.to_be_bytes());
    octets.extend_from_slice(message);
    Ok(octets)
}

fn within() -> Failure {
    Failure::data_loss("the request has ended within a message")
}
