//! A path between a client and a server of datagrams, whose way to the client may be cut.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::net::UdpSocket;
use tokio_util::task::AbortOnDropHandle;

/// One client's path. The client sends to `address`.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    pub(crate) to_client: Arc<Direction>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
pub(crate) struct Direction {
    is_cut: AtomicBool,
    /// Datagrams of more than `LARGE` octets that were lost.
    n_large_lost: AtomicUsize,
}

/// Octets of a datagram that holds no more than one event of a test.
const LARGE: usize = 900;

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let any = (Ipv4Addr::LOCALHOST, 0);
        let near = UdpSocket::bind(any).await.expect("a free port");
        let far = UdpSocket::bind(any).await.expect("a free port");
        let address = near.local_addr().expect("bound");
        let to_client = Arc::<Direction>::default();
        let passing = Arc::clone(&to_client);
        let task = tokio::spawn(async move {
            let (mut from_client, mut from_server) = (vec![0; 65_536], vec![0; 65_536]);
            let mut client = None;
            loop {
                tokio::select! {
                    Ok((n_octets, from)) = near.recv_from(&mut from_client) => {
                        client = Some(from);
                        // A full socket is a loss like another.
                        let _ = far.send_to(&from_client[..n_octets], server).await;
                    }
                    Ok((n_octets, _)) = far.recv_from(&mut from_server) => {
                        if let Some(client) = client {
                            passing.pass(&near, &from_server[..n_octets], client).await;
                        }
                    }
                }
            }
        });
        Self {
            address,
            to_client,
            _task: AbortOnDropHandle::new(task),
        }
    }
}

impl Direction {
    pub(crate) fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    #[allow(dead_code, reason = "not every suite that has a relay counts")]
    pub(crate) fn n_large_lost(&self) -> usize {
        self.n_large_lost.load(Ordering::SeqCst)
    }

    async fn pass(&self, socket: &UdpSocket, octets: &[u8], to: SocketAddr) {
        if self.is_cut.load(Ordering::SeqCst) {
            let n_large = usize::from(octets.len() > LARGE);
            self.n_large_lost.fetch_add(n_large, Ordering::SeqCst);
        } else {
            // A full socket is a loss like another.
            let _ = socket.send_to(octets, to).await;
        }
    }
}
