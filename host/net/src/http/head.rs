//! What of an HTTP/1 connection's octets may go on to hyper: whole request heads that are sound, and
//! the bodies behind them. Pure.
//!
//! hyper answers a head that it cannot take with a bare status. Here such a head is found before, so
//! that the refusal has the form of every other (mod.rs), and that what hyper takes and a proxy
//! before us may take otherwise is refused: several hosts (host.rs), lengths beside transfer codings. The fields
//! of HTTP/2 are counted in answer.rs.
//!
//! | bound | value | beyond it |
//! | --- | --- | --- |
//! | octets of a head | `HEAD_BYTES_MAX` | 431, or 414 while it is one line |
//! | octets of a target | `TARGET_BYTES_MAX` | 414 |
//! | header fields | `FIELDS_MAX` | 431 |
//!
//! **Invariant:** where a message ends is found by RFC 9112 section 6.3 here and in hyper. If the
//! two differed, the worst would be a refusal too many: hyper reads only what passed here, as is.

mod error;
mod framing;
mod limits;
mod usual;

use std::mem::MaybeUninit;

use http::Uri;
use httparse::{Header, Request, Status};

pub(super) use self::{
    error::HeadError,
    limits::{FEW_FIELDS, FIELDS_MAX, HEAD_BYTES_MAX},
};
use self::{
    framing::{Framing, Position},
    limits::{OF_TARGETS, TARGET_BYTES_MAX},
};

/// Where the octets of a connection stand between requests and bodies.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    position: Position,
    /// Octets of an unfinished head that were looked at in vain; it is parsed again when its end is
    /// there or when it has grown to twice as much.
    n_parsed: usize,
    /// Of the last head.
    n_fields: usize,
    is_http_1_0: bool,
}

impl Scanner {
    /// How many of `octets`, from their beginning, may go on; the rest is shown again with more
    /// behind it. 0 says that the head is not whole.
    ///
    /// # Errors
    /// A head that is not taken; nothing before it is left in `octets`.
    pub(super) fn admit(&mut self, octets: &[u8]) -> Result<usize, HeadError> {
        let mut n_admitted = 0;
        while let Some(rest) = octets.get(n_admitted..).filter(|rest| !rest.is_empty()) {
            let n_taken = match &mut self.position {
                // What comes next is told with the next call: it may be a head that is refused.
                Position::Head if n_admitted > 0 => break,
                Position::Head => self.admit_head(rest)?,
                Position::Length(left) => {
                    let n_taken = usize::try_from(*left).map_or(rest.len(), |n| n.min(rest.len()));
                    self.pass(n_taken);
                    n_taken
                }
                Position::Chunked(chunks) => match chunks.take(rest) {
                    Ok((n_taken, is_over)) => {
                        if is_over {
                            self.position = Position::Head;
                        }
                        n_taken
                    }
                    Err(_) => {
                        self.position = Position::Broken;
                        rest.len()
                    }
                },
                Position::Broken => rest.len(),
            };
            if n_taken == 0 {
                break;
            }
            n_admitted += n_taken;
        }
        Ok(n_admitted)
    }

    /// Octets of a body of known length that are still to come.
    pub(super) fn body_left(&self) -> u64 {
        match self.position {
            Position::Length(left) => left,
            Position::Head | Position::Chunked(_) | Position::Broken => 0,
        }
    }

    /// `n_octets` of a body of known length went by without being shown.
    pub(super) fn pass(&mut self, n_octets: usize) {
        if let Position::Length(left) = &mut self.position {
            *left = left.saturating_sub(n_octets as u64);
            if *left == 0 {
                self.position = Position::Head;
            }
        }
    }

    /// Whether the last head was of HTTP/1.0.
    pub(super) fn is_http_1_0(&self) -> bool {
        self.is_http_1_0
    }

    /// Header fields of the last head.
    pub(super) fn n_fields(&self) -> usize {
        self.n_fields
    }

    pub(super) fn is_at_head(&self) -> bool {
        matches!(self.position, Position::Head)
    }

    fn admit_head(&mut self, head: &[u8]) -> Result<usize, HeadError> {
        let is_due =
            head.len() >= 2 * self.n_parsed || head.len() > HEAD_BYTES_MAX || has_end(head);
        if !is_due {
            return Ok(0);
        }
        self.n_parsed = head.len();
        if let Some(head) = usual::read(head) {
            self.position = head.framing.position(false, None)?;
            self.on_head(head.n_fields, false);
            return Ok(head.n_octets);
        }
        let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS_MAX];
        let mut request = Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(head, &mut fields);
        match parsed {
            Ok(Status::Complete(n_octets)) if n_octets <= HEAD_BYTES_MAX => {
                self.position = check(&request)?;
                self.on_head(request.headers.len(), request.version == Some(0));
                Ok(n_octets)
            }
            Ok(Status::Partial) if head.len() <= HEAD_BYTES_MAX => Ok(0),
            Ok(_) if head.contains(&b'\n') => Err(HeadError::TooLong),
            Ok(_) => Err(HeadError::TargetTooLong),
            Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooManyFields),
            Err(httparse::Error::Version) if is_of_other_protocol(head) => {
                Err(HeadError::OtherProtocol)
            }
            Err(error) => Err(HeadError::Syntax(error)),
        }
    }

    fn on_head(&mut self, n_fields: usize, is_http_1_0: bool) {
        self.n_parsed = 0;
        self.n_fields = n_fields;
        self.is_http_1_0 = is_http_1_0;
    }
}

/// Whether the first line has the form of a request line and names no version of HTTP where that stands. A
/// header of the PROXY protocol, from whom none is expected, has more words, and its sender is told.
fn is_of_other_protocol(head: &[u8]) -> bool {
    let line = head.split(|octet| *octet == b'\n').next();
    let mut words = line
        .unwrap_or_default()
        .trim_ascii()
        .split(|octet| *octet == b' ');
    let version = words.nth(2);
    version.is_some_and(|version| !version.starts_with(b"HTTP/")) && words.next().is_none()
}

/// Checks a whole head; says where its body ends.
fn check(request: &Request<'_, '_>) -> Result<Position, HeadError> {
    let target = request.path.unwrap_or_default();
    if target.len() > TARGET_BYTES_MAX {
        return Err(HeadError::TargetTooLong);
    }
    let uri = if is_plain_target(target) {
        None
    } else {
        Some(Uri::try_from(target).map_err(|_| HeadError::Target)?)
    };
    let authority = uri.as_ref().and_then(Uri::authority);
    let mut framing = Framing::default();
    for field in request.headers.iter() {
        framing.note(field.name.as_bytes(), field.value);
    }
    let authority = authority.map(|authority| authority.as_str());
    framing.position(request.version == Some(0), authority)
}

/// Whether a target is surely one that `Uri` takes, so that most need not be parsed twice.
fn is_plain_target(target: &str) -> bool {
    target.starts_with('/') && OF_TARGETS.have_all(target.as_bytes())
}

/// Octets of the empty lines before a request line, which RFC 9112 section 2.2 passes over.
pub(super) fn n_blank(octets: &[u8]) -> usize {
    let mut rest = octets;
    while let [b'\n', after @ ..] | [b'\r', b'\n', after @ ..] = rest {
        rest = after;
    }
    octets.len() - rest.len()
}

/// Whether an empty line is there, which ends a head.
fn has_end(octets: &[u8]) -> bool {
    let mut rest = octets;
    while let Some(at) = rest.iter().position(|octet| *octet == b'\n') {
        rest = rest.get(at + 1..).unwrap_or_default();
        if matches!(rest, [b'\n', ..] | [b'\r', b'\n', ..]) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests;
