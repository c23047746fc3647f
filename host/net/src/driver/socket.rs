//! An `Endpoint` on a datagram link: takes all that has arrived at once, sends all that is ready
//! at once.

use std::{
    collections::{BTreeSet, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use postern_core::wire::{Endpoint, EndpointStats, endpoint::Transmit};

use super::{Alarm, now};
use crate::{
    counters::Counters,
    link::{Datagram, DatagramLink},
};

/// Datagrams taken out of the endpoint ahead of the system call that sends them.
const OUTPUT_MAX: usize = 128;
/// Addresses of this end that are remembered.
const OWN_MAX: usize = 64;

/// The moving parts of a datagram socket that both ends share.
pub(crate) struct Socket<L> {
    link: L,
    own: OwnAddresses,
    pub(crate) endpoint: Endpoint,
    received: Vec<Datagram>,
    output: VecDeque<Datagram>,
    alarm: Alarm,
    counters: Arc<Counters>,
    /// What `counters` has been told of.
    counted: EndpointStats,
}

impl<L: DatagramLink> Socket<L> {
    pub(crate) fn new(link: L, endpoint: Endpoint, counters: Arc<Counters>) -> Self {
        Self {
            own: OwnAddresses::of(&link),
            link,
            endpoint,
            received: Vec::new(),
            output: VecDeque::new(),
            alarm: Alarm::new(),
            counters,
            counted: EndpointStats::default(),
        }
    }

    /// Receives one batch and feeds those datagrams to the endpoint that `admit` accepts. Ready
    /// means that there may be events.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        admit: impl Fn(&Datagram) -> bool,
    ) -> Poll<io::Result<()>> {
        ready!(self.link.poll_recv(cx, &mut self.received))?;
        let mut n_octets = 0;
        for datagram in self.received.drain(..) {
            n_octets += datagram.bytes.len() as u64;
            if self.own.is_source_of(&datagram) {
                // Nothing of ours goes from here to here: somebody wants it to answer itself.
                self.counters.reflections.add(1);
                continue;
            }
            if admit(&datagram) {
                let Datagram { peer, local, bytes } = datagram;
                self.endpoint.handle_datagram(now, peer, local, bytes);
            }
        }
        self.counters.bytes_in.add(n_octets);
        self.count();
        Poll::Ready(Ok(()))
    }

    /// Sends until nothing is left (ready) or the socket is full (pending).
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.output.is_empty() {
                self.fill_output();
            }
            if self.output.is_empty() {
                self.count();
                return Poll::Ready(Ok(()));
            }
            ready!(self.link.poll_send(cx, &mut self.output))?;
        }
    }

    /// After writing, as `poll_timer`: what was written is to be repeated unless it is acknowledged,
    /// most likely sooner than anything else is due.
    pub(crate) fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = self.endpoint.poll_timeout().map(|(at, _)| at);
        if self.alarm.is_late(next) {
            return self.poll_timer(cx);
        }
        Poll::Pending
    }

    /// Ready when a timer was due and was handled; then there may be events.
    pub(crate) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = self.endpoint.poll_timeout().map(|(at, _)| at);
        ready!(self.alarm.poll(cx, next));
        self.endpoint.handle_timeout(now());
        Poll::Ready(())
    }

    /// Goes on from another local port. What came to the one before, or was to leave from it, is
    /// forgotten.
    ///
    /// # Errors
    /// As `DatagramLink::renew`.
    pub(crate) fn renew(&mut self, peer: SocketAddr) -> io::Result<()> {
        self.link = self.link.renew()?;
        self.own = OwnAddresses::of(&self.link);
        self.received.clear();
        self.output.clear();
        self.endpoint.renew(peer);
        Ok(())
    }

    fn fill_output(&mut self) {
        let mut n_octets = 0;
        while self.output.len() < OUTPUT_MAX
            && let Some(Transmit { to, local, octets }) = self.endpoint.poll_transmit()
        {
            n_octets += octets.len() as u64;
            self.output.push_back(Datagram {
                peer: to,
                local,
                bytes: octets,
            });
        }
        // The endpoint serves peers in turn; one system call serves one peer. Stable, so that the
        // order of each peer's datagrams is kept.
        self.output
            .make_contiguous()
            .sort_by_key(|datagram| datagram.peer);
        self.counters.bytes_out.add(n_octets);
    }

    fn count(&mut self) {
        let (stats, counted) = (self.endpoint.stats(), self.counted);
        let counters = &self.counters;
        counters
            .frames_in
            .add(stats.datagrams_received - counted.datagrams_received);
        counters
            .frames_out
            .add(stats.datagrams_sent - counted.datagrams_sent);
        counters
            .crc_errors
            .add(stats.crc_errors - counted.crc_errors);
        let faults =
            |stats: &EndpointStats| stats.malformed + stats.violations + stats.reassembly_refused;
        counters
            .protocol_errors
            .add(faults(&stats) - faults(&counted));
        counters
            .retransmits
            .add(stats.retransmits - counted.retransmits);
        counters
            .duplicates
            .add(stats.duplicates - counted.duplicates);
        counters
            .connections_refused
            .add(stats.peers_refused - counted.peers_refused);
        counters
            .amplification_limited
            .add(stats.amplification_limited - counted.amplification_limited);
        counters
            .peers_unvalidated
            .set(stats.peers_unvalidated as u64);
        counters
            .reassembly_sessions
            .set(stats.reassembly_open as u64);
        self.counted = stats;
    }
}

/// The addresses that a socket is called at, as far as they are known.
struct OwnAddresses {
    port: u16,
    known: BTreeSet<IpAddr>,
    latest: Option<IpAddr>,
}

impl OwnAddresses {
    fn of<L: DatagramLink>(link: &L) -> Self {
        let bound = link.local_addr().ok();
        Self {
            port: bound.map_or(0, |bound| bound.port()),
            known: bound.map(|bound| bound.ip()).into_iter().collect(),
            latest: None,
        }
    }

    /// Whether a datagram says that it comes from this socket.
    fn is_source_of(&mut self, datagram: &Datagram) -> bool {
        if datagram.local != self.latest {
            self.latest = datagram.local;
            if self.known.len() < OWN_MAX {
                self.known.extend(datagram.local);
            }
        }
        datagram.peer.port() == self.port && self.known.contains(&datagram.peer.ip())
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use bytes::BytesMut;
    use postern_core::wire::{EndpointConfig, Frame, FrameType, Role};

    use super::*;
    use crate::{
        driver::random_session_id,
        memory::{Conditions, Network},
    };

    #[tokio::test(start_paused = true)]
    async fn a_datagram_from_the_sockets_own_address_is_dropped() {
        let network = Network::new(1, Conditions::default());
        let (mut link, mut other) = (network.socket(), network.socket());
        let own = link.address();
        let mut octets = BytesMut::new();
        Frame::new(FrameType::Ping)
            .encode(&mut octets)
            .expect("short");
        let datagram = Datagram {
            peer: own,
            local: None,
            bytes: octets.freeze(),
        };
        let counters = Arc::new(Counters::default());
        for forged in [true, false] {
            let sender = if forged { &mut link } else { &mut other };
            let mut queue = [datagram.clone()].into();
            poll_fn(|cx| sender.poll_send(cx, &mut queue))
                .await
                .expect("sent");
        }
        let endpoint = Endpoint::new(EndpointConfig::default(), Role::Server, random_session_id);
        let mut socket = Socket::new(link, endpoint, Arc::clone(&counters));
        poll_fn(|cx| socket.poll_read(cx, now(), |_| true))
            .await
            .expect("received");
        assert_eq!(counters.reflections.value(), 1);
        assert_eq!(socket.endpoint.stats().peers, 1, "the other one");
    }

    #[test]
    fn a_socket_for_all_addresses_knows_those_that_it_was_called_at() {
        let mut own = OwnAddresses {
            port: 9090,
            known: BTreeSet::new(),
            latest: None,
        };
        let mut check = |from: [u8; 4], to: [u8; 4], port: u16| {
            own.is_source_of(&Datagram {
                peer: (from, port).into(),
                local: Some(to.into()),
                bytes: Default::default(),
            })
        };
        assert!(!check([127, 0, 0, 9], [127, 0, 0, 2], 9090), "another host");
        assert!(!check([127, 0, 0, 9], [127, 0, 0, 3], 9090));
        assert!(check([127, 0, 0, 2], [127, 0, 0, 3], 9090));
        assert!(check([127, 0, 0, 3], [127, 0, 0, 3], 9090));
        assert!(!check([127, 0, 0, 3], [127, 0, 0, 3], 9091), "another port");
    }
}
