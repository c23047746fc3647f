//! Where a chunked body ends (RFC 9112 section 7.1). Pure; the octets themselves are hyper's to read.
//!
//! ```text
//! Size ─hex─▶ Extension ─LF─▶ Data ─▶ DataEnd ─LF─▶ Size
//!                  └─ size 0, LF ─▶ Trailer ─ empty line ─▶ over
//! ```

/// The position in a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the digits of a size.
    Size {
        size: u64,
        n_digits: u8,
    },
    /// Behind the digits, up to the end of the line.
    Extension {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// At the line end behind a chunk's data.
    DataEnd,
    /// In the lines behind the last chunk; an empty one ends the body.
    Trailer {
        is_line_empty: bool,
    },
}

/// The body is not chunked as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl Default for Chunks {
    fn default() -> Self {
        Self::Size {
            size: 0,
            n_digits: 0,
        }
    }
}

impl Chunks {
    /// How many of `octets` belong to the body, and whether it is over with them.
    ///
    /// # Errors
    /// A size that is none, or data longer than their size.
    pub(super) fn take(&mut self, octets: &[u8]) -> Result<(usize, bool), Malformed> {
        let mut n_taken = 0;
        while let Some(octet) = octets.get(n_taken) {
            if let Self::Data { left } = self {
                let there = octets.len() - n_taken;
                let n_data = usize::try_from(*left).map_or(there, |left| left.min(there));
                n_taken += n_data;
                *left -= n_data as u64;
                if *left == 0 {
                    *self = Self::DataEnd;
                }
                continue;
            }
            n_taken += 1;
            if self.step(*octet)? {
                return Ok((n_taken, true));
            }
        }
        Ok((n_taken, false))
    }

    /// Takes one octet that is no data; says whether it ends the body.
    fn step(&mut self, octet: u8) -> Result<bool, Malformed> {
        *self = match (*self, octet) {
            (Self::Size { size, n_digits }, _) if octet.is_ascii_hexdigit() && n_digits < 16 => {
                let digit = char::from(octet).to_digit(16).unwrap_or_default();
                Self::Size {
                    size: size << 4 | u64::from(digit),
                    n_digits: n_digits + 1,
                }
            }
            (Self::Size { n_digits: 0, .. }, _) => return Err(Malformed),
            (Self::Size { size, .. } | Self::Extension { size }, b'\n') => match size {
                0 => Self::Trailer {
                    is_line_empty: true,
                },
                left => Self::Data { left },
            },
            (Self::Size { size, .. }, b' ' | b'\t' | b';' | b'\r')
            | (Self::Extension { size }, _) => Self::Extension { size },
            (Self::DataEnd, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::default(),
            (
                Self::Trailer {
                    is_line_empty: true,
                },
                b'\n',
            ) => return Ok(true),
            (Self::Trailer { is_line_empty }, b'\r') => Self::Trailer { is_line_empty },
            (Self::Trailer { .. }, _) => Self::Trailer {
                is_line_empty: octet == b'\n',
            },
            (Self::Size { .. } | Self::DataEnd | Self::Data { .. }, _) => return Err(Malformed),
        };
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `octets` in pieces of each length; `expected` is where the body ends.
    #[track_caller]
    fn check(octets: &[u8], expected: Result<Option<usize>, Malformed>) {
        for n_piece in 1..=octets.len() {
            let (mut chunks, mut n_taken, mut end) = (Chunks::default(), 0, Ok(None));
            for piece in octets.chunks(n_piece) {
                match chunks.take(piece) {
                    Ok((n, is_over)) => {
                        n_taken += n;
                        if is_over {
                            end = Ok(Some(n_taken));
                            break;
                        }
                    }
                    Err(malformed) => {
                        end = Err(malformed);
                        break;
                    }
                }
            }
            assert_eq!(end, expected, "pieces of {n_piece}");
        }
    }

    #[test]
    fn finds_the_end_however_the_octets_come() {
        check(b"0\r\n\r\nGET", Ok(Some(5)));
        check(
            b"5;a=\"b\"\r\n12345\r\n0a\r\n0123456789\r\n0\r\n\r\nnext",
            Ok(Some(37)),
        );
        check(b"1 \r\n\n\r\n000\r\nx-a: b\r\n\r\n", Ok(Some(22)));
        check(b"5\r\n12345\r\n0\r\nx: y\r\n", Ok(None));
    }

    #[test]
    fn refuses_what_is_no_chunk() {
        check(b"x\r\n", Err(Malformed));
        check(b"1\r\n12\r\n", Err(Malformed));
        check(b"-1\r\n", Err(Malformed));
        check(b"00000000000000001\r\n", Err(Malformed));
    }
}
