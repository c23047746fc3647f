//! NDJSON: messages as lines, both ways. A line ends with LF; an empty line is nothing.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use http_body::Body as HttpBody;
use postern_core::{Blame, BodySource, Error, Headers, Kind};

use super::{fields, pieces::Silence, reply};
use crate::{HeldBytes, byte_budget::Kept};

/// Cuts octets into lines, whatever pieces they come in.
#[derive(Debug)]
pub(super) struct LineCutter {
    buffer: BytesMut,
    /// How much of `buffer` holds no LF, so that it is looked at once only.
    n_searched: usize,
    line_bytes_max: usize,
}

impl LineCutter {
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            n_searched: 0,
            line_bytes_max,
        }
    }

    pub(super) fn push(&mut self, octets: &[u8]) {
        self.buffer.extend_from_slice(octets);
    }

    /// The next line that is not empty, without its LF or CR LF.
    ///
    /// # Errors
    /// Too large, once a line is longer than the limit, ended or not.
    pub(super) fn next_line(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let fresh = self.buffer.get(self.n_searched..).unwrap_or_default();
            let Some(at) = fresh.iter().position(|octet| *octet == b'\n') else {
                self.n_searched = self.buffer.len();
                self.check_length(without_end(&self.buffer).len())?;
                return Ok(None);
            };
            let line = self.buffer.split_to(self.n_searched + at + 1).freeze();
            self.n_searched = 0;
            let line = trimmed(&line);
            self.check_length(line.len())?;
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }

    /// The last line, where no LF ends it.
    pub(super) fn rest(&mut self) -> Option<Bytes> {
        self.n_searched = 0;
        let line = trimmed(&self.buffer.split().freeze());
        (!line.is_empty()).then_some(line)
    }

    fn check_length(&self, length: usize) -> Result<(), Error> {
        let limit = self.line_bytes_max;
        if length <= limit {
            return Ok(());
        }
        let message = format!("line of {length} octets exceeds the limit of {limit}");
        Err(Error::invalid_argument(message).with_too_large())
    }
}

/// The messages of an NDJSON body as they arrive.
pub(super) struct Lines<B> {
    body: B,
    cutter: LineCutter,
    state: State,
    /// A line that reads like an error. Whether it is one, the trailers say.
    suspect: Option<Bytes>,
    /// The line after one that turned out to be a message.
    ready: Option<Bytes>,
    silence: Silence,
    /// Octets of lines that are not whole, where somebody counts them.
    held: Option<HeldBytes>,
    kept: Option<Kept>,
    trailers: Option<Headers>,
}

#[derive(PartialEq, Eq)]
enum State {
    Reading,
    /// The body is over, the last line may be left.
    Draining,
    Done,
}

impl<B> Lines<B> {
    pub(super) fn new(body: B, line_bytes_max: usize, silence: Silence) -> Self {
        let cutter = LineCutter::new(line_bytes_max);
        Self {
            body,
            cutter,
            state: State::Reading,
            suspect: None,
            ready: None,
            silence,
            held: None,
            kept: None,
            trailers: None,
        }
    }

    /// Counts what is not cut into lines as `held`, and lines that are kept as `kept`.
    pub(super) fn holding(self, held: HeldBytes, kept: Kept) -> Self {
        Self {
            held: Some(held),
            kept: Some(kept),
            ..self
        }
    }

    /// Which line comes next when `line` arrives; a reply's line that may be its error waits.
    fn admit(&mut self, line: Bytes) -> Option<Bytes> {
        let before = self.suspect.take();
        if self.silence.blame == Blame::Upstream && line.starts_with(ERROR_LINE) {
            self.suspect = Some(line);
            return before;
        }
        let Some(before) = before else {
            return Some(line);
        };
        self.ready = Some(line);
        Some(before)
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Bytes, Error>>> {
        self.state = State::Done;
        Poll::Ready(Some(Err(error)))
    }
}

impl<B> Stream for Lines<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.state == State::Done {
                return Poll::Ready(None);
            }
            if let Some(line) = self.ready.take() {
                return Poll::Ready(Some(Ok(line)));
            }
            let next = self.cutter.next_line();
            let n_left = self.cutter.buffer.len();
            if let Some(held) = &mut self.held {
                held.shrink_to(n_left);
            }
            match next {
                Ok(Some(line)) => match self.admit(line) {
                    Some(line) => return Poll::Ready(Some(Ok(line))),
                    None => continue,
                },
                Ok(None) => {}
                Err(error) => return self.fail(error),
            }
            if self.state == State::Draining {
                self.state = State::Done;
                let last = self.suspect.take().or_else(|| self.cutter.rest());
                return Poll::Ready(last.map(Ok));
            }
            match pin!(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.silence.rearm();
                    if let Some(data) = frame.data_ref() {
                        if let Some(Err(error)) =
                            self.held.as_mut().map(|held| held.grow(data.len()))
                        {
                            return self.fail(error.into());
                        }
                        self.cutter.push(data);
                    } else if let Some(trailers) = frame.trailers_ref() {
                        if let Some(kind) = trailing_kind(trailers) {
                            let line = self.suspect.take().unwrap_or_default();
                            return self.fail(reply::read_error(kind, None, &line));
                        }
                        self.trailers = fields::of_trailers(trailers);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    let broken = self.silence.broken(error);
                    return self.fail(broken);
                }
                Poll::Ready(None) => self.state = State::Draining,
                Poll::Pending => {
                    let error = std::task::ready!(self.silence.poll_late(cx));
                    return self.fail(error);
                }
            }
        }
    }
}

impl<B> BodySource for Lines<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn trailers(mut self: Pin<&mut Self>) -> Option<Headers> {
        self.trailers.take()
    }

    fn keep(self: Pin<&mut Self>, n_octets: usize) -> Result<(), Error> {
        self.kept
            .as_ref()
            .map_or(Ok(()), |kept| kept.grow(n_octets))
    }
}

/// The kind of error that a reply's trailers name.
fn trailing_kind(trailers: &http::HeaderMap) -> Option<Kind> {
    let name = trailers.get(super::ERROR_HEADER)?.to_str().ok()?;
    Some(Kind::from_name(name).unwrap_or(Kind::Unknown))
}

/// How the line begins that ends a failed stream.
const ERROR_LINE: &[u8] = b"{\"error\":";

fn trimmed(line: &Bytes) -> Bytes {
    line.slice_ref(without_end(line))
}

fn without_end(line: &[u8]) -> &[u8] {
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    text.strip_suffix(b"\r").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `octets` in pieces of each length and expects the same lines every time.
    fn check(octets: &[u8], expected: &[&str]) {
        for n_piece in 1..=octets.len() {
            let mut cutter = LineCutter::new(8);
            let mut lines = Vec::new();
            for piece in octets.chunks(n_piece) {
                cutter.push(piece);
                while let Some(line) = cutter.next_line().expect("lines are short") {
                    lines.push(line);
                }
            }
            lines.extend(cutter.rest());
            assert_eq!(lines, expected, "pieces of {n_piece}");
        }
    }

    #[test]
    fn cuts_lines_however_they_arrive() {
        check(b"1\n22\r\n\n\r\n333", &["1", "22", "333"]);
        check(b"12345678\n12345678\r\n", &["12345678", "12345678"]);
    }

    #[test]
    fn refuses_a_line_one_octet_over_the_limit() {
        let mut cutter = LineCutter::new(8);
        cutter.push(b"123456789");
        let error = cutter.next_line().expect_err("nine octets");
        assert_eq!(error.message, "line of 9 octets exceeds the limit of 8");
    }
}
