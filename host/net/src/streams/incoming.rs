//! A body of the peer, between the driver that gives its parts and whoever reads it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use postern_core::{BodySource, Error, Headers, Text};
use tokio::sync::mpsc;

use super::Item;
use crate::byte_budget::Kept;

/// What a body of the peer consists of, in this order.
pub(super) enum Part {
    Item(Item),
    Trailers(Headers),
}

/// What a reader tells the driver.
pub(super) enum Note {
    Consumed { id: Text, payload_bytes: usize },
    Dropped { id: Text, unread_bytes: usize },
}

/// The messages of a peer, as whoever reads them holds them.
pub(super) struct Incoming {
    id: Text,
    parts: mpsc::UnboundedReceiver<Part>,
    notify: mpsc::UnboundedSender<Note>,
    kept: Option<Kept>,
    trailers: Option<Headers>,
    has_ended: bool,
}

impl Part {
    /// Bytes that count until they are read.
    fn n_bytes(&self) -> usize {
        match self {
            Self::Item(Ok(payload)) => payload.len(),
            Self::Item(Err(_)) | Self::Trailers(_) => 0,
        }
    }
}

impl Incoming {
    /// The body of call `id`, and where its parts go.
    pub(super) fn new(
        id: Text,
        notify: mpsc::UnboundedSender<Note>,
        kept: Option<Kept>,
    ) -> (mpsc::UnboundedSender<Part>, Self) {
        let (sender, parts) = mpsc::unbounded_channel();
        let incoming = Self {
            id,
            parts,
            notify,
            kept,
            trailers: None,
            has_ended: false,
        };
        (sender, incoming)
    }
}

impl Stream for Incoming {
    type Item = Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        let item = match ready!(self.parts.poll_recv(cx)) {
            Some(Part::Item(item)) => Some(item),
            Some(Part::Trailers(trailers)) => {
                self.trailers = Some(trailers);
                None
            }
            None => None,
        };
        if let Some(Ok(payload)) = &item {
            let note = Note::Consumed {
                id: self.id.clone(),
                payload_bytes: payload.len(),
            };
            // A driver that has ended grants no more credit.
            let _ = self.notify.send(note);
        } else {
            self.has_ended = true;
        }
        Poll::Ready(item)
    }
}

impl BodySource for Incoming {
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.kept
            .as_ref()
            .map_or(Ok(()), |kept| kept.grow(n_octets))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.has_ended {
            self.parts.close();
            let unread = std::iter::from_fn(|| self.parts.try_recv().ok());
            let unread_bytes = unread.map(|part| part.n_bytes()).sum();
            let _ = self.notify.send(Note::Dropped {
                id: self.id.clone(),
                unread_bytes,
            });
        }
    }
}
