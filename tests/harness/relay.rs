//! A UDP relay that loses, repeats and reorders, always the same for one seed.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use postern_core::testing::Rng;
use tokio::{
    net::UdpSocket,
    task::{AbortHandle, JoinSet},
};

/// What happens to datagrams, in percent of them, in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faults {
    pub lost: u64,
    pub repeated: u64,
    pub seed: u64,
}

/// A running relay. Dropping it stops it.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    task: AbortHandle,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    passed: AtomicU64,
    lost: AtomicU64,
    repeated: AtomicU64,
}

impl Relay {
    /// Relays between whoever sends to it and `server`.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(server: SocketAddr, faults: Faults) -> io::Result<Self> {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let address = socket.local_addr()?;
        let counts = Arc::new(Counts::default());
        let running = run(socket, server, faults, Arc::clone(&counts));
        let task = tokio::spawn(running).abort_handle();
        Ok(Self {
            address,
            task,
            counts,
        })
    }

    /// Where clients send to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams that passed, were lost, and were sent twice.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (
            read(&self.counts.passed),
            read(&self.counts.lost),
            read(&self.counts.repeated),
        )
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// From clients to the server; each client has a socket of its own towards the server.
async fn run(
    front: Arc<UdpSocket>,
    server: SocketAddr,
    faults: Faults,
    counts: Arc<Counts>,
) -> io::Result<()> {
    let mut rng = Rng::new(faults.seed);
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut returning = JoinSet::new();
    let mut buffer = vec![0; 65_535];
    loop {
        let (length, client) = front.recv_from(&mut buffer).await?;
        let back = match backs.get(&client) {
            Some(back) => Arc::clone(back),
            None => {
                let back = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
                back.connect(server).await?;
                let faults = Faults {
                    seed: faults.seed + 1 + backs.len() as u64,
                    ..faults
                };
                let (front, counts) = (Arc::clone(&front), Arc::clone(&counts));
                returning.spawn(give_back(Arc::clone(&back), front, client, faults, counts));
                backs.insert(client, Arc::clone(&back));
                back
            }
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        for _ in 0..n_copies(&mut rng, faults, &counts) {
            back.send(datagram).await?;
        }
    }
}

/// From the server to one client.
async fn give_back(
    back: Arc<UdpSocket>,
    front: Arc<UdpSocket>,
    client: SocketAddr,
    faults: Faults,
    counts: Arc<Counts>,
) -> io::Result<()> {
    let mut rng = Rng::new(faults.seed);
    let mut buffer = vec![0; 65_535];
    loop {
        let length = back.recv(&mut buffer).await?;
        let datagram = buffer.get(..length).unwrap_or_default();
        for _ in 0..n_copies(&mut rng, faults, &counts) {
            front.send_to(datagram, client).await?;
        }
    }
}

fn n_copies(rng: &mut Rng, faults: Faults, counts: &Counts) -> usize {
    let (counter, n) = if rng.chance(faults.lost) {
        (&counts.lost, 0)
    } else if rng.chance(faults.repeated) {
        (&counts.repeated, 2)
    } else {
        (&counts.passed, 1)
    };
    counter.fetch_add(1, Ordering::Relaxed);
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_as_often_as_asked_and_the_same_for_a_seed() {
        let faults = Faults {
            lost: 10,
            repeated: 10,
            seed: 7,
        };
        let run = || {
            let (counts, mut rng) = (Counts::default(), Rng::new(faults.seed));
            (0..10_000)
                .map(|_| n_copies(&mut rng, faults, &counts))
                .collect::<Vec<_>>()
        };
        let copies = run();
        assert_eq!(copies, run());
        let count = |n| copies.iter().filter(|copy| **copy == n).count();
        assert!((900..1100).contains(&count(0)), "{} lost", count(0));
        assert!((800..1000).contains(&count(2)), "{} repeated", count(2));
    }
}
