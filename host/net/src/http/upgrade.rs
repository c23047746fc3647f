//! A connection of HTTP/1.1, or a stream of HTTP/2, that goes on in another protocol: who goes on with
//! it, and when.
//!
//! ```text
//! HTTP/1.1: answer gives `GoOn` ─▶ hyper writes 101 and ends ─▶ connection.rs runs it in its own task
//! HTTP/2:   answer gives `GoOn` ─▶ hyper writes 200 ─▶ a task of the connection runs it
//! ```
//! What goes on ends by itself when its client is gone or the listener drains, as far as its protocol
//! has a way to say so; the acceptor cuts what is left at `drain_timeout`.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{HeaderValue, Response, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use postern_core::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::JoinSet,
};
use tracing::debug;

use super::activity::InFlight;
use crate::{Counters, Shutdown, link::StreamLink};

/// Goes on with a stream once its client has been told so.
pub(super) type GoOn = Box<dyn FnOnce(Box<dyn StreamLink>, Shutdown) -> BoxFuture<()> + Send>;

/// What is to go on of one connection. Clones are of the same connection.
#[derive(Clone)]
pub(super) struct Upgrades(Arc<ConnectionUpgrades>);

struct ConnectionUpgrades {
    /// Of HTTP/1.1: the whole connection.
    whole: Mutex<Option<GoOn>>,
    /// Of HTTP/2: streams. They end with the connection.
    streams: Mutex<JoinSet<()>>,
    shutdown: Shutdown,
}

/// The stream of a connection that was upgraded: what was read too early comes first.
struct UpgradedLink<S> {
    stream: S,
    first: Bytes,
    counters: Arc<Counters>,
}

impl fmt::Debug for Upgrades {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upgrades")
    }
}

impl Upgrades {
    pub(super) fn new(shutdown: Shutdown) -> Self {
        Self(Arc::new(ConnectionUpgrades {
            whole: Mutex::default(),
            streams: Mutex::default(),
            shutdown,
        }))
    }

    /// Whether the client of `head` asks to go on in `protocol`, and its connection can.
    pub(super) fn is_asked_for(head: &http::request::Parts, protocol: &str) -> bool {
        let can_go_on = head.extensions.get::<OnUpgrade>().is_some();
        can_go_on && protocol_of(head).is_some_and(|asked| asked.eq_ignore_ascii_case(protocol))
    }

    /// Answers `head` with the head of a response that `response` is otherwise, and has `go_on` go on.
    pub(super) fn grant<B>(
        &self,
        head: &mut http::request::Parts,
        in_flight: &InFlight,
        response: &mut Response<B>,
        go_on: GoOn,
    ) {
        let Some(on_upgrade) = head.extensions.remove::<OnUpgrade>() else {
            return;
        };
        if head.version < Version::HTTP_2 {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            let headers = response.headers_mut();
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            if let Some(protocol) = head.headers.get(header::UPGRADE) {
                let granted = headers.entry(header::UPGRADE);
                granted.or_insert_with(|| protocol.clone());
            }
            *self.0.whole.lock() = Some(go_on);
            return;
        }
        *response.status_mut() = StatusCode::OK;
        response.headers_mut().remove(header::UPGRADE);
        // The connection is not idle while a stream of it goes on.
        let (in_flight, shutdown) = (in_flight.answered(), self.0.shutdown.clone());
        let mut streams = self.0.streams.lock();
        while streams.try_join_next().is_some() {}
        streams.spawn(async move {
            let _in_flight = in_flight;
            match on_upgrade.await {
                Ok(upgraded) => go_on(Box::new(TokioIo::new(upgraded)), shutdown).await,
                Err(error) => debug!(%error, "a stream was not upgraded"),
            }
        });
    }

    /// What goes on with the whole connection, once HTTP is over on it.
    pub(super) fn take(&self) -> Option<GoOn> {
        self.0.whole.lock().take()
    }

    /// Runs `go_on` with `stream`, of which `first` was read already, until it ends.
    pub(super) async fn run<S: StreamLink>(
        &self,
        go_on: GoOn,
        stream: S,
        first: Bytes,
        counters: Arc<Counters>,
    ) {
        let link = UpgradedLink {
            stream,
            first,
            counters,
        };
        go_on(Box::new(link), self.0.shutdown.clone()).await;
    }
}

/// What the client of `head` asks to go on in: `upgrade`, where `connection` names it, or `:protocol` of
/// an extended CONNECT (RFC 8441).
pub(super) fn protocol_of(head: &http::request::Parts) -> Option<&str> {
    if head.version >= Version::HTTP_2 {
        let protocol = head.extensions.get::<hyper::ext::Protocol>();
        return protocol.map(hyper::ext::Protocol::as_str);
    }
    let connection = head.headers.get_all(header::CONNECTION).iter();
    let mut options = connection
        .filter_map(|options| options.to_str().ok())
        .flat_map(|options| options.split(','));
    let is_named = options.any(|option| option.trim().eq_ignore_ascii_case("upgrade"));
    let mut protocols = head.headers.get_all(header::UPGRADE).iter();
    let protocol = protocols.next().filter(|_| is_named)?;
    // A list leaves the choice to the server; nobody here chooses.
    let is_only_one = protocols.next().is_none();
    protocol.to_str().ok().filter(|_| is_only_one)
}

impl<S: StreamLink> AsyncRead for UpgradedLink<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let n_octets = this.first.len().min(buffer.remaining());
            buffer.put_slice(this.first.get(..n_octets).unwrap_or_default());
            this.first.advance(n_octets);
            return Poll::Ready(Ok(()));
        }
        let n_before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
        let n_octets = buffer.filled().len() - n_before;
        this.counters.bytes_in.add(n_octets as u64);
        Poll::Ready(Ok(()))
    }
}

impl<S: StreamLink> AsyncWrite for UpgradedLink<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, octets))?;
        self.counters.bytes_out.add(written as u64);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        self.counters.bytes_out.add(written as u64);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn protocol(pairs: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::builder();
        for (name, value) in pairs {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        protocol_of(&head).map(str::to_owned)
    }

    #[test]
    fn a_protocol_is_asked_for_by_both_fields_and_alone() {
        let websocket = ("upgrade", "websocket");
        let asked = Some("websocket".to_owned());
        assert_eq!(protocol(&[("connection", "Upgrade"), websocket]), asked);
        assert_eq!(
            protocol(&[("connection", "keep-alive, upgrade"), websocket]),
            asked
        );
        assert_eq!(protocol(&[websocket]), None);
        assert_eq!(protocol(&[("connection", "upgrade")]), None);
        let two = [("connection", "upgrade"), websocket, ("upgrade", "h2c")];
        assert_eq!(protocol(&two), None);
    }
}
