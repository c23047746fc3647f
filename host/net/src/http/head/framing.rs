//! Where the body of a request ends (RFC 9112 section 6.3), and under which host it is sent.

use super::{
    super::{chunked::Chunks, host},
    error::HeadError,
};

/// What comes next on a connection.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Position {
    #[default]
    Head,
    Length(u64),
    Chunked(Chunks),
    /// The body cannot be read. hyper says so; no request can follow.
    Broken,
}

/// The fields of one head that say it.
#[derive(Debug, Default)]
pub(super) struct Framing<'a> {
    host: Option<&'a [u8]>,
    n_hosts: usize,
    length: Option<u64>,
    coding: Option<&'a [u8]>,
    n_codings: usize,
    /// Why the first field that is not taken is none.
    fault: Option<HeadError>,
}

impl<'a> Framing<'a> {
    /// Takes note of the next field. Names are told apart by their lengths first.
    pub(super) fn note(&mut self, name: &[u8], value: &'a [u8]) {
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                self.host.get_or_insert(value);
                self.n_hosts += 1;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                let length = read_length(value);
                if length.is_none() || self.length.is_some_and(|before| Some(before) != length) {
                    self.fault.get_or_insert(HeadError::Length);
                }
                self.length = length;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.coding = Some(value);
                self.n_codings += 1;
            }
            n_octets if n_octets > usize::from(u16::MAX) => {
                self.fault.get_or_insert(HeadError::TooLong);
            }
            _ => {}
        }
    }

    /// What follows the head.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(super) fn position(
        self,
        is_http_1_0: bool,
        authority: Option<&str>,
    ) -> Result<Position, HeadError> {
        host::judge(is_http_1_0, authority, self.host, self.n_hosts)?;
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let Some(coding) = self.coding else {
            return Ok(match self.length {
                Some(left) if left > 0 => Position::Length(left),
                _ => Position::Head,
            });
        };
        if self.length.is_some() {
            return Err(HeadError::LengthAndCoding);
        }
        // What is sent by several fields is one list (RFC 9110 section 5.3); `chunked` alone is served.
        let is_one = self.n_codings == 1 && !is_http_1_0;
        if is_one && coding.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Ok(Position::Chunked(Chunks::default()));
        }
        let last = coding.rsplit(|octet| *octet == b',').next();
        let is_framed = last.is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        match is_framed && is_one {
            true => Err(HeadError::OtherCoding),
            false => Err(HeadError::Coding),
        }
    }
}

fn read_length(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| is_number)?;
    number.parse().ok().filter(|length| *length <= LENGTH_MAX)
}

/// Longest body that hyper counts.
const LENGTH_MAX: u64 = u64::MAX - 2;
