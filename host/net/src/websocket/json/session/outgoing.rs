//! What a session says: replies, events, errors. Each counts as held until the peer has taken it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use postern_core::{Body, Error, Reply, Text};

use super::{JsonSession, StreamedReply};
use crate::{link::StreamLink, websocket::json::message::ServerMessage};

impl<S: StreamLink> JsonSession<S> {
    pub(super) fn on_reply(&mut self, id: Text, reply: Reply) {
        let headers = self.dependencies.form.headers(&reply.headers);
        let content_type = content_type(&headers);
        let payload = match reply.body {
            Body::Empty => None,
            Body::One(payload) => Some(payload),
            body @ (Body::Messages(_) | Body::Octets(_)) => {
                let mut message = ServerMessage::new("open", &id, 0);
                if let Some(status) = reply.status {
                    message.number("http-status", u128::from(status.number()));
                }
                message.headers(&headers);
                self.send(message.finish());
                self.replies.push_back(StreamedReply {
                    id,
                    content_type,
                    body: body.into_messages(self.limits.body_bytes_max),
                });
                return;
            }
        };
        self.by_id.remove(&id);
        let room = payload.as_ref().map_or(0, Bytes::len);
        let mut message = ServerMessage::new("response", &id, room);
        if let Some(status) = reply.status {
            message.number("http-status", u128::from(status.number()));
        }
        message.headers(&headers);
        if let Some(payload) = payload {
            message.payload(content_type.as_deref(), &payload);
        }
        self.send_or(&id, message.finish());
    }

    /// Sends messages of replies, each reply in its turn, as far as there is room.
    pub(super) fn poll_replies(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut n_asked, mut has_sent) = (0, false);
        while n_asked < self.replies.len() && self.has_room() {
            let Some(mut reply) = self.replies.pop_front() else {
                break;
            };
            let polled = Pin::new(&mut reply.body).poll_next(cx);
            match polled {
                Poll::Pending => {
                    n_asked += 1;
                    self.replies.push_back(reply);
                    continue;
                }
                Poll::Ready(Some(Ok(item))) => {
                    let mut message = ServerMessage::new("item", &reply.id, item.len());
                    message.payload(reply.content_type.as_deref(), &item);
                    if self.send_or(&reply.id, message.finish()) {
                        self.replies.push_back(reply);
                    } else {
                        self.by_id.remove(&reply.id);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.by_id.remove(&reply.id);
                    self.send_error(&reply.id, &error);
                }
                Poll::Ready(None) => {
                    self.by_id.remove(&reply.id);
                    let mut message = ServerMessage::new("end", &reply.id, 0);
                    if let Some(trailers) = reply.body.trailers() {
                        message.headers(&self.dependencies.form.headers(&trailers));
                    }
                    self.send(message.finish());
                }
            }
            has_sent = true;
        }
        has_sent
    }

    /// Sends events, as far as there is room; the others wait in their queue, which loses the oldest
    /// and says so.
    pub(super) fn poll_pushes(&mut self, cx: &mut Context<'_>) -> bool {
        let mut has_sent = false;
        loop {
            let (has_room, is_open) = (self.has_room(), !self.is_draining);
            let polled = self
                .pushes
                .poll_delivery(cx, |()| is_open, |(), _| has_room);
            let Poll::Ready(((), delivery)) = polled else {
                return has_sent;
            };
            has_sent = true;
            let message = ServerMessage::event(&delivery);
            match self.dependencies.bytes.hold(message.len()) {
                Ok(held) => self.send(held.attach_to(message)),
                Err(error) => {
                    tracing::debug!(%error, "event not sent");
                    self.pushes.on_unsent(&(), &delivery);
                }
            }
        }
    }

    /// Sends a message about `id`, or the error that there is no room for it. Says which.
    pub(super) fn send_or(&mut self, id: &str, message: Bytes) -> bool {
        match self.dependencies.bytes.hold(message.len()) {
            Ok(held) => {
                self.send(held.attach_to(message));
                true
            }
            Err(error) => {
                self.send_error(id, &error.into());
                false
            }
        }
    }

    pub(super) fn send_error(&mut self, id: &str, error: &Error) {
        let own = error.headers.as_deref();
        let own = own.map(|own| self.dependencies.form.headers(own));
        self.send(ServerMessage::error(id, error, own.as_ref()));
    }

    pub(super) fn send(&mut self, message: Bytes) {
        self.counters.frames_out.add(1);
        self.channel.send(message);
    }
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(http::header::CONTENT_TYPE)?;
    kind.to_str().ok().map(str::to_owned)
}
