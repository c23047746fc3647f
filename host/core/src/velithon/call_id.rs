//! Ids of requests as callers make them: UUIDs of version 4 (RFC 9562 section 5.4), in lower case.

use std::fmt;

/// The id of a request of this end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u128);

/// Octets of its text.
const TEXT_BYTES: usize = 36;
/// Where the text has a dash.
const DASHES: [usize; 4] = [8, 13, 18, 23];

impl CallId {
    /// Of 122 bits of `random`.
    #[must_use]
    pub const fn new(random: u128) -> Self {
        let version = (random & !(0xF << 76)) | (0x4 << 76);
        Self((version & !(0b11 << 62)) | (0b10 << 62))
    }

    /// The id that `text` is, as this end writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != TEXT_BYTES {
            return None;
        }
        let mut number: u128 = 0;
        for (at, octet) in text.bytes().enumerate() {
            if DASHES.contains(&at) {
                if octet != b'-' {
                    return None;
                }
                continue;
            }
            let digit = match octet {
                b'0'..=b'9' => octet - b'0',
                b'a'..=b'f' => octet - b'a' + 10,
                _ => return None,
            };
            number = (number << 4) | u128::from(digit);
        }
        Some(Self(number))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:032x}", self.0);
        for (group, (from, to)) in [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]
            .into_iter()
            .enumerate()
        {
            if group > 0 {
                f.write_str("-")?;
            }
            f.write_str(digits.get(from..to).unwrap_or_default())?;
        }
        Ok(())
    }
}
