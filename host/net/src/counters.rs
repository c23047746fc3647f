//! What happened on one transport, in numbers. One `Counters` per listener or transport, shared by
//! all its connections; connections add once per batch of octets, not once per frame.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers of one transport since the start.
#[derive(Debug, Default)]
pub struct Counters {
    pub connections_opened: Counter,
    pub connections_closed: Counter,
    /// Turned away because of the connection limit.
    pub connections_refused: Counter,
    /// Closed before they could be served: their handshake failed, was late, or was one too many.
    pub handshakes_failed: Counter,
    pub frames_in: Counter,
    pub frames_out: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// Frames whose checksum did not match.
    pub crc_errors: Counter,
    /// Everything else that a peer sent and must not: bad magic, oversize, broken order.
    pub protocol_errors: Counter,
    /// Messages of velithon that were dropped without an answer: nobody can be told.
    pub messages_dropped: Counter,
    /// Of them, those that were MessagePack.
    pub messagepack_refused: Counter,
    /// Responses that nobody waited for: late ones, repeated ones, those to no request.
    pub responses_unmatched: Counter,
    /// Datagrams sent again because no acknowledgement came.
    pub retransmits: Counter,
    /// Acknowledged messages that arrived again and were not delivered again.
    pub duplicates: Counter,
    /// Half-reassembled messages held at present.
    pub reassembly_sessions: Counter,
    /// Sessions closed because their peer did not read.
    pub slow_readers: Counter,
    /// Datagram peers at present whose addresses may be forged.
    pub peers_unvalidated: Counter,
    /// Datagrams and messages not sent because they would have gone to such an address.
    pub amplification_limited: Counter,
    /// Datagrams dropped that named this end as their source.
    pub reflections: Counter,
    /// QUIC connections asked to prove their address before anything was kept for them.
    pub retries_sent: Counter,
    /// QUIC datagrams dropped because they came faster than they were read.
    pub datagrams_dropped: Counter,
}

/// One number. Relaxed: readers may see numbers of slightly different moments.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// One number with its name, for an exporter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Snake case, as the field is called: `frames_in`.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: ReadingKind,
    pub value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

impl Counter {
    pub fn add(&self, n: u64) {
        if n != 0 {
            self.0.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// For gauges only.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    /// Connections that are open at present.
    #[must_use]
    pub fn connections_open(&self) -> u64 {
        // Closed first: an opening between the two loads may only make the result larger.
        let closed = self.connections_closed.value();
        self.connections_opened.value().saturating_sub(closed)
    }

    /// Every number, in a fixed order.
    #[must_use]
    pub fn readings(&self) -> Vec<Reading> {
        let all = [
            &self.of_links()[..],
            &self.of_messages()[..],
            &self.of_datagrams()[..],
            &self.of_quic()[..],
        ];
        all.concat()
    }

    fn of_links(&self) -> [Reading; 12] {
        [
            counter(
                "connections_opened",
                "Connections accepted or made",
                &self.connections_opened,
            ),
            counter(
                "connections_closed",
                "Connections ended",
                &self.connections_closed,
            ),
            counter(
                "connections_refused",
                "Connections over the limit, turned away",
                &self.connections_refused,
            ),
            counter(
                "handshakes_failed",
                "Connections closed because their handshake failed, was late or one too many",
                &self.handshakes_failed,
            ),
            gauge(
                "connections_open",
                "Connections open at present",
                self.connections_open(),
            ),
            counter("frames_in", "Frames received", &self.frames_in),
            counter("frames_out", "Frames sent", &self.frames_out),
            counter("bytes_in", "Octets received", &self.bytes_in),
            counter("bytes_out", "Octets sent", &self.bytes_out),
            counter(
                "crc_errors",
                "Frames whose checksum did not match",
                &self.crc_errors,
            ),
            counter(
                "protocol_errors",
                "Violations by peers",
                &self.protocol_errors,
            ),
            counter(
                "slow_readers",
                "Sessions closed because their peer did not read",
                &self.slow_readers,
            ),
        ]
    }

    fn of_messages(&self) -> [Reading; 3] {
        [
            counter(
                "messages_dropped",
                "Messages of velithon that were none, and had no answer",
                &self.messages_dropped,
            ),
            counter(
                "messagepack_refused",
                "Messages of velithon that were MessagePack, and had no answer",
                &self.messagepack_refused,
            ),
            counter(
                "responses_unmatched",
                "Responses that nobody waited for",
                &self.responses_unmatched,
            ),
        ]
    }

    fn of_datagrams(&self) -> [Reading; 6] {
        [
            counter("retransmits", "Datagrams sent again", &self.retransmits),
            counter(
                "duplicates",
                "Messages that arrived again",
                &self.duplicates,
            ),
            gauge(
                "reassembly_sessions",
                "Half-reassembled messages at present",
                self.reassembly_sessions.value(),
            ),
            gauge(
                "peers_unvalidated",
                "Datagram peers whose addresses are not validated",
                self.peers_unvalidated.value(),
            ),
            counter(
                "amplification_limited",
                "Datagrams and messages not sent to addresses that are not validated",
                &self.amplification_limited,
            ),
            counter(
                "reflections",
                "Datagrams dropped that named this end as their source",
                &self.reflections,
            ),
        ]
    }

    fn of_quic(&self) -> [Reading; 2] {
        [
            counter(
                "retries_sent",
                "QUIC connections asked to prove their address first",
                &self.retries_sent,
            ),
            counter(
                "datagrams_dropped",
                "QUIC datagrams that came faster than they were read",
                &self.datagrams_dropped,
            ),
        ]
    }
}

fn counter(name: &'static str, help: &'static str, counter: &Counter) -> Reading {
    Reading {
        name,
        help,
        kind: ReadingKind::Counter,
        value: counter.value(),
    }
}

const fn gauge(name: &'static str, help: &'static str, value: u64) -> Reading {
    Reading {
        name,
        help,
        kind: ReadingKind::Gauge,
        value,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn readings_have_unique_names_and_true_values() {
        let counters = Counters::default();
        counters.connections_opened.add(3);
        counters.connections_closed.add(1);
        counters.frames_out.add(7);
        let readings = counters.readings();
        let names: BTreeSet<_> = readings.iter().map(|reading| reading.name).collect();
        assert_eq!(names.len(), readings.len());
        let value = |name| {
            readings
                .iter()
                .find(|reading| reading.name == name)
                .map(|r| r.value)
        };
        assert_eq!(value("connections_open"), Some(2));
        assert_eq!(value("frames_out"), Some(7));
    }
}
