//! One frame taken apart. Format: postern_core::wire, table "Frame"; here every field is kept as it
//! stands and every violation gets a sentence.

use bytes::{Buf, Bytes, BytesMut};
use postern_core::wire::{
    FrameType,
    frame::{FRAME_BYTES_MIN, HEAD_BYTES, MAGIC, VERSION, checksum},
};

/// A frame as it was found, sound or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dissected {
    pub version: u8,
    pub kind: u8,
    pub flags: u8,
    /// Entries as they stand, continuations not joined.
    pub headers: Vec<(Bytes, Bytes)>,
    pub payload: Bytes,
    pub crc: Crc,
    /// Octets of the whole frame.
    pub length: usize,
    /// What a strict receiver refuses, in the order of its checks.
    pub problems: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crc {
    pub found: u32,
    pub computed: u32,
}

/// What stands at the beginning of some octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum StreamPrefix {
    Frame(Box<Dissected>),
    /// No frame begins here; the next may begin behind these octets.
    Garbage {
        octets: Bytes,
    },
    /// The octets end within a frame.
    Cut {
        needed: usize,
        octets: Bytes,
    },
}

/// Octets of one direction of a stream, and what they hold.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    buffer: BytesMut,
    /// Where the next frame begins, from the start of the stream.
    at: u64,
}

impl Dissected {
    /// `DATA`, or `type 9`.
    #[must_use]
    pub(crate) fn kind_name(&self) -> String {
        match FrameType::from_code(self.kind) {
            Some(kind) => kind.name().to_uppercase(),
            None => format!("type {}", self.kind),
        }
    }

    /// `REQ_ACK`, `CRC`, ..., and `0x40` for what has no name.
    #[must_use]
    pub(crate) fn flag_names(&self) -> Vec<String> {
        (0..8)
            .map(|bit| 1 << bit)
            .filter(|bit| self.flags & bit != 0)
            .map(
                |bit| match FLAG_NAMES.iter().find(|(flag, _)| *flag == bit) {
                    Some((_, name)) => (*name).to_owned(),
                    None => format!("{bit:#04x}"),
                },
            )
            .collect()
    }

    /// The first value of a header, continuations joined, if it is text.
    #[cfg(test)]
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let mut entries = self
            .headers
            .iter()
            .skip_while(|(key, _)| key != name.as_bytes());
        let mut value = entries.next()?.1.to_vec();
        for (_, more) in entries.take_while(|(key, _)| key.is_empty()) {
            value.extend_from_slice(more);
        }
        String::from_utf8(value).ok()
    }
}

impl Stream {
    pub(crate) fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// The next frame or garbage, with its offset in the stream; `None` until more octets come.
    pub(crate) fn next_found(&mut self) -> Option<(u64, StreamPrefix)> {
        if self.buffer.len() < HEAD_BYTES && self.buffer.starts_with(&MAGIC) {
            return None;
        }
        match dissect(&self.buffer) {
            Some(StreamPrefix::Frame(frame)) => {
                Some((self.advance(frame.length), StreamPrefix::Frame(frame)))
            }
            Some(StreamPrefix::Garbage { octets }) => {
                // The last octet may be the first of a magic.
                let ends_in_magic =
                    self.buffer.len() == octets.len() && octets.last() == Some(&MAGIC[0]);
                let length = octets.len() - usize::from(ends_in_magic);
                if length == 0 {
                    return None;
                }
                let octets = octets.slice(..length);
                Some((self.advance(length), StreamPrefix::Garbage { octets }))
            }
            Some(StreamPrefix::Cut { needed, .. }) if needed <= STREAM_FRAME_BYTES_MAX => None,
            Some(StreamPrefix::Cut { needed, .. }) => {
                // Waiting for it would swallow everything that follows.
                let octets = self.buffer.clone().freeze();
                let at = self.advance(MAGIC.len());
                Some((at, StreamPrefix::Cut { needed, octets }))
            }
            None => None,
        }
    }

    /// What is left when the stream has ended within a frame.
    pub(crate) fn finish(mut self) -> Option<(u64, StreamPrefix)> {
        let found = dissect(&self.buffer)?;
        let length = self.buffer.len();
        Some((self.advance(length), found))
    }

    fn advance(&mut self, length: usize) -> u64 {
        let at = self.at;
        self.buffer.advance(length);
        self.at += length as u64;
        at
    }
}

impl Crc {
    fn problem(&self) -> Option<String> {
        let Self { found, computed } = *self;
        if found == computed {
            return None;
        }
        let swapped = if found == computed.swap_bytes() {
            ", written little endian"
        } else {
            ""
        };
        Some(format!(
            "crc is {found:08x}{swapped}, the octets have {computed:08x}"
        ))
    }
}

/// Takes apart what stands at the beginning of `octets`; `None` when there are none.
#[must_use]
pub(crate) fn dissect(octets: &[u8]) -> Option<StreamPrefix> {
    if octets.is_empty() {
        return None;
    }
    if !octets.starts_with(&MAGIC) {
        let next = octets
            .windows(MAGIC.len())
            .position(|window| window == MAGIC);
        let length = next.unwrap_or(octets.len());
        let octets = Bytes::copy_from_slice(octets.get(..length).unwrap_or_default());
        return Some(StreamPrefix::Garbage { octets });
    }
    let cut = |needed| StreamPrefix::Cut {
        needed,
        octets: Bytes::copy_from_slice(octets),
    };
    let Some(&[_, _, version, kind, flags, h0, h1, p0, p1, p2, p3]) =
        octets.first_chunk::<HEAD_BYTES>()
    else {
        return Some(cut(FRAME_BYTES_MIN));
    };
    let headers_len = usize::from(u16::from_le_bytes([h0, h1]));
    let payload_len = u32::from_be_bytes([p0, p1, p2, p3]);
    let length = FRAME_BYTES_MIN + headers_len + payload_len as usize;
    let Some(frame) = octets.get(..length) else {
        return Some(cut(length));
    };
    let frame = Bytes::copy_from_slice(frame);
    let (covered, crc) = (frame.slice(..length - 4), frame.slice(length - 4..));
    let crc = Crc {
        found: crc.clone().get_u32(),
        computed: checksum(&covered),
    };
    let section = covered.slice(HEAD_BYTES..HEAD_BYTES + headers_len);
    let payload = covered.slice(HEAD_BYTES + headers_len..);
    let (headers, overrun) = read_entries(section);
    let mut problems = head_problems(version, kind, flags, length);
    problems.extend(crc.problem());
    problems.extend(overrun);
    let frame = Dissected {
        version,
        kind,
        flags,
        headers,
        payload,
        crc,
        length,
        problems,
    };
    Some(StreamPrefix::Frame(Box::new(frame)))
}

/// What is wrong with the fields before the header section.
fn head_problems(version: u8, kind: u8, flags: u8, length: usize) -> Vec<String> {
    let mut problems = Vec::new();
    if version != VERSION {
        problems.push(format!("version {version} is not {VERSION}"));
    }
    if length > STREAM_FRAME_BYTES_MAX {
        problems.push(format!(
            "{length} octets exceed the limit of {STREAM_FRAME_BYTES_MAX}"
        ));
    }
    if FrameType::from_code(kind).is_none() {
        problems.push(format!("type {kind} is not one of 1 to 8"));
    }
    if flags & !FLAGS_DEFINED != 0 {
        let undefined = flags & !FLAGS_DEFINED;
        problems.push(format!(
            "undefined flags {undefined:#04x}: published receivers drop all"
        ));
    }
    problems
}

/// The entries that are whole, and what is wrong with the one that is not.
fn read_entries(mut section: Bytes) -> (Vec<(Bytes, Bytes)>, Option<String>) {
    let mut entries = Vec::new();
    while let [first, rest @ ..] = &section[..] {
        let key_len = usize::from(*first);
        let needed = 2 + key_len + rest.first().map_or(0, |value_len| usize::from(*value_len));
        if rest.is_empty() || section.len() < needed {
            let left = section.len();
            let problem = format!(
                "header {} needs {needed} octets, {left} are left",
                entries.len() + 1
            );
            return (entries, Some(problem));
        }
        let mut entry = section.split_to(needed);
        entry.advance(2);
        let key = entry.split_to(key_len);
        entries.push((key, entry));
    }
    (entries, None)
}

/// The published implementation's limit per frame (reference: VSTP section 6, 8 MiB).
const STREAM_FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
const FLAG_NAMES: [(u8, &str); 4] = [
    (0x01, "REQ_ACK"),
    (0x02, "CRC"),
    (0x10, "FRAG"),
    (0x20, "COMP"),
];
const FLAGS_DEFINED: u8 = 0x33;

#[cfg(test)]
mod tests {
    use super::{super::from_hex, *};

    fn octets(hex: &str) -> Vec<u8> {
        from_hex(hex).expect("hex")
    }

    fn frame(hex: &str) -> Dissected {
        match dissect(&octets(hex)) {
            Some(StreamPrefix::Frame(frame)) => *frame,
            other => panic!("no frame: {other:?}"),
        }
    }

    #[track_caller]
    fn check(hex: &str, problem: &str) {
        let frame = frame(hex);
        let [told] = frame.problems.as_slice() else {
            panic!("{:?}", frame.problems)
        };
        assert!(told.contains(problem), "{told}");
    }

    const TEST_VALUE: &str =
        "5654010300 0b00 00000005 0405 74657374 76616c7565 48656c6c6f 6dffe407";

    #[test]
    fn takes_a_frame_apart() {
        let frame = frame(TEST_VALUE);
        assert_eq!(frame.kind_name(), "DATA");
        assert_eq!(frame.header("test").as_deref(), Some("value"));
        assert_eq!(&frame.payload[..], b"Hello");
        assert_eq!((frame.length, frame.problems.len()), (31, 0));
    }

    #[test]
    fn names_every_flag() {
        let sound = frame("56540103330000000000040001020301eaae06");
        assert_eq!(sound.flag_names(), ["REQ_ACK", "CRC", "FRAG", "COMP"]);
        assert!(sound.problems.is_empty());
        // The same with bit 0x40 beside them, and its own crc.
        let mut other = octets("5654010340000000000000");
        other.extend(checksum(&other).to_be_bytes());
        let Some(StreamPrefix::Frame(other)) = dissect(&other) else {
            panic!("a frame")
        };
        assert_eq!(other.flag_names(), ["0x40"]);
        assert!(other.problems[0].contains("undefined flags 0x40"));
    }

    #[test]
    fn names_what_a_strict_receiver_refuses() {
        check("5654020300000000000000eb0aafdc", "version 2 is not 1");
        check(
            "565401010000000000000090a29465",
            "crc is 90a29465, the octets have 90a29464",
        );
        check("56540101000000000000006494a290", "written little endian");
        // Header entry that wants 9 octets of value where none are left.
        let mut overrun = octets("5654010300 0300 00000000 0109 6b");
        overrun.extend(checksum(&overrun).to_be_bytes());
        let Some(StreamPrefix::Frame(overrun)) = dissect(&overrun) else {
            panic!("a frame")
        };
        assert_eq!(overrun.problems, ["header 1 needs 12 octets, 3 are left"]);
    }

    #[test]
    fn a_stream_may_be_cut_anywhere() {
        let whole = [octets("ff00"), octets(TEST_VALUE), octets(TEST_VALUE)].concat();
        for size in 1..=whole.len() {
            let mut stream = Stream::default();
            let mut frames = Vec::new();
            let mut garbage = Vec::new();
            for chunk in whole.chunks(size) {
                stream.push(chunk);
                while let Some((at, found)) = stream.next_found() {
                    match found {
                        StreamPrefix::Frame(frame) => frames.push((at, frame)),
                        StreamPrefix::Garbage { octets } => garbage.extend(octets),
                        StreamPrefix::Cut { .. } => panic!("nothing is cut"),
                    }
                }
            }
            assert_eq!(garbage, [0xff, 0x00], "{size}");
            assert_eq!(
                frames.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
                [2, 33],
                "{size}"
            );
            assert_eq!(stream.finish(), None);
        }
    }

    #[test]
    fn an_end_within_a_frame_is_told() {
        let mut stream = Stream::default();
        stream.push(&octets(TEST_VALUE)[..20]);
        assert_eq!(stream.next_found(), None);
        let Some((0, StreamPrefix::Cut { needed: 31, .. })) = stream.finish() else {
            panic!("cut")
        };
    }

    #[test]
    fn a_declared_length_beyond_the_limit_does_not_swallow_what_follows() {
        let mut stream = Stream::default();
        stream.push(&octets("5654010300ffffffffffff"));
        stream.push(&octets(TEST_VALUE));
        assert!(matches!(
            stream.next_found(),
            Some((0, StreamPrefix::Cut { .. }))
        ));
        assert!(matches!(
            stream.next_found(),
            Some((2, StreamPrefix::Garbage { .. }))
        ));
        assert!(matches!(
            stream.next_found(),
            Some((11, StreamPrefix::Frame(_)))
        ));
    }
}
