//! Octets of a reply that says how many they are.
//!
//! **Invariant:** what is sent is as long as what was said, or breaks off before its end. The last piece
//! is sent once the stream has ended, so that its end, and what follows it, is seen.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use postern_core::{BodyStream, Error};

use crate::ConnectionBytes;

/// A stream and how much of it is to come.
pub(super) struct SizedOctets {
    pub(super) stream: BodyStream,
    bytes: ConnectionBytes,
    /// Octets that the stream is still to give.
    left: u64,
    last: Bytes,
    has_ended: bool,
}

impl SizedOctets {
    pub(super) const fn new(stream: BodyStream, bytes: ConnectionBytes, length: u64) -> Self {
        Self {
            stream,
            bytes,
            left: length,
            last: Bytes::new(),
            has_ended: false,
        }
    }

    /// Octets that have not been given to the client.
    pub(super) const fn unsent(&self) -> u64 {
        self.left + self.last.len() as u64
    }

    /// The next piece, which counts as held until the client has taken it.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        loop {
            if self.has_ended {
                let last = mem::take(&mut self.last);
                return Poll::Ready((!last.is_empty()).then_some(Ok(last)));
            }
            let piece = match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.has_ended = true;
                    match self.left {
                        0 => continue,
                        left => {
                            let message = format!("the reply ends {left} octets before its end");
                            return Poll::Ready(Some(Err(Error::internal(message))));
                        }
                    }
                }
            };
            let length = piece.len() as u64;
            if length == 0 {
                continue;
            }
            if length > self.left {
                let more = length - self.left;
                let message = format!("the reply has {more} octets or more than it says");
                return Poll::Ready(Some(Err(Error::internal(message))));
            }
            self.left -= length;
            let piece = attach(piece, &self.bytes);
            if self.left > 0 {
                return Poll::Ready(Some(piece));
            }
            match piece {
                Ok(piece) => self.last = piece,
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

/// A piece of a reply, which counts as held until the client has taken it.
pub(super) fn attach(octets: Bytes, bytes: &ConnectionBytes) -> Result<Bytes, Error> {
    if octets.len() < ATTACHED_BYTES_MIN {
        return Ok(octets);
    }
    Ok(bytes.hold(octets.len())?.attach_to(octets))
}

/// Octets from which on a reply counts until the last of them is written; shorter ones count until
/// they are handed to the connection, of which each stream has one.
pub(super) const ATTACHED_BYTES_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use super::*;
    use crate::ByteBudget;

    async fn read(pieces: &'static [&'static str], length: u64) -> Result<Vec<Bytes>, String> {
        let pieces = pieces
            .iter()
            .map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let stream = BodyStream::new(futures_util::stream::iter(pieces));
        let bytes = Arc::new(ByteBudget::unlimited()).connection(1 << 20);
        let mut octets = SizedOctets::new(stream, bytes, length);
        let mut read = Vec::new();
        let mut n_read = 0;
        while let Some(piece) = poll_fn(|cx| octets.poll(cx)).await {
            let piece = piece.map_err(|error| error.message.into_owned())?;
            n_read += piece.len() as u64;
            assert_eq!(octets.unsent(), length - n_read);
            read.push(piece);
        }
        Ok(read)
    }

    #[tokio::test]
    async fn as_many_octets_are_sent_as_were_said_or_an_end_before_the_end() {
        assert_eq!(
            read(&["ab", "", "c"], 3).await,
            Ok(vec!["ab".into(), "c".into()])
        );
        assert_eq!(read(&[], 0).await, Ok(vec![]));
        let short = "the reply ends 1 octets before its end";
        assert_eq!(read(&["ab"], 3).await, Err(short.to_owned()));
        let long = "the reply has 1 octets or more than it says";
        assert_eq!(read(&["ab", "cd"], 3).await, Err(long.to_owned()));
        assert_eq!(read(&["abc", "d"], 3).await, Err(long.to_owned()));
    }
}
