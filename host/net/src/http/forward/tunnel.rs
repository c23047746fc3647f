//! A client that goes on in another protocol: what it sends is the body of its call, and the body of
//! the reply is what it is sent. The directions do not wait for each other, and either may end first.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use postern_core::{Body, BodyStream};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
    time::timeout,
};

use crate::http::upgrade::{ServeStream, UpgradedStream};

/// Where what the client sends goes, piece by piece.
pub(super) type FromClient = mpsc::Sender<Bytes>;

/// The body of a call whose client has not been told to go on.
pub(super) fn body() -> (FromClient, Body) {
    // One piece waits while one is written.
    let (from_client, mut pieces) = mpsc::channel(1);
    let pieces = stream::poll_fn(move |cx| pieces.poll_recv(cx).map(|piece| piece.map(Ok)));
    (from_client, Body::Octets(BodyStream::new(pieces)))
}

/// Goes on with a client until both directions have ended, or one is broken.
pub(super) fn serve(
    from_client: FromClient,
    to_client: BodyStream,
    write_timeout: Duration,
) -> ServeStream {
    Box::new(move |stream, _| Box::pin(run(stream, from_client, to_client, write_timeout)))
}

async fn run(
    UpgradedStream { link, input }: UpgradedStream,
    from_client: FromClient,
    mut to_client: BodyStream,
    write_timeout: Duration,
) {
    let (mut reader, mut writer) = tokio::io::split(link);
    if !input.is_empty() && from_client.send(input.freeze()).await.is_err() {
        return;
    }
    let mut reading = std::pin::pin!(read(&mut reader, from_client));
    let mut writing = std::pin::pin!(write(&mut to_client, &mut writer, write_timeout));
    tokio::select! {
        read = &mut reading => {
            if read.is_ok() {
                // The client has said all that it will; it may still be told something.
                let _ = writing.await;
            }
        }
        written = &mut writing => {
            if written.is_ok() {
                // Whoever has closed its side waits for the other to do so, but not for ever.
                let _ = timeout(CLOSE_WAIT, reading).await;
            }
        }
    }
}

async fn read(reader: &mut (impl AsyncRead + Unpin), from_client: FromClient) -> io::Result<()> {
    loop {
        // Room is made when there is room for it, and taken when there is something.
        let Ok(permit) = from_client.reserve().await else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut piece = BytesMut::with_capacity(READ_BYTES);
        if reader.read_buf(&mut piece).await? == 0 {
            return Ok(());
        }
        permit.send(piece.freeze());
    }
}

async fn write(
    to_client: &mut BodyStream,
    writer: &mut (impl AsyncWrite + Unpin),
    write_timeout: Duration,
) -> io::Result<()> {
    while let Some(piece) = to_client.next().await {
        let piece = piece.map_err(io::Error::other)?;
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let n_octets = timeout(write_timeout, writer.write(rest)).await??;
            if n_octets == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            rest = rest.get(n_octets..).unwrap_or_default();
        }
        timeout(write_timeout, writer.flush()).await??;
    }
    writer.shutdown().await
}

/// Octets of one read.
const READ_BYTES: usize = 16 * 1024;
/// How long a client may take to close its side once the upstream has closed its own.
const CLOSE_WAIT: Duration = Duration::from_secs(10);
