//! Where the octets of an HTTP/2 connection stand between frames, as far as a slow request head
//! shows in it (RFC 9113 sections 4.1 and 6.10), and how many frames came that only cost (flood.rs). Pure;
//! the frames themselves are hyper's to read.

use super::flood::FrameCounts;

/// Follows frame headers.
#[derive(Debug)]
pub(super) struct Frames {
    /// The frame header as far as it is there.
    header: [u8; HEADER_BYTES],
    n_header: usize,
    /// Octets of the payload that are still to come.
    left: usize,
    is_data: bool,
    /// A header section has begun and no frame has ended it.
    is_in_section: bool,
    counts: FrameCounts,
}

impl Default for Frames {
    /// At the beginning of a connection: its preface counts as the payload of a frame.
    fn default() -> Self {
        Self {
            header: [0; HEADER_BYTES],
            n_header: 0,
            left: PREFACE.len(),
            is_data: false,
            is_in_section: false,
            counts: FrameCounts::default(),
        }
    }
}

impl Frames {
    pub(super) fn take(&mut self, octets: &[u8]) {
        let mut rest = octets;
        loop {
            let n_payload = self.left.min(rest.len());
            self.left -= n_payload;
            rest = rest.get(n_payload..).unwrap_or_default();
            let Some((octet, after)) = rest.split_first() else {
                return;
            };
            rest = after;
            if let Some(place) = self.header.get_mut(self.n_header) {
                *place = *octet;
            }
            self.n_header += 1;
            if self.n_header == HEADER_BYTES {
                self.n_header = 0;
                self.begin_frame();
            }
        }
    }

    /// Whether something has begun that the client must complete before it asks for anything:
    /// a header section, or a frame other than DATA.
    pub(super) fn is_in_head(&self) -> bool {
        self.is_in_section || self.n_header > 0 || (self.left > 0 && !self.is_data)
    }

    pub(super) const fn counts(&self) -> FrameCounts {
        self.counts
    }

    fn begin_frame(&mut self) {
        let [long, mid, low, kind, flags, ..] = self.header;
        self.left = usize::from(long) << 16 | usize::from(mid) << 8 | usize::from(low);
        self.is_data = kind == DATA;
        match kind {
            HEADERS | CONTINUATION => self.is_in_section = flags & END_HEADERS == 0,
            PING | SETTINGS if flags & ACK == 0 => self.counts.n_pings += 1,
            RST_STREAM => self.counts.n_resets += 1,
            _ => {}
        }
    }
}

/// What an HTTP/2 client sends first (RFC 9113 section 3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, n_payload: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, n_payload, kind, flags, 0, 0, 0, 1];
        frame.resize(HEADER_BYTES + usize::from(n_payload), 7);
        frame
    }

    /// Feeds the preface and `octets`, in pieces of each length.
    #[track_caller]
    fn check(octets: &[u8], is_in_head: bool) {
        let octets = [&PREFACE[..], octets].concat();
        for n_piece in 1..=octets.len() {
            let mut frames = Frames::default();
            assert!(frames.is_in_head());
            for piece in octets.chunks(n_piece) {
                frames.take(piece);
            }
            assert_eq!(frames.is_in_head(), is_in_head, "pieces of {n_piece}");
        }
    }

    #[test]
    fn a_header_section_is_over_with_the_frame_that_says_so() {
        check(&[], false);
        check(&frame(HEADERS, END_HEADERS, 5), false);
        check(&frame(HEADERS, 1, 5), true);
        check(
            &[frame(HEADERS, 1, 5), frame(CONTINUATION, 0, 1)].concat(),
            true,
        );
        check(
            &[frame(HEADERS, 1, 5), frame(CONTINUATION, END_HEADERS, 0)].concat(),
            false,
        );
    }

    #[test]
    fn a_part_of_a_frame_is_waited_for_unless_it_is_data() {
        check(&frame(HEADERS, END_HEADERS, 5)[..13], true);
        check(&frame(4, 0, 6)[..3], true);
        check(&frame(4, 0, 6)[..14], true);
        check(&frame(DATA, 0, 6)[..12], false);
    }

    #[test]
    fn frames_that_only_cost_are_counted() {
        let octets = [
            frame(SETTINGS, 0, 6),
            frame(SETTINGS, ACK, 0),
            frame(PING, 0, 8),
            frame(PING, ACK, 8),
            frame(RST_STREAM, 0, 4),
            frame(DATA, 0, 3),
        ];
        let octets = [&PREFACE[..], &octets.concat()].concat();
        let mut frames = Frames::default();
        octets.chunks(5).for_each(|piece| frames.take(piece));
        let (n_pings, n_resets) = (2, 1);
        assert_eq!(frames.counts(), FrameCounts { n_pings, n_resets });
    }
}
