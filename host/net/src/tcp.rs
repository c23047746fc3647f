//! TCP: listening, accepting, dialing. Nagle's delay is off everywhere, because a driver writes
//! everything that is ready at once anyway.

use std::{io, net::SocketAddr, sync::Arc};

use postern_core::{BoxFuture, Error, Origin, Transport};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::{
    dial::{Carried, Destination, StreamDialer, Target, unreachable},
    link::Listener,
    tls::ClientTls,
};

/// Connections that the kernel completes before they are accepted; the kernel's own limit
/// (`net.core.somaxconn`, 4096 since Linux 5.4) may be lower.
pub(crate) const BACKLOG: u32 = 4096;

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
        _: Carried,
        _: &ClientTls,
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

    async fn accept(&mut self) -> io::Result<(TcpStream, Origin)> {
        let (stream, peer) = Self::accept(self).await?;
        if let Err(error) = stream.set_nodelay(true) {
            // It is gone already, or its replies are late.
            tracing::debug!(%error, %peer, "cannot set nodelay");
        }
        Ok((stream, Origin::Ip(peer)))
    }
}
