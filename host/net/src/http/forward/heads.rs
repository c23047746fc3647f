//! Heads of responses on their way to hyper. hyper has room for `FEW_FIELDS` of its own; told of more, it
//! takes memory for all of them with each head. So a head of more is handed on without the last of its
//! fields, which are put into the response behind hyper.
//!
//! | head | is handed on |
//! | --- | --- |
//! | of `FEW_FIELDS` at most | as it is, where it was read to |
//! | of `FIELDS_MAX` at most | without its last fields, but with all of `FRAMING` |
//! | of more, longer than `HEAD_BYTES_MAX`, or ill-formed | as it is: hyper refuses it |
//!
//! What is no head is not looked at: the socket is told when a request is sent, and a response begins.

use std::{
    io::{self, BufRead as _},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::http::head::{FEW_FIELDS, FIELDS_MAX, HEAD_BYTES_MAX};

/// A stream whose heads are looked at.
pub(super) struct HeadReader<S> {
    stream: S,
    heads: Arc<ResponseHeads>,
    /// Read and not handed on: the begin of a head, or what is ready.
    held: BytesMut,
    /// Octets of `held` that may be handed on.
    n_ready: usize,
    /// Octets behind them that were looked at in vain.
    n_looked_at: usize,
}

/// Fields that are put into a response behind hyper.
type LateFields = Vec<(HeaderName, HeaderValue)>;

/// What a connection and whoever asks over it tell each other.
#[derive(Debug, Default)]
pub(super) struct ResponseHeads {
    /// What is read next is a head, or goes on with one.
    is_due: AtomicBool,
    has_late: AtomicBool,
    /// Fields that were not handed on.
    late: Mutex<LateFields>,
}

/// A head that ends.
#[derive(Debug, PartialEq, Eq)]
struct WholeHead {
    /// Where it begins, behind blank lines.
    start: usize,
    end: usize,
    n_fields: usize,
    /// Another head follows (RFC 9110 section 15.2).
    is_interim: bool,
}

impl ResponseHeads {
    /// A request is sent.
    pub(super) fn expect(&self) {
        // Nobody has asked for those of the response before.
        if self.has_late.swap(false, SeqCst) {
            self.late.lock().clear();
        }
        self.is_due.store(true, SeqCst);
    }

    /// Puts the fields of a response into `map` that hyper has not seen.
    pub(super) fn add_late(&self, map: &mut HeaderMap) {
        if self.has_late.load(SeqCst) && self.has_late.swap(false, SeqCst) {
            for (name, value) in std::mem::take(&mut *self.late.lock()) {
                map.append(name, value);
            }
        }
    }

    fn on_head(&self, is_interim: bool, late: LateFields) {
        // Nobody is told what stands in a response before the one that counts.
        if is_interim {
            return;
        }
        self.is_due.store(false, SeqCst);
        if !late.is_empty() {
            *self.late.lock() = late;
            self.has_late.store(true, SeqCst);
        }
    }

    fn is_due(&self) -> bool {
        self.is_due.load(SeqCst)
    }
}

impl<S> HeadReader<S> {
    pub(super) fn new(stream: S, heads: Arc<ResponseHeads>) -> Self {
        Self {
            stream,
            heads,
            held: BytesMut::new(),
            n_ready: 0,
            n_looked_at: 0,
        }
    }

    /// Looks at what is held; says whether anything of it may be handed on.
    fn admit(&mut self) -> bool {
        while self.heads.is_due() {
            let behind = self.held.get(self.n_ready..).unwrap_or_default();
            // One that comes octet by octet is not read from its begin with each.
            let is_worth_it = behind.len() >= 2 * self.n_looked_at
                || behind.len() > HEAD_BYTES_MAX
                || has_end(behind.get(self.n_looked_at.saturating_sub(END_BYTES)..));
            if !is_worth_it {
                break;
            }
            let Some(head) = whole_head(behind) else {
                self.n_looked_at = behind.len();
                if behind.len() > HEAD_BYTES_MAX {
                    self.heads.on_head(false, Vec::new());
                }
                break;
            };
            self.n_looked_at = 0;
            let late = if (FEW_FIELDS + 1..=FIELDS_MAX).contains(&head.n_fields) {
                self.shorten(&head)
            } else {
                self.n_ready += head.end;
                Vec::new()
            };
            self.heads.on_head(head.is_interim, late);
        }
        if !self.heads.is_due() {
            self.n_ready = self.held.len();
        }
        self.n_ready > 0
    }

    /// Takes the last fields out of `head`, which begins behind what is ready, and makes it ready. Nothing
    /// is taken out of one that is ill-formed.
    fn shorten(&mut self, head: &WholeHead) -> LateFields {
        let (start, end) = (self.n_ready + head.start, self.n_ready + head.end);
        let octets = self.held.get(start..end).unwrap_or_default();
        let Some((kept, late)) = divide(octets) else {
            self.n_ready = end;
            return Vec::new();
        };
        let behind = self.held.split_off(end);
        self.held.truncate(start);
        self.held.extend_from_slice(&kept);
        self.n_ready = self.held.len();
        self.held.unsplit(behind);
        late
    }

    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let n_octets = self.n_ready.min(buffer.remaining());
        buffer.put_slice(self.held.get(..n_octets).unwrap_or_default());
        self.held.advance(n_octets);
        self.n_ready -= n_octets;
        if self.held.is_empty() {
            self.held = BytesMut::new();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadReader<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.n_ready > 0 || buffer.remaining() == 0 {
                this.hand_on(buffer);
                return Poll::Ready(Ok(()));
            }
            let is_due = this.heads.is_due();
            if !is_due && !this.held.is_empty() {
                this.n_ready = this.held.len();
                continue;
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
            let read = buffer.filled().get(before..).unwrap_or_default();
            if read.is_empty() {
                // A head that does not end is hyper's to refuse.
                this.n_ready = this.held.len();
                if this.n_ready == 0 {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            if !is_due {
                return Poll::Ready(Ok(()));
            }
            if this.held.is_empty()
                && let Some(head) = whole_head(read)
                && head.n_fields <= FEW_FIELDS
                && !head.is_interim
            {
                this.heads.on_head(false, Vec::new());
                return Poll::Ready(Ok(()));
            }
            this.held.extend_from_slice(read);
            buffer.set_filled(before);
            this.admit();
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadReader<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Whether a line that is empty ends in `octets`.
fn has_end(octets: Option<&[u8]>) -> bool {
    let mut lines = octets
        .unwrap_or_default()
        .split_inclusive(|octet| *octet == b'\n');
    lines.any(|line| matches!(line, b"\n" | b"\r\n"))
}

/// The head that `octets` begin with; `None` where it does not end.
fn whole_head(octets: &[u8]) -> Option<WholeHead> {
    let (mut start, mut at, mut n_lines) = (0, 0, 0);
    let mut rest = octets;
    loop {
        let from_line = rest;
        // Cannot fail: the octets are there.
        let n_octets = rest.skip_until(b'\n').unwrap_or_default();
        let line = from_line.get(..n_octets)?;
        if line.last() != Some(&b'\n') {
            return None;
        }
        at += n_octets;
        if !matches!(line, b"\n" | b"\r\n") {
            n_lines += 1;
            continue;
        }
        if n_lines == 0 {
            // hyper skips them, too.
            start = at;
            continue;
        }
        let status = octets.get(start + STATUS_AT..start + STATUS_AT + 3);
        return Some(WholeHead {
            start,
            end: at,
            n_fields: n_lines - 1,
            is_interim: status.is_some_and(|status| status != b"101" && status.starts_with(b"1")),
        });
    }
}

/// The lines of a head that hyper has room for, and the other fields. `None` where those are ill-formed.
fn divide(head: &[u8]) -> Option<(Vec<u8>, LateFields)> {
    let lines = || head.split_inclusive(|octet| *octet == b'\n');
    let name = |line: &[u8]| {
        let n_octets = line.iter().position(|octet| *octet == b':')?;
        HeaderName::from_bytes(line.get(..n_octets)?).ok()
    };
    let is_framing = |line: &[u8]| name(line).is_some_and(|name| FRAMING.contains(&name.as_str()));
    let n_framing = lines().filter(|line| is_framing(line)).count();
    let mut room = FEW_FIELDS.saturating_sub(n_framing);
    let (mut kept, mut late) = (Vec::with_capacity(head.len()), Vec::new());
    for (idx, line) in lines().enumerate() {
        let is_blank = matches!(line, b"\n" | b"\r\n");
        if idx == 0 || is_blank || is_framing(line) {
            kept.extend_from_slice(line);
        } else if room > 0 {
            room -= 1;
            kept.extend_from_slice(line);
        } else {
            let name = name(line)?;
            let value = line.get(name.as_str().len() + 1..)?.trim_ascii();
            late.push((name, HeaderValue::from_bytes(value).ok()?));
        }
    }
    Some((kept, late))
}

/// Octets of the line that ends a head, and of the end of the line before it.
const END_BYTES: usize = 3;
/// Where a status stands in its line: `HTTP/1.1 200`.
const STATUS_AT: usize = 9;
/// Fields that hyper goes by.
const FRAMING: [&str; 5] = [
    "connection",
    "content-length",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests;
