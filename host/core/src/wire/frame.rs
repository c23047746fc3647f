//! One frame, to octets and back. Format: wire/mod.rs, table "Frame".

mod bits;
#[cfg(test)]
pub(super) mod tests;

use bytes::{Buf, Bytes, BytesMut};

pub use self::bits::{Flags, FrameType};
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
            flags: Flags::empty(),
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
        out.extend_from_slice(&crc.to_be_bytes());
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
        head.divide(datagram)
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
            self.flags.bits(),
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
        let frame = buffer.split_to(self.frame_len());
        self.divide(frame.freeze())
    }

    /// Divides the octets of a whole frame, which its parts go on sharing. An empty part must not hold
    /// on to them.
    fn divide(self, mut rest: Bytes) -> Result<Frame, FrameError> {
        rest.advance(HEAD_BYTES);
        let headers = rest.split_to(self.headers_len);
        let payload = if self.payload_len == 0 {
            Bytes::new()
        } else {
            rest.truncate(self.payload_len);
            rest
        };
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

/// CRC-32/ISO-HDLC of all octets of a frame before its last four.
#[must_use]
pub fn checksum(octets: &[u8]) -> u32 {
    crc32fast::hash(octets)
}
