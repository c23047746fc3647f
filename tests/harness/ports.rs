//! Free ports, told to a gateway before it starts so that a restart keeps them.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
};

/// A local address whose port is free over TCP and UDP alike.
///
/// Another process may take it before it is used; whoever starts a gateway tries again then.
///
/// # Errors
/// When the system has no such port in a hundred tries.
pub(crate) fn free() -> io::Result<SocketAddr> {
    const TRIES: usize = 100;
    let mut last = io::Error::other("no try was made");
    for _ in 0..TRIES {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = tcp.local_addr()?;
        match UdpSocket::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}
