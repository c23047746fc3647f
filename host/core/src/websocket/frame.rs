//! The head of a frame (RFC 6455 section 5.2) and the mask (section 5.3).
//!
//! ```text
//!  0                   1
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
//! +-+-+-+-+-------+-+-------------+----------------------+----------------------+
//! |F|R|R|R| opcode|M| length      | 16 bits where 126,   | mask, 32 bits, where |
//! |I|S|S|S|  (4)  |A|   (7)       | 64 bits where 127;   | MASK is set          |
//! |N|V|V|V|       |S|             | the shortest form    |                      |
//! | |1|2|3|       |K|             |                      |                      |
//! +-+-+-+-+-------+-+-------------+----------------------+----------------------+
//! ```

use super::fault::WebSocketFault;

/// Largest payload of a control frame (section 5.5), in octets.
pub(super) const CONTROL_BYTES_MAX: usize = 125;
/// Largest head, in octets.
pub(super) const HEAD_BYTES_MAX: usize = 14;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebSocketHead {
    /// The last frame of its message.
    pub is_final: bool,
    /// RSV1: the message is compressed (RFC 7692 section 6).
    pub is_compressed: bool,
    pub opcode: Opcode,
    pub length: u64,
    pub mask: Option<[u8; 4]>,
}

impl Opcode {
    const fn from_bits(bits: u8) -> Option<Self> {
        match bits {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    pub(super) const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl WebSocketHead {
    /// Reads a head off the front of `octets`; says how long it is. `None` until it is whole.
    ///
    /// # Errors
    /// What no head may say, whatever stands before it.
    pub fn read(octets: &[u8]) -> Result<Option<(Self, usize)>, WebSocketFault> {
        let [first, second, rest @ ..] = octets else {
            return Ok(None);
        };
        if first & 0x30 != 0 {
            return Err(WebSocketFault::ReservedBits((first >> 4) & 0x7));
        }
        let bits = first & 0xF;
        let opcode = Opcode::from_bits(bits).ok_or(WebSocketFault::ReservedOpcode(bits))?;
        let (length, n_length) = match second & 0x7F {
            126 => match rest.first_chunk::<2>() {
                None => return Ok(None),
                Some(length) => (u64::from(u16::from_be_bytes(*length)), 2),
            },
            127 => match rest.first_chunk::<8>() {
                None => return Ok(None),
                Some(length) => (u64::from_be_bytes(*length), 8),
            },
            length => (u64::from(length), 0),
        };
        let is_shortest = match n_length {
            0 => true,
            2 => length > 125,
            _ => length > u64::from(u16::MAX) && length >> 63 == 0,
        };
        if !is_shortest {
            return Err(WebSocketFault::Length(length));
        }
        let mut n_octets = 2 + n_length;
        let mut mask = None;
        if second & 0x80 != 0 {
            let Some(key) = octets.get(n_octets..).and_then(<[u8]>::first_chunk::<4>) else {
                return Ok(None);
            };
            mask = Some(*key);
            n_octets += 4;
        }
        let head = Self {
            is_final: first & 0x80 != 0,
            is_compressed: first & 0x40 != 0,
            opcode,
            length,
            mask,
        };
        Ok(Some((head, n_octets)))
    }

    /// Appends the head to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        let first = flag(self.is_final, 0x80) | flag(self.is_compressed, 0x40);
        out.push(first | self.opcode.bits());
        let masked = flag(self.mask.is_some(), 0x80);
        match (u8::try_from(self.length), u16::try_from(self.length)) {
            (Ok(length @ 0..=125), _) => out.push(masked | length),
            (_, Ok(length)) => {
                out.push(masked | 126);
                out.extend_from_slice(&length.to_be_bytes());
            }
            _ => {
                out.push(masked | 127);
                out.extend_from_slice(&self.length.to_be_bytes());
            }
        }
        if let Some(key) = self.mask {
            out.extend_from_slice(&key);
        }
    }
}

/// Masks or unmasks `octets`, the first of which stands `offset` octets behind the head.
pub fn apply_mask(octets: &mut [u8], key: [u8; 4], offset: usize) {
    let mut key = key;
    key.rotate_left(offset % 4);
    // Eight octets at a time; the compiler makes wide instructions of it.
    let wide = u64::from_ne_bytes([
        key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3],
    ]);
    let (chunks, rest) = octets.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (octet, key) in rest.iter_mut().zip(key.iter().cycle()) {
        *octet ^= key;
    }
}
