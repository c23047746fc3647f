//! The events of a session, as whoever subscribed reads them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;
use postern_core::event::Delivery;

use super::Client;

/// Events in the order of arrival. Whoever reads too slowly loses the oldest, and is told how many by
/// the `missed` of the next. There should be one reader at a time: only the last that waited is woken.
#[derive(Debug)]
pub struct Events(Client);

impl Events {
    pub(super) const fn new(client: Client) -> Self {
        Self(client)
    }

    /// The next event; `None` once the session has ended.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| self.0.shared.events.poll_take(cx)).await
    }
}

impl Stream for Events {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.0.shared.events.poll_take(cx)
    }
}
