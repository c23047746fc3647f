//! TCP: listening, accepting, dialing. Nagle's delay is off everywhere, because a driver writes
//! everything that is ready at once anyway.

use std::{
    io,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::FutureExt;
use postern_core::{BoxFuture, Error, Transport};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpListener, TcpSocket, TcpStream},
};

use crate::{
    client::ClientConfig,
    dial::{Destination, StreamDialer, Target, unreachable},
    link::{Listener, PeerWatch, WatchedLink},
};

/// Connections that the kernel completes before they are accepted; the kernel's own limit
/// (`net.core.somaxconn`, 4096 since Linux 5.4) may be lower.
const BACKLOG: u32 = 4096;

/// Opens sessions over TCP.
#[derive(Debug)]
pub struct TcpDialer;

/// A listening socket at `address`, which may have been in use a moment ago.
///
/// # Errors
/// What the operating system says.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    // A restarted gateway takes its port over from connections in TIME_WAIT.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A connection to `address`. The caller bounds the time.
///
/// # Errors
/// What the operating system says.
pub async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl StreamDialer for TcpDialer {
    const NAME: &'static str = Transport::Tcp.name();

    type Link = TcpStream;

    fn open(
        &self,
        destination: &Destination,
        _: &ClientConfig,
    ) -> BoxFuture<Result<TcpStream, Error>> {
        let destination = destination.clone();
        Box::pin(async move {
            let opened = dial(destination.ip()?).await;
            opened.map_err(|error| unreachable(&destination, error))
        })
    }
}

impl Target {
    #[must_use]
    pub fn tcp(address: SocketAddr) -> Self {
        Self::new(Arc::new(TcpDialer), Destination::Ip(address))
    }
}

impl Listener for TcpListener {
    type Link = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        if let Err(error) = stream.set_nodelay(true) {
            // It is gone already, or its replies are late.
            tracing::debug!(%error, %peer, "cannot set nodelay");
        }
        Ok((stream, peer))
    }
}

/// Accepts connections that are watched while they are served.
#[derive(Debug)]
pub(crate) struct WatchedTcpListener(pub(crate) TcpListener);

/// A connection that its driver reads and writes and others watch.
#[derive(Debug)]
pub(crate) struct WatchedTcpStream(Arc<TcpStream>);

/// The peer of a `WatchedTcpStream`.
#[derive(Debug)]
pub(crate) struct TcpPeerWatch(Arc<TcpStream>);

impl Listener for WatchedTcpListener {
    type Link = WatchedTcpStream;

    async fn accept(&mut self) -> io::Result<(WatchedTcpStream, SocketAddr)> {
        let (stream, peer) = Listener::accept(&mut self.0).await?;
        Ok((WatchedTcpStream(Arc::new(stream)), peer))
    }
}

impl WatchedTcpStream {
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match write(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl WatchedLink for WatchedTcpStream {
    type Watch = TcpPeerWatch;

    fn watch(&self) -> TcpPeerWatch {
        TcpPeerWatch(Arc::clone(&self.0))
    }
}

impl PeerWatch for TcpPeerWatch {
    async fn reset(&self) {
        // An error says that the runtime ends, and the connection with it.
        let _ = self.0.ready(Interest::ERROR).await;
    }

    fn has_closed_sending(&self) -> bool {
        let readable = self.0.ready(Interest::READABLE).now_or_never();
        matches!(readable, Some(Ok(ready)) if ready.is_read_closed())
    }
}

impl AsyncRead for WatchedTcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read_buf(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result.map(drop)),
            }
        }
    }
}

impl AsyncWrite for WatchedTcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream| stream.try_write(octets))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |stream| stream.try_write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(Shutdown::Write))
    }
}
