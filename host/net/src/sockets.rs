//! Stream sockets of the system as one type, for what is served on TCP and on Unix sockets alike.

use std::{
    fmt, io,
    net::{Shutdown, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::FutureExt;
use postern_core::Origin;
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready},
    net::{TcpListener, TcpStream, UnixStream},
};

use crate::{
    link::{Listener, PeerWatch, WatchedLink},
    unix::{UnixAddress, UnixSocketListener},
};

/// Where a socket listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LocalAddress {
    Ip(SocketAddr),
    Unix(UnixAddress),
}

/// A listening socket, whose connections are watched while they are served.
#[derive(Debug)]
pub enum SocketListener {
    Tcp(TcpListener),
    Unix(UnixSocketListener),
}

/// A connection that its driver reads and writes and others watch.
#[derive(Debug)]
pub struct WatchedSocket(Arc<SocketStream>);

/// The peer of a `WatchedSocket`.
#[derive(Debug)]
pub struct SocketWatch(Arc<SocketStream>);

#[derive(Debug)]
enum SocketStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What both kinds of sockets do alike.
macro_rules! either {
    ($socket:expr, $stream:ident => $does:expr) => {
        match $socket {
            SocketStream::Tcp($stream) => $does,
            SocketStream::Unix($stream) => $does,
        }
    };
}

impl LocalAddress {
    /// The address, where it has one.
    #[must_use]
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

/// `127.0.0.1:9090`, `unix:/run/postern.sock`.
impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(address) => write!(f, "unix:{address}"),
        }
    }
}

impl SocketListener {
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<LocalAddress> {
        Ok(match self {
            Self::Tcp(listener) => LocalAddress::Ip(listener.local_addr()?),
            Self::Unix(listener) => LocalAddress::Unix(listener.address().clone()),
        })
    }
}

impl Listener for SocketListener {
    type Link = WatchedSocket;

    async fn accept(&mut self) -> io::Result<(WatchedSocket, Origin)> {
        let (stream, origin) = match self {
            Self::Tcp(listener) => {
                let (stream, origin) = Listener::accept(listener).await?;
                (SocketStream::Tcp(stream), origin)
            }
            Self::Unix(listener) => {
                let (stream, origin) = listener.accept().await?;
                (SocketStream::Unix(stream), origin)
            }
        };
        Ok((WatchedSocket(Arc::new(stream)), origin))
    }
}

impl SocketStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_read_ready(cx))
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => stream.poll_write_ready(cx))
    }

    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        either!(self, stream => stream.ready(interest).await)
    }

    /// Reads what is there. A read that leaves room has emptied the socket (epoll(7), edge-triggered), so
    /// that it is not readable until the system says so: without that, each read costs one more that
    /// finds nothing. tokio's own `poll_read` does so, and wants the stream for itself.
    fn try_read(&self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let (n_before, room) = (buffer.filled().len(), buffer.remaining());
        let is_partial = |n_octets| 0 < n_octets && n_octets < room;
        let read = either!(self, stream => stream.try_io(Interest::READABLE, || {
            match stream.try_read_buf(buffer)? {
                n_octets if is_partial(n_octets) => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        }));
        match read {
            Err(_) if buffer.filled().len() > n_before => Ok(()),
            read => read,
        }
    }
}

impl WatchedSocket {
    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&SocketStream) -> io::Result<usize>,
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

impl WatchedLink for WatchedSocket {
    type Watch = SocketWatch;

    fn watch(&self) -> SocketWatch {
        SocketWatch(Arc::clone(&self.0))
    }
}

impl PeerWatch for SocketWatch {
    async fn reset(&self) {
        // An error says that the runtime ends, and the connection with it.
        let _ = self.0.ready(Interest::ERROR).await;
    }

    fn has_closed_sending(&self) -> bool {
        let readable = self.0.ready(Interest::READABLE).now_or_never();
        matches!(readable, Some(Ok(ready)) if ready.is_read_closed())
    }
}

impl AsyncRead for WatchedSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

impl AsyncWrite for WatchedSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(
            cx,
            |socket| either!(socket, stream => stream.try_write(octets)),
        )
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(
            cx,
            |socket| either!(socket, stream => stream.try_write_vectored(slices)),
        )
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = either!(&*self.0, stream => SockRef::from(stream).shutdown(Shutdown::Write));
        Poll::Ready(shut)
    }
}
