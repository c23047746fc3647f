//! One frame, to octets and back. Format: wire/mod.rs, table "Frame".

#[cfg(test)]
pub(super) mod tests;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::headers::{HeaderError, Headers};

/// Octets before the header section.
pub const HEAD_BYTES: usize = 11;
/// Octets after the payload.
pub const CRC_BYTES: usize = 4;
/// Octets of a frame without headers and payload.
pub const FRAME_BYTES_MIN: usize = HEAD_BYTES + CRC_BYTES;
/// First two octets of every frame.
pub const MAGIC: [u8; 2] = *b"VT";
/// The only version.
pub const VERSION: u8 = 1;

/// The unit on the wire.
///
/// Headers and payload of a decoded frame share the buffer it was decoded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: FrameType,
    pub flags: Flags,
    pub headers: Headers,
    pub payload: Bytes,
}

/// What a frame is for; octet 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FrameType {
    Hello = 1,
    Welcome = 2,
    Data = 3,
    Ping = 4,
    Pong = 5,
    Bye = 6,
    Ack = 7,
    Err = 8,
}

/// Octet 4. Only the four defined bits can be set.
///
/// | bit | name | meaning |
/// |---|---|---|
/// | `0x01` | `REQ_ACK` | the sender wants an ACK |
/// | `0x02` | `CRC` | none: the crc is always there and always checked |
/// | `0x10` | `FRAG` | the payload is one part of a message |
/// | `0x20` | `COMP` | the payload is compressed, see header `encoding` |
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(u8);

/// Why octets are not a frame, or a frame cannot be put into octets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("magic is {:02x}{:02x}, not 5654", found[0], found[1])]
    Magic { found: [u8; 2] },
    #[error("version {found} is not {VERSION}")]
    Version { found: u8 },
    #[error("frame of {declared} octets exceeds the limit of {limit}")]
    TooLong { declared: u64, limit: usize },
    #[error("crc {found:08x} does not match the octets, whose crc is {computed:08x}")]
    Crc { found: u32, computed: u32 },
    #[error("frame type {found} is not one of 1 to 8")]
    Type { found: u8 },
    #[error("flags {found:#04x} have bits beside 0x33 set")]
    Flags { found: u8 },
    #[error(transparent)]
    Headers(#[from] HeaderError),
    #[error("datagram of {found} octets cuts off a frame of {needed}")]
    Truncated { needed: u64, found: usize },
}

/// The fixed head of a frame whose magic, version and size are in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    kind: u8,
    flags: u8,
    headers_len: usize,
    payload_len: usize,
}

impl Frame {
    /// A frame of that type with no flags, headers or payload.
    #[must_use]
    pub const fn new(kind: FrameType) -> Self {
        Self {
            kind,
            flags: Flags::NONE,
            headers: Headers::new(),
            payload: Bytes::new(),
        }
    }

    /// A DATA frame without flags.
    #[must_use]
    pub fn data(headers: Headers, payload: impl Into<Bytes>) -> Self {
        Self {
            headers,
            payload: payload.into(),
            ..Self::new(FrameType::Data)
        }
    }

    /// Octets of the whole frame on the wire.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        FRAME_BYTES_MIN + self.headers.section().len() + self.payload.len()
    }

    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// `TooLong` when the payload has more than 2^32 - 1 octets; `out` is then as it was.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), FrameError> {
        let head = self.head()?;
        let start = out.len();
        out.reserve(self.encoded_len());
        out.extend_from_slice(&head);
        out.extend_from_slice(self.headers.section());
        out.extend_from_slice(&self.payload);
        let crc = crc32fast::hash(out.get(start..).unwrap_or_default());
        out.put_u32(crc);
        Ok(())
    }

    /// Appends what stands before the payload and gives the crc that stands after it, so that a
    /// large payload is sent from where it lies.
    ///
    /// # Errors
    /// As `encode`.
    pub fn encode_around_payload(&self, out: &mut BytesMut) -> Result<[u8; CRC_BYTES], FrameError> {
        let head = self.head()?;
        let start = out.len();
        out.reserve(HEAD_BYTES + self.headers.section().len());
        out.extend_from_slice(&head);
        out.extend_from_slice(self.headers.section());
        let mut crc = crc32fast::Hasher::new();
        crc.update(out.get(start..).unwrap_or_default());
        crc.update(&self.payload);
        Ok(crc.finalize().to_be_bytes())
    }

    /// Takes the frame at the start of a datagram. Octets after it are ignored, as the published
    /// receiver ignores them.
    ///
    /// # Errors
    /// Every `FrameError`; `Truncated` where the datagram ends before the frame does.
    pub fn decode_datagram(datagram: Bytes, bytes_max: usize) -> Result<Self, FrameError> {
        let found = datagram.len();
        let Some(head) = Head::parse(&datagram, bytes_max)? else {
            return Err(FrameError::Truncated {
                needed: FRAME_BYTES_MIN as u64,
                found,
            });
        };
        let needed = head.frame_len();
        let Some(frame) = datagram.get(..needed) else {
            return Err(FrameError::Truncated {
                needed: needed as u64,
                found,
            });
        };
        check_crc(frame)?;
        let mut rest = datagram;
        rest.advance(HEAD_BYTES);
        let headers = rest.split_to(head.headers_len);
        rest.truncate(head.payload_len);
        head.into_frame(headers, rest)
    }

    fn head(&self) -> Result<[u8; HEAD_BYTES], FrameError> {
        let section_len = self.headers.section().len();
        let Ok(headers_len) = u16::try_from(section_len) else {
            return Err(HeaderError::SectionTooLong {
                length: section_len,
            }
            .into());
        };
        let Ok(payload_len) = u32::try_from(self.payload.len()) else {
            let limit = u32::MAX as usize;
            return Err(FrameError::TooLong {
                declared: self.payload.len() as u64,
                limit,
            });
        };
        let [h0, h1] = headers_len.to_le_bytes();
        let [p0, p1, p2, p3] = payload_len.to_be_bytes();
        let [m0, m1] = MAGIC;
        Ok([
            m0,
            m1,
            VERSION,
            self.kind as u8,
            self.flags.0,
            h0,
            h1,
            p0,
            p1,
            p2,
            p3,
        ])
    }
}

impl Head {
    /// Reads the head at the start of `octets`; `None` when fewer than 11 are there.
    ///
    /// # Errors
    /// `Magic`, `Version`, `TooLong` when the frame would exceed `bytes_max`.
    pub(super) fn parse(octets: &[u8], bytes_max: usize) -> Result<Option<Self>, FrameError> {
        let [m0, m1, version, kind, flags, h0, h1, p0, p1, p2, p3, ..] = *octets else {
            return Ok(None);
        };
        if [m0, m1] != MAGIC {
            return Err(FrameError::Magic { found: [m0, m1] });
        }
        if version != VERSION {
            return Err(FrameError::Version { found: version });
        }
        let headers_len = u16::from_le_bytes([h0, h1]);
        let payload_len = u32::from_be_bytes([p0, p1, p2, p3]);
        let declared = FRAME_BYTES_MIN as u64 + u64::from(headers_len) + u64::from(payload_len);
        if declared > bytes_max as u64 {
            return Err(FrameError::TooLong {
                declared,
                limit: bytes_max,
            });
        }
        let headers_len = usize::from(headers_len);
        Ok(Some(Self {
            kind,
            flags,
            headers_len,
            payload_len: payload_len as usize,
        }))
    }

    /// Octets of the whole frame.
    pub(super) const fn frame_len(&self) -> usize {
        FRAME_BYTES_MIN + self.headers_len + self.payload_len
    }

    /// Takes the frame, all of whose octets are there, off the start of `buffer`.
    ///
    /// # Errors
    /// `Crc`, `Type`, `Flags`, `Headers`. `buffer` is as it was after `Crc` only.
    pub(super) fn take(self, buffer: &mut BytesMut) -> Result<Frame, FrameError> {
        check_crc(buffer.get(..self.frame_len()).unwrap_or_default())?;
        buffer.advance(HEAD_BYTES);
        let headers = split_off(buffer, self.headers_len);
        let payload = split_off(buffer, self.payload_len);
        buffer.advance(CRC_BYTES);
        self.into_frame(headers, payload)
    }

    fn into_frame(self, section: Bytes, payload: Bytes) -> Result<Frame, FrameError> {
        let Some(kind) = FrameType::from_code(self.kind) else {
            return Err(FrameError::Type { found: self.kind });
        };
        let Some(flags) = Flags::from_bits(self.flags) else {
            return Err(FrameError::Flags { found: self.flags });
        };
        let headers = Headers::from_section(section)?;
        Ok(Frame {
            kind,
            flags,
            headers,
            payload,
        })
    }
}

impl FrameType {
    /// Every type, in the order of its code.
    pub const ALL: [Self; 8] = [
        Self::Hello,
        Self::Welcome,
        Self::Data,
        Self::Ping,
        Self::Pong,
        Self::Bye,
        Self::Ack,
        Self::Err,
    ];

    /// The type of that code (1 to 8).
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Data,
            4 => Self::Ping,
            5 => Self::Pong,
            6 => Self::Bye,
            7 => Self::Ack,
            8 => Self::Err,
            _ => return None,
        })
    }

    /// The name as the documents spell it: `HELLO`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hello => "HELLO",
            Self::Welcome => "WELCOME",
            Self::Data => "DATA",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::Bye => "BYE",
            Self::Ack => "ACK",
            Self::Err => "ERR",
        }
    }
}

impl std::fmt::Display for FrameType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl FrameError {
    /// The name on the wire (`code` of ERR) and in metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Magic { .. } => "magic",
            Self::Version { .. } => "version",
            Self::TooLong { .. } => "too-long",
            Self::Crc { .. } => "crc",
            Self::Type { .. } => "type",
            Self::Flags { .. } => "flags",
            Self::Headers(_) => "headers",
            Self::Truncated { .. } => "truncated",
        }
    }
}

impl Flags {
    pub const NONE: Self = Self(0);
    pub const REQ_ACK: Self = Self(0x01);
    pub const CRC: Self = Self(0x02);
    pub const FRAG: Self = Self(0x10);
    pub const COMP: Self = Self(0x20);

    const NAMES: [(Self, &'static str); 4] = [
        (Self::REQ_ACK, "REQ_ACK"),
        (Self::CRC, "CRC"),
        (Self::FRAG, "FRAG"),
        (Self::COMP, "COMP"),
    ];
    const DEFINED: u8 = 0x33;

    /// `None` when an undefined bit is set.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::DEFINED == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether every bit of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::fmt::Display for Flags {
    /// `REQ_ACK|FRAG`; a dash when none is set.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for (flag, name) in Self::NAMES {
            if self.contains(flag) {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        if separator.is_empty() {
            f.write_str("-")
        } else {
            Ok(())
        }
    }
}

impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Flags({self})")
    }
}

/// Compares the last four octets of a whole frame with the crc of those before.
fn check_crc(frame: &[u8]) -> Result<(), FrameError> {
    let Some((covered, crc)) = frame.split_last_chunk::<CRC_BYTES>() else {
        return Err(FrameError::Truncated {
            needed: FRAME_BYTES_MIN as u64,
            found: frame.len(),
        });
    };
    let (found, computed) = (u32::from_be_bytes(*crc), crc32fast::hash(covered));
    if found == computed {
        Ok(())
    } else {
        Err(FrameError::Crc { found, computed })
    }
}

/// An empty part must not hold on to the buffer, and sharing it would cost an atomic.
fn split_off(buffer: &mut BytesMut, n: usize) -> Bytes {
    if n == 0 {
        Bytes::new()
    } else {
        buffer.split_to(n).freeze()
    }
}
