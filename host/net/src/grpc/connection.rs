//! One HTTP/2 connection with an instance. Calls share it; a task of its own moves its octets until
//! it ends, is idle for too long, or gives no sign of life.
//!
//! `h2` and not `hyper`, whose client does not tell whether a request that waited for a stream was sent
//! when GOAWAY came (ADR 0070).

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{Ping, PingPong, client};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::{config::GrpcUpstreamConfig, connections::Connections};
use crate::link::StreamLink;

/// What is read and written on a connection, to be polled to its end.
pub(super) type Http2 = client::Connection<Box<dyn StreamLink>, Bytes>;

/// A connection that takes calls.
pub(super) struct Connection {
    sender: client::SendRequest<Bytes>,
    n_calls: AtomicUsize,
    /// It takes no call any more: the instance has said GOAWAY, or it has ended.
    is_draining: AtomicBool,
}

/// A call's place on a connection.
#[must_use = "what is admitted must be finished"]
pub(super) struct Lease {
    connection: Arc<Connection>,
    /// They wait for places, and calls under way keep what runs their connections.
    connections: Arc<Connections>,
}

impl Connection {
    pub(super) fn n_calls(&self) -> usize {
        self.n_calls.load(Ordering::Acquire)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    pub(super) fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
    }

    /// Calls that the instance allows at a time, as far as it has said.
    pub(super) fn n_allowed(&self) -> usize {
        self.sender.current_max_send_streams()
    }

    /// A place on it. Whoever asks holds the lock of the pool, so that no two take the last one.
    pub(super) fn lease(self: &Arc<Self>, connections: &Arc<Connections>) -> Lease {
        self.n_calls.fetch_add(1, Ordering::AcqRel);
        Lease {
            connection: Arc::clone(self),
            connections: Arc::clone(connections),
        }
    }
}

impl Lease {
    /// Opens the stream of a call.
    ///
    /// # Errors
    /// What `h2` says. Nothing was sent, and the connection takes no more calls.
    pub(super) async fn open(
        &self,
        head: http::Request<()>,
    ) -> Result<(client::ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let mut sender = self.connection.sender.clone();
        let ready = poll_fn(|cx| sender.poll_ready(cx)).await;
        let opened = ready.and_then(|()| sender.send_request(head, false));
        if opened.is_err() {
            self.drain();
        }
        opened
    }

    /// The instance has said that it takes no more on this connection.
    pub(super) fn drain(&self) {
        self.connection.drain();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.connection.n_calls.fetch_sub(1, Ordering::AcqRel);
        self.connections.on_freed();
    }
}

/// Begins HTTP/2 on `link`.
///
/// # Errors
/// What `h2` says.
pub(super) async fn begin(
    link: Box<dyn StreamLink>,
    config: &GrpcUpstreamConfig,
) -> Result<(Arc<Connection>, Http2), h2::Error> {
    let (sender, http2) = client::Builder::new()
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        // No streams that nobody reads can hold up the others.
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(config.streams_max)
        .max_header_list_size(METADATA_BYTES_MAX)
        .handshake(link)
        .await?;
    let connection = Connection {
        sender,
        n_calls: AtomicUsize::new(0),
        is_draining: AtomicBool::new(false),
    };
    Ok((Arc::new(connection), http2))
}

/// Moves the octets of a connection, and takes it out of the pool when it is over.
pub(super) async fn drive(
    connections: Weak<Connections>,
    connection: Weak<Connection>,
    mut http2: Http2,
    config: GrpcUpstreamConfig,
) {
    let pings = http2.ping_pong();
    let mut http2 = pin!(http2);
    let mut silent = pin!(watch(pings, connection.clone(), &config));
    let mut idle = pin!(until_idle(connection.clone(), config.keep_timeout));
    tokio::select! {
        biased;
        ended = http2.as_mut() => {
            if let Err(error) = ended {
                debug!(%error, "connection with an instance of gRPC failed");
            }
        }
        () = silent.as_mut() => debug!("connection with an instance of gRPC gives no sign of life"),
        () = idle.as_mut() => {
            forget(&connections, &connection);
            // Without anybody who could send over it, it says GOAWAY and ends. A call that has taken it in
            // this very moment ends before.
            if let Err(error) = http2.await {
                debug!(%error, "idle connection with an instance of gRPC failed");
            }
        }
    }
    forget(&connections, &connection);
}

fn forget(connections: &Weak<Connections>, connection: &Weak<Connection>) {
    if let Some(connection) = connection.upgrade() {
        connection.drain();
    }
    if let Some(connections) = connections.upgrade() {
        connections.forget_draining();
    }
}

/// Ready when a connection with calls gives no sign of life.
async fn watch(pings: Option<PingPong>, connection: Weak<Connection>, config: &GrpcUpstreamConfig) {
    let Some(mut pings) = pings.filter(|_| !config.keep_alive_interval.is_zero()) else {
        return std::future::pending().await;
    };
    loop {
        sleep(config.keep_alive_interval).await;
        let is_used = connection
            .upgrade()
            .is_some_and(|connection| connection.n_calls() > 0);
        if !is_used {
            continue;
        }
        match timeout(config.keep_alive_timeout, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => {}
            // The connection itself tells of its end.
            Ok(Err(_)) => return std::future::pending().await,
            Err(_) => return,
        }
    }
}

/// Ready between one and one and a half `keep_timeout` after the last call.
async fn until_idle(connection: Weak<Connection>, keep_timeout: Duration) {
    let mut n_idle = 0;
    while n_idle < 3 {
        sleep(keep_timeout / 2).await;
        let is_idle = connection
            .upgrade()
            .is_none_or(|connection| connection.n_calls() == 0);
        n_idle = if is_idle { n_idle + 1 } else { 0 };
    }
}

/// Octets of a reply that arrive before they are asked for.
const STREAM_WINDOW: u32 = 256 * 1024;
/// Windows of all streams that most servers take, and of one more.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 101;
/// Octets of metadata of one reply. gRPC's soft limit is 8 KiB; what is over 64 KiB is refused here.
const METADATA_BYTES_MAX: u32 = 64 * 1024;
