//! A connection of HTTP/2: requests share it, up to `STREAMS_MAX` at a time.

use std::{
    pin::pin,
    sync::{Arc, Weak},
    time::Duration,
};

use hyper::{client::conn::http2, rt::Executor};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::sleep;
use tracing::debug;

use super::{
    connections::{Connections, OpenConnection},
    request_body::RequestBody,
};
use crate::{http::head::HEAD_BYTES_MAX, link::StreamLink};

pub(super) type Http2Sender = http2::SendRequest<RequestBody>;

/// A connection that takes requests.
pub(super) struct SharedHttp2 {
    pub(super) id: u64,
    sender: Http2Sender,
    /// One more than there are streams.
    streams: Arc<Http2Streams>,
    open: Arc<OpenConnection>,
}

#[derive(Debug)]
struct Http2Streams;

/// A request on such a connection. Dropping it resets its stream, if that is not over.
pub(super) struct Http2Lease {
    pub(super) sender: Http2Sender,
    pub(super) is_reused: bool,
    _stream: Arc<Http2Streams>,
    _open: Arc<OpenConnection>,
}

/// Runs what hyper wants to run beside a connection.
#[derive(Clone)]
struct OwnedTasks(Weak<Connections>);

impl<F> Executor<F> for OwnedTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        if let Some(connections) = self.0.upgrade() {
            connections.spawn(task);
        }
    }
}

impl SharedHttp2 {
    /// A stream of it, where it takes one more.
    pub(super) fn lease(&self, is_reused: bool) -> Option<Http2Lease> {
        let has_room = Arc::strong_count(&self.streams) <= STREAMS_MAX;
        (has_room && !self.sender.is_closed()).then(|| Http2Lease {
            sender: self.sender.clone(),
            is_reused,
            _stream: Arc::clone(&self.streams),
            _open: Arc::clone(&self.open),
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    pub(super) fn is_idle(&self) -> bool {
        Arc::strong_count(&self.streams) == 1
    }
}

/// Begins HTTP/2 on `stream`.
///
/// # Errors
/// What hyper says.
pub(super) async fn open(
    connections: &Arc<Connections>,
    stream: Box<dyn StreamLink>,
    id: u64,
    open: Arc<OpenConnection>,
) -> hyper::Result<SharedHttp2> {
    let mut builder = http2::Builder::new(OwnedTasks(Arc::downgrade(connections)));
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        // No streams that nobody reads can hold up the others.
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(PING_INTERVAL))
        .keep_alive_timeout(PING_TIMEOUT);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    connections.spawn(drive(Arc::downgrade(connections), id, connection));
    Ok(SharedHttp2 {
        id,
        sender,
        streams: Arc::new(Http2Streams),
        open,
    })
}

async fn drive(
    connections: Weak<Connections>,
    id: u64,
    connection: http2::Connection<TokioIo<Box<dyn StreamLink>>, RequestBody, OwnedTasks>,
) {
    let mut connection = pin!(connection);
    let mut was_idle = false;
    loop {
        let Some(limit) = connections
            .upgrade()
            .map(|connections| connections.config().keep_timeout)
        else {
            return;
        };
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    debug!(%error, "connection with an upstream failed");
                }
                break;
            }
            // Closed between one and two limits after its last stream.
            () = sleep(limit / 2) => {
                let Some(connections) = connections.upgrade() else { return };
                let is_idle = connections.is_idle(id);
                if is_idle && was_idle {
                    connections.forget(id);
                }
                was_idle = is_idle;
            }
        }
    }
    if let Some(connections) = connections.upgrade() {
        connections.forget(id);
    }
}

/// Requests on one connection before another is opened: what RFC 9113 section 6.5.2 recommends that a
/// server takes at least.
pub(super) const STREAMS_MAX: usize = 100;
/// Windows of all streams and of one more.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * 101;
/// Octets of a response that arrive before they are asked for: the initial window of RFC 9113 section
/// 6.9.2.
const STREAM_WINDOW: u32 = 65_535;
/// How often a connection with streams is asked for a sign of life, and how long that may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
