//! Conversations of a capture: TCP put into order per direction, datagrams one by one, and what each
//! holds of VSTP. Conversations that are something else are counted and left out.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use bytes::Bytes;
use postern_core::wire::frame::MAGIC;

use super::{
    dissect::{Stream, StreamPrefix, dissect},
    packet::{Carried, Segment, segment},
};

/// Something seen in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Observation {
    pub transport: &'static str,
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// In the direction's stream; 0 for datagrams.
    pub at: u64,
    pub found: StreamPrefix,
}

/// All conversations of a capture.
#[derive(Debug, Default)]
pub(crate) struct Flows {
    streams: BTreeMap<(SocketAddr, SocketAddr), Flow>,
    /// Packets that were neither TCP nor UDP, or held nothing of VSTP.
    pub ignored: usize,
}

/// One direction of a TCP connection.
#[derive(Debug, Default)]
struct Flow {
    /// Sequence number of the next octet; unknown before the first segment.
    next: Option<u32>,
    /// Segments that came too early.
    early: BTreeMap<u32, Bytes>,
    stream: Stream,
    kind: FlowKind,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum FlowKind {
    #[default]
    Unknown,
    Vstp,
    Other,
}

impl Flows {
    /// Takes a packet; gives what it completes.
    pub(crate) fn push(&mut self, link_type: u32, packet: Bytes) -> Vec<Observation> {
        let Some(segment) = segment(link_type, &packet) else {
            self.ignored += 1;
            return Vec::new();
        };
        match segment.carried {
            Carried::Udp => self.datagram(segment),
            Carried::Tcp { sequence, syn } => self.tcp(segment, sequence, syn),
        }
    }

    /// What the streams still hold at the end of the capture.
    pub(crate) fn finish(self) -> Vec<Observation> {
        let left = self.streams.into_iter().filter_map(|((from, to), flow)| {
            let (at, found) = flow.stream.finish()?;
            let is_vstp = match flow.kind {
                FlowKind::Vstp => true,
                FlowKind::Other => false,
                FlowKind::Unknown => !matches!(found, StreamPrefix::Garbage { .. }),
            };
            is_vstp.then_some(Observation {
                transport: "tcp",
                from,
                to,
                at,
                found,
            })
        });
        left.collect()
    }

    fn datagram(
        &mut self,
        Segment {
            from, to, payload, ..
        }: Segment,
    ) -> Vec<Observation> {
        if !payload.starts_with(&MAGIC) {
            self.ignored += 1;
            return Vec::new();
        }
        let found = dissect(&payload);
        found
            .map(|found| Observation {
                transport: "udp",
                from,
                to,
                at: 0,
                found,
            })
            .into_iter()
            .collect()
    }

    fn tcp(&mut self, segment: Segment, sequence: u32, syn: bool) -> Vec<Observation> {
        let Segment {
            from, to, payload, ..
        } = segment;
        let flow = self.streams.entry((from, to)).or_default();
        if syn {
            // A new connection between the same ports.
            *flow = Flow {
                next: Some(sequence.wrapping_add(1)),
                ..Flow::default()
            };
        }
        if flow.kind == FlowKind::Other {
            self.ignored += 1;
            return Vec::new();
        }
        flow.take(sequence, payload);
        let mut seen = Vec::new();
        while let Some((at, found)) = flow.next_found() {
            seen.push(Observation {
                transport: "tcp",
                from,
                to,
                at,
                found,
            });
        }
        seen
    }
}

impl Flow {
    /// Adds octets where they belong; retransmitted ones are dropped, early ones kept.
    fn take(&mut self, sequence: u32, payload: Bytes) {
        if payload.is_empty() {
            return;
        }
        self.next.get_or_insert(sequence);
        if self.early.len() < EARLY_SEGMENTS_MAX {
            let longest = self
                .early
                .get(&sequence)
                .is_none_or(|known| known.len() < payload.len());
            if longest {
                self.early.insert(sequence, payload);
            }
        } else {
            // A gap that was never filled: go on behind it.
            self.early.insert(sequence, payload);
            self.next = self.early.keys().next().copied();
        }
        while let Some(next) = self.next {
            let due: BTreeSet<u32> = self
                .early
                .keys()
                .copied()
                .filter(|at| !is_after(*at, next))
                .collect();
            let Some(at) = due.first() else { break };
            let Some(payload) = self.early.remove(at) else {
                break;
            };
            let known = next.wrapping_sub(*at) as usize;
            if let Some(fresh) = payload.get(known..).filter(|fresh| !fresh.is_empty()) {
                self.stream.push(fresh);
                // Lengths of segments fit in 16 bits.
                self.next = Some(next.wrapping_add(u32::try_from(fresh.len()).unwrap_or(0)));
            }
        }
    }

    fn next_found(&mut self) -> Option<(u64, StreamPrefix)> {
        let (at, found) = self.stream.next_found()?;
        if self.kind == FlowKind::Unknown {
            let is_frame = matches!(found, StreamPrefix::Frame(_) | StreamPrefix::Cut { .. });
            self.kind = if is_frame {
                FlowKind::Vstp
            } else {
                FlowKind::Other
            };
        }
        (self.kind == FlowKind::Vstp).then_some((at, found))
    }
}

/// Sequence numbers wrap: RFC 9293, section 3.4.
const fn is_after(sequence: u32, next: u32) -> bool {
    sequence != next && sequence.wrapping_sub(next) < 1 << 31
}

/// Segments kept behind a gap of one direction.
const EARLY_SEGMENTS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::{
        super::{
            from_hex,
            packet::tests::{tcp, udp},
        },
        *,
    };

    fn hello() -> Vec<u8> {
        from_hex("565401030000000000000548656c6c6f326d0910").expect("hex")
    }

    fn frames(seen: &[Observation]) -> usize {
        seen.iter()
            .filter(|seen| matches!(&seen.found, StreamPrefix::Frame(f) if f.problems.is_empty()))
            .count()
    }

    fn run(packets: &[Vec<u8>]) -> (Vec<Observation>, usize) {
        let mut flows = Flows::default();
        let mut seen = Vec::new();
        for packet in packets {
            seen.extend(flows.push(101, packet.clone().into()));
        }
        let ignored = flows.ignored;
        seen.extend(flows.finish());
        (seen, ignored)
    }

    #[test]
    fn a_frame_over_three_segments_in_any_order_with_repeats() {
        let frame = hello();
        // Sequence numbers wrap within the frame.
        let start = u32::MAX - 4;
        let syn = tcp(start.wrapping_sub(1), 0x02, b"");
        let part = |from: u32, to: u32| {
            tcp(
                start.wrapping_add(from),
                0x18,
                &frame[from as usize..to as usize],
            )
        };
        let (seen, _) = run(&[
            syn,
            part(12, 20),
            part(0, 5),
            part(0, 5),
            part(3, 12),
            part(12, 20),
        ]);
        assert_eq!((frames(&seen), seen.len()), (1, 1), "{seen:?}");
    }

    #[test]
    fn datagrams_are_frames_of_their_own() {
        let (seen, ignored) = run(&[udp(&hello()), udp(b"dns?"), udp(&hello())]);
        assert_eq!((frames(&seen), ignored), (2, 1));
        assert_eq!(seen[0].transport, "udp");
    }

    #[test]
    fn conversations_of_something_else_are_left_out() {
        let (seen, _) = run(&[
            tcp(1, 0x18, b"GET / HTTP/1.1\r\n\r\n"),
            tcp(19, 0x18, &hello()),
        ]);
        assert_eq!(seen, []);
    }

    #[test]
    fn a_gap_that_is_never_filled_ends_as_a_cut_frame() {
        let frame = hello();
        let (seen, _) = run(&[tcp(1, 0x18, &frame[..12]), tcp(15, 0x18, &frame[14..])]);
        assert!(
            matches!(
                seen.as_slice(),
                [Observation {
                    found: StreamPrefix::Cut { .. },
                    ..
                }]
            ),
            "{seen:?}"
        );
    }
}
