//! An `Endpoint` on a datagram link: takes all that has arrived at once, sends all that is ready
//! at once.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use postern_core::wire::{Endpoint, EndpointStats};

use super::{Alarm, now};
use crate::{
    counters::Counters,
    link::{Datagram, DatagramLink},
};

/// Datagrams taken out of the endpoint ahead of the system call that sends them.
const OUTPUT_MAX: usize = 128;

/// The moving parts of a datagram socket that both ends share.
pub(crate) struct Socket<L> {
    link: L,
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
            if admit(&datagram) {
                self.endpoint
                    .handle_datagram(now, datagram.peer, datagram.bytes);
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

    /// Ready when a timer was due and was handled; then there may be events.
    pub(crate) fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = self.endpoint.poll_timeout().map(|(at, _)| at);
        ready!(self.alarm.poll(cx, next));
        self.endpoint.handle_timeout(now());
        Poll::Ready(())
    }

    fn fill_output(&mut self) {
        let mut n_octets = 0;
        while self.output.len() < OUTPUT_MAX
            && let Some((peer, bytes)) = self.endpoint.poll_transmit()
        {
            n_octets += bytes.len() as u64;
            self.output.push_back(Datagram { peer, bytes });
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
            .reassembly_sessions
            .set(stats.reassembly_open as u64);
        self.counted = stats;
    }
}
