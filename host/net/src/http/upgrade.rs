//! A connection of HTTP/1.1, or a stream of HTTP/2 (RFC 8441), that goes on in another protocol once its
//! answer has gone.
//!
//! ```text
//! answer: 101, or 200 ─▶ hyper hands the stream back
//!    └─ Upgrade ─▶ the connection ─▶ Upgrade::serve, in its task or one that it owns
//! ```

use bytes::BytesMut;
use http::{header, request};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use postern_core::BoxFuture;
use tokio::{sync::mpsc, task::JoinSet};

use super::{activity::InFlight, tracked::CutStream};
use crate::{Shutdown, link::DuplexLink};

/// A stream that is to be served in another way, once its answer has gone.
pub(super) struct Upgrade {
    /// Of HTTP/2; a connection of HTTP/1 hands its stream back itself.
    stream: Option<OnUpgrade>,
    serve: ServeStream,
}

pub(super) type ServeStream = Box<dyn FnOnce(UpgradedStream, Shutdown) -> BoxFuture<()> + Send>;

/// A stream, and what was read of it behind the request.
pub(super) struct UpgradedStream {
    pub(super) link: Box<dyn DuplexLink>,
    pub(super) input: BytesMut,
}

/// Where requests leave their upgrades for their connection.
pub(super) type UpgradeSender = mpsc::UnboundedSender<Upgrade>;

/// The upgrades of one connection. At most one for each request that it answers.
pub(super) struct Upgrades(mpsc::UnboundedReceiver<Upgrade>);

impl Upgrades {
    pub(super) fn new() -> (UpgradeSender, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Self(receiver))
    }

    /// That which ended a connection of HTTP/1.
    pub(super) fn take(&mut self) -> Option<Upgrade> {
        self.0.try_recv().ok()
    }

    /// Serves the streams of a connection of HTTP/2. Does not end; dropping it ends them.
    pub(super) async fn serve_streams(&mut self, shutdown: &Shutdown) {
        let mut tasks = JoinSet::new();
        loop {
            tokio::select! {
                Some(ended) = tasks.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "the task of a websocket ended");
                    }
                }
                Some(Upgrade { stream: Some(stream), serve }) = self.0.recv() => {
                    let shutdown = shutdown.clone();
                    tasks.spawn(async move {
                        match stream.await {
                            Ok(stream) => {
                                let link = Box::new(TokioIo::new(stream));
                                let input = BytesMut::new();
                                serve(UpgradedStream { link, input }, shutdown).await;
                            }
                            Err(error) => tracing::debug!(%error, "not upgraded"),
                        }
                    });
                }
                else => std::future::pending::<()>().await,
            }
        }
    }
}

impl Upgrade {
    /// Has the stream of the request of `head` served by `serve`. To be made in the task of the request.
    pub(super) fn new(head: &mut request::Parts, in_flight: &InFlight, serve: ServeStream) -> Self {
        // Always there where the request asked for it.
        let upgraded = head.extensions.remove::<OnUpgrade>();
        let (cut, in_flight) = (CutStream::of_task(), in_flight.go_on());
        Self {
            stream: upgraded.filter(|_| head.version == http::Version::HTTP_2),
            serve: Box::new(move |stream, shutdown| {
                let serving = serve(stream, shutdown);
                Box::pin(async move {
                    let _kept = (cut, in_flight);
                    serving.await;
                })
            }),
        }
    }

    /// Serves the stream that the connection has handed back.
    pub(super) async fn serve(self, stream: UpgradedStream, shutdown: Shutdown) {
        (self.serve)(stream, shutdown).await;
    }
}

/// What the client of `head` asks to go on in: `upgrade`, where `connection` names it, or `:protocol` of
/// an extended CONNECT. Of several the server would choose one; nobody here does.
pub(super) fn asked_protocol(head: &request::Parts) -> Option<&str> {
    head.extensions.get::<OnUpgrade>()?;
    if head.version == http::Version::HTTP_2 {
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
    let is_only_one = protocols.next().is_none();
    protocol.to_str().ok().filter(|_| is_only_one)
}
