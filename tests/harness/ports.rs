//! Free ports, told to a gateway before it starts so that a restart keeps them.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    sync::{Mutex, PoisonError},
};

/// Ports that this process has given away: the system gives a closed one again at once.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A local address whose port is free over TCP and UDP alike, and that no other test here has.
///
/// Another process may take it before it is used; whoever starts a gateway tries again then.
///
/// # Errors
/// When the system has no such port in a hundred tries.
pub fn free_address() -> io::Result<SocketAddr> {
    const TRIES: usize = 100;
    let mut last = io::Error::other("every free port was given away before");
    for _ in 0..TRIES {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = tcp.local_addr()?;
        match UdpSocket::bind(address) {
            Ok(_) => {
                // A test that panicked leaves the set as good as it was.
                let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
                if given.insert(address.port()) {
                    return Ok(address);
                }
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
