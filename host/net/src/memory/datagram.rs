//! The datagram half of the network in memory: loss, duplication, reordering, delay, MTU.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_system::clock;
use tokio::time::Sleep;

use super::Network;
use crate::link::{Datagram, DatagramLink};

/// Datagrams that wait at one socket; more are lost, as in a full receive buffer.
const INBOX_MAX: usize = 4096;
/// Datagrams taken in one go, as `recvmmsg` would.
const BATCH: usize = 32;

/// A datagram socket of a `Network`.
#[derive(Debug)]
pub struct MemorySocket {
    network: Network,
    address: SocketAddr,
    inbox: Arc<Inbox>,
    due: Option<Pin<Box<Sleep>>>,
}

/// What is under way to one socket, by the time of its arrival.
#[derive(Debug, Default)]
pub(super) struct Inbox(Mutex<Arrivals>);

#[derive(Debug, Default)]
struct Arrivals {
    queue: BTreeMap<(Instant, u64), Datagram>,
    /// Keeps datagrams of the same instant in the order of their sending.
    n_seen: u64,
    reader: Option<Waker>,
}

impl MemorySocket {
    pub(super) fn new(network: Network, address: SocketAddr, inbox: Arc<Inbox>) -> Self {
        Self {
            network,
            address,
            inbox,
            due: None,
        }
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn send(&self, datagram: Datagram) {
        let mut state = self.network.0.lock();
        let conditions = state.conditions.clone();
        let lost = state.rng.chance(conditions.loss_percent.into());
        let twice = state.rng.chance(conditions.duplicate_percent.into());
        if state.cut || lost || datagram.bytes.len() > conditions.mtu {
            return;
        }
        let Some(inbox) = state
            .inboxes
            .get(&datagram.peer)
            .and_then(|inbox| inbox.upgrade())
        else {
            return;
        };
        for _ in 0..=u8::from(twice) {
            let mut delay = conditions.delay;
            if state.rng.chance(conditions.reorder_percent.into()) {
                let span = conditions.delay.max(Duration::from_millis(1)) * 3;
                let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
                delay += Duration::from_micros(state.rng.below(micros));
            }
            let bytes = datagram.bytes.clone();
            inbox.push(
                clock::now() + delay,
                Datagram {
                    peer: self.address,
                    local: None,
                    bytes,
                },
            );
        }
    }
}

impl DatagramLink for MemorySocket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn renew(&self) -> io::Result<Self> {
        Ok(self.network.socket())
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<Datagram>,
    ) -> Poll<io::Result<()>> {
        loop {
            let due = match self.inbox.take(cx, into) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(due) => due,
            };
            let Some(due) = due else { return Poll::Pending };
            let sleep = self
                .due
                .insert(Box::pin(tokio::time::sleep_until(due.into())));
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_send(
        &mut self,
        _: &mut Context<'_>,
        queue: &mut VecDeque<Datagram>,
    ) -> Poll<io::Result<()>> {
        for datagram in queue.drain(..) {
            self.send(datagram);
        }
        Poll::Ready(Ok(()))
    }
}

impl Inbox {
    fn push(&self, due: Instant, datagram: Datagram) {
        let mut arrivals = self.0.lock();
        if arrivals.queue.len() >= INBOX_MAX {
            return;
        }
        arrivals.n_seen += 1;
        let key = (due, arrivals.n_seen);
        arrivals.queue.insert(key, datagram);
        if let Some(reader) = arrivals.reader.take() {
            reader.wake();
        }
    }

    /// Moves what has arrived; `Err` says when the next datagram will, if one is under way.
    fn take(&self, cx: &mut Context<'_>, into: &mut Vec<Datagram>) -> Result<(), Option<Instant>> {
        let mut arrivals = self.0.lock();
        let now = clock::now();
        let before = into.len();
        while let Some(entry) = arrivals.queue.first_entry()
            && entry.key().0 <= now
            && into.len() - before < BATCH
        {
            into.push(entry.remove());
        }
        if into.len() > before {
            return Ok(());
        }
        arrivals.reader = Some(cx.waker().clone());
        Err(arrivals.queue.first_key_value().map(|((due, _), _)| *due))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::Conditions;
    use super::*;

    async fn recv(socket: &mut MemorySocket) -> Vec<Datagram> {
        let mut datagrams = Vec::new();
        std::future::poll_fn(|cx| socket.poll_recv(cx, &mut datagrams))
            .await
            .expect("no cut");
        datagrams
    }

    fn send(from: &MemorySocket, to: &MemorySocket, n_datagrams: u8, length: usize) {
        for n in 0..n_datagrams {
            let bytes = Bytes::from(vec![n; length]);
            from.send(Datagram {
                peer: to.address,
                local: None,
                bytes,
            });
        }
    }

    fn arrived(socket: &MemorySocket) -> Vec<u8> {
        let arrivals = socket.inbox.0.lock();
        arrivals
            .queue
            .values()
            .map(|datagram| datagram.bytes[0])
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_perfect_network_keeps_count_order_and_sender() {
        let network = Network::new(7, Conditions::default());
        let (near, mut far) = (network.socket(), network.socket());
        send(&near, &far, 5, 1);
        let datagrams = recv(&mut far).await;
        assert_eq!(
            datagrams.iter().map(|d| d.bytes[0]).collect::<Vec<_>>(),
            [0, 1, 2, 3, 4]
        );
        assert!(
            datagrams
                .iter()
                .all(|datagram| datagram.peer == near.address)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn datagrams_at_the_mtu_arrive_and_one_octet_more_is_lost() {
        let network = Network::new(
            7,
            Conditions {
                mtu: 100,
                ..Conditions::default()
            },
        );
        let (near, far) = (network.socket(), network.socket());
        send(&near, &far, 1, 101);
        assert!(arrived(&far).is_empty());
        send(&near, &far, 1, 100);
        assert_eq!(arrived(&far), [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn loss_and_duplication_keep_to_their_share_and_repeat_by_seed() {
        let conditions = Conditions {
            loss_percent: 20,
            duplicate_percent: 10,
            ..Conditions::default()
        };
        let run = |seed| {
            let network = Network::new(seed, conditions.clone());
            let (near, far) = (network.socket(), network.socket());
            for _ in 0..10 {
                send(&near, &far, 100, 1);
            }
            arrived(&far)
        };
        let first = run(3);
        assert!(
            (780..=980).contains(&first.len()),
            "{} of 1000 arrived",
            first.len()
        );
        assert_eq!(first, run(3));
        assert_ne!(first, run(4));
    }

    #[tokio::test(start_paused = true)]
    async fn reordering_changes_the_order_only() {
        let conditions = Conditions {
            reorder_percent: 50,
            ..Conditions::default()
        };
        let network = Network::new(5, conditions);
        let (near, far) = (network.socket(), network.socket());
        send(&near, &far, 100, 1);
        let mut got = arrived(&far);
        assert!(!got.is_sorted());
        got.sort_unstable();
        assert!(got.into_iter().eq(0..100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_loses_everything_until_it_is_healed() {
        let network = Network::new(5, Conditions::default());
        let (near, far) = (network.socket(), network.socket());
        network.cut();
        send(&near, &far, 3, 1);
        network.heal();
        send(&near, &far, 1, 1);
        assert_eq!(arrived(&far), [0]);
    }
}
