//! What a driver needs of a link. Stream links are anything that reads and writes octets; datagram
//! links move batches, because one system call may carry many datagrams.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    task::{Context, Poll},
};

use bytes::Bytes;
use postern_core::Origin;
use tokio::io::{AsyncRead, AsyncWrite};

/// A link that carries a stream of octets in order: TCP, memory.
pub trait StreamLink: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> StreamLink for S {}

/// A stream link of any kind.
pub(crate) trait DuplexLink: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> DuplexLink for S {}

/// A stream link whose peer can be watched while somebody else reads and writes.
pub trait WatchedLink: StreamLink {
    type Watch: PeerWatch;

    fn watch(&self) -> Self::Watch;
}

/// What a connection tells of its peer beside what it carries.
pub trait PeerWatch: Send + Sync + 'static {
    /// Completes when the peer has reset the connection, whatever of it is unread.
    fn reset(&self) -> impl Future<Output = ()> + Send;

    /// Whether the peer has closed its sending side. It may read still.
    fn has_closed_sending(&self) -> bool;
}

/// A link that carries datagrams, possibly not, twice or out of order: UDP, memory.
pub trait DatagramLink: Send + 'static {
    /// # Errors
    /// What the operating system says.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// A client's link to the same peer from another local port.
    ///
    /// # Errors
    /// What the operating system says; `Unsupported` for one that has no peer.
    fn renew(&self) -> io::Result<Self>
    where
        Self: Sized;

    /// Appends the datagrams that have arrived; ready only when there was at least one.
    ///
    /// # Errors
    /// Only what ends the socket; faults of single datagrams are passed over.
    fn poll_recv(&mut self, cx: &mut Context<'_>, into: &mut Vec<Datagram>)
    -> Poll<io::Result<()>>;

    /// Sends from the front of `queue` until it is empty (ready) or the socket is full (pending).
    ///
    /// # Errors
    /// Only what ends the socket; a datagram that cannot be sent counts as lost.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        queue: &mut VecDeque<Datagram>,
    ) -> Poll<io::Result<()>>;
}

/// One datagram and the peer that it comes from or goes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    pub peer: SocketAddr,
    /// The address of this end: where it came to, and where it leaves from. `None` where the socket
    /// has only one, or it is not known.
    pub local: Option<IpAddr>,
    pub bytes: Bytes,
}

/// Where connections come in.
pub trait Listener: Send + 'static {
    /// One that was accepted.
    type Link: Send + 'static;

    /// # Errors
    /// What the operating system says; `acceptor/backoff.rs` knows which errors pass.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Link, Origin)>> + Send;

    /// Turns away whoever still comes, while those that were accepted drain. A socket whose connections
    /// do not need it does so by being closed.
    fn refuse(self) -> impl Future<Output = ()> + Send
    where
        Self: Sized,
    {
        drop(self);
        std::future::ready(())
    }
}
