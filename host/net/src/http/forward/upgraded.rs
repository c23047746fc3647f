//! A connection that goes on in another protocol: what the client sends goes to the upstream, what the
//! upstream sends is the body of the reply. The directions do not wait for each other.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures_core::Stream;
use http::Response;
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use postern_core::{
    Blame, Body, BodySource, BodyStream, Error, Headers, HttpStatus, Reply, headers::HeadersBuilder,
};
use postern_system::clock;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf},
    task::JoinSet,
    time::{Sleep, sleep},
};

use super::{bad_answer, connections::Lease, reply_body};

/// What the upstream sends. Dropping it closes the connection.
struct FromUpstream {
    reader: ReadHalf<TokioIo<Upgraded>>,
    idle: Pin<Box<Sleep>>,
    idle_timeout: Duration,
    /// Octets that the client sent: a stream that moves one way is not idle.
    n_sent: Arc<AtomicU64>,
    seen: u64,
    has_ended: bool,
    /// Writes what the client sends.
    _writer: JoinSet<()>,
    _lease: Lease,
}

/// The reply that lets the client go on.
///
/// # Errors
/// Where the connection ends instead.
pub(super) async fn reply(
    response: Response<Incoming>,
    lease: Lease,
    from_client: BodyStream,
    idle_timeout: Duration,
) -> Result<Reply, Error> {
    let headers = with_upgrade(&response);
    let upgraded = hyper::upgrade::on(response).await;
    let upgraded =
        upgraded.map_err(|error| bad_answer("switches protocols and ends").with_source(error))?;
    let (reader, writer) = tokio::io::split(TokioIo::new(upgraded));
    let n_sent = Arc::<AtomicU64>::default();
    let mut tasks = JoinSet::new();
    tasks.spawn(write(from_client, writer, Arc::clone(&n_sent)));
    let stream = FromUpstream {
        reader,
        idle: Box::pin(sleep(idle_timeout)),
        idle_timeout,
        n_sent,
        seen: 0,
        has_ended: false,
        _writer: tasks,
        _lease: lease,
    };
    let mut reply = Reply::new(headers, Body::Octets(BodyStream::from_source(stream)));
    reply.status = Some(HttpStatus::SWITCHING_PROTOCOLS);
    Ok(reply)
}

/// The fields of the response, and the protocol that it goes on in.
fn with_upgrade(response: &Response<Incoming>) -> Headers {
    let mut fields = HeadersBuilder::from(reply_body::of_response(response.headers()));
    for protocol in response.headers().get_all(http::header::UPGRADE) {
        // Cannot fail: a field of HTTP is shorter than what fields take.
        let pushed = fields.push("upgrade", protocol);
        debug_assert!(pushed.is_ok());
    }
    fields.build()
}

/// Writes what the client sends until it has ended; then the upstream is told so.
async fn write(
    mut from_client: BodyStream,
    mut writer: WriteHalf<TokioIo<Upgraded>>,
    n_sent: Arc<AtomicU64>,
) {
    while let Some(Ok(piece)) = from_client.next().await {
        if write_all(&mut writer, &piece).await.is_err() {
            return;
        }
        n_sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    // The reader learns of an upstream that is gone.
    let _ = writer.shutdown().await;
}

async fn write_all(writer: &mut WriteHalf<TokioIo<Upgraded>>, piece: &[u8]) -> io::Result<()> {
    writer.write_all(piece).await?;
    writer.flush().await
}

impl Stream for FromUpstream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        // Most polls find nothing, so no memory is taken before there is something.
        let mut octets = [MaybeUninit::uninit(); READ_BYTES];
        let mut read = ReadBuf::uninit(&mut octets);
        match Pin::new(&mut this.reader).poll_read(cx, &mut read) {
            Poll::Ready(Ok(())) if read.filled().is_empty() => {
                this.has_ended = true;
                return Poll::Ready(None);
            }
            Poll::Ready(Ok(())) => {
                this.rearm();
                return Poll::Ready(Some(Ok(Bytes::copy_from_slice(read.filled()))));
            }
            Poll::Ready(Err(error)) => {
                this.has_ended = true;
                let message = "the upstream closed the stream";
                let error = Error::unavailable(Blame::Upstream, message).with_source(error);
                return Poll::Ready(Some(Err(error)));
            }
            Poll::Pending => {}
        }
        loop {
            ready!(this.idle.as_mut().poll(cx));
            let n_sent = this.n_sent.load(Ordering::Relaxed);
            if n_sent == this.seen {
                this.has_ended = true;
                let limit = this.idle_timeout.as_millis();
                let message = format!("nothing moved on the stream for {limit} ms");
                let error = Error::deadline_exceeded(Blame::Upstream, message);
                return Poll::Ready(Some(Err(error)));
            }
            this.seen = n_sent;
            this.rearm();
        }
    }
}

impl FromUpstream {
    fn rearm(&mut self) {
        let at = clock::now() + self.idle_timeout;
        self.idle.as_mut().reset(at.into());
    }
}

impl BodySource for FromUpstream {
    fn trailers(self: Pin<&mut Self>) -> Option<Headers> {
        None
    }

    fn keep(self: Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

/// Octets of one read.
const READ_BYTES: usize = 16 * 1024;
