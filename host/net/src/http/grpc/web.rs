//! gRPC-Web: for pages, which cannot read the trailers of HTTP. They are the last frame of the body, and
//! in the form `-text` all of it is base64. `grpc/doc/PROTOCOL-WEB.md`.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::{Body as HttpBody, Frame};
use postern_core::Error;

use super::{
    frame::frame,
    status::{DETAILS, MESSAGE, STATUS},
};

/// Flag of the frame whose message is trailers, one a line, as fields of HTTP/1.
pub(crate) const TRAILERS: u8 = 0x80;

/// A reply whose trailers are a frame of its body.
pub(super) struct WebReply<B> {
    inner: B,
    is_text: bool,
}

/// A body of base64 as the octets that it is of.
pub(in crate::http) struct WebText<B> {
    inner: B,
    reader: TextReader,
    has_ended: bool,
}

/// Makes octets of the pieces of a text. Pure.
#[derive(Debug, Default)]
pub(crate) struct TextReader {
    /// Of four characters that are not there whole.
    rest: BytesMut,
}

/// Why a body is no base64.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebTextError {
    #[error("the body is not base64")]
    NotBase64,
    #[error(transparent)]
    Body(Box<dyn std::error::Error + Send + Sync>),
}

impl<B> WebReply<B> {
    pub(super) const fn new(inner: B, is_text: bool) -> Self {
        Self { inner, is_text }
    }
}

impl<B> HttpBody for WebReply<B>
where
    B: HttpBody<Data = Bytes, Error = Error> + Unpin,
{
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(piece) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let octets = match piece?.into_data() {
            Ok(octets) => octets,
            Err(piece) => {
                let trailers = piece.into_trailers().unwrap_or_default();
                let last = last_frame(&trailers, self.is_text);
                return Poll::Ready(Some(Ok(Frame::data(last))));
            }
        };
        let written = write(octets, self.is_text);
        Poll::Ready(Some(Ok(Frame::data(written))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

/// The frame of trailers, as it is sent.
pub(crate) fn last_frame(trailers: &HeaderMap, is_text: bool) -> Bytes {
    let mut block = Vec::new();
    for (name, value) in trailers {
        block.extend_from_slice(name.as_str().as_bytes());
        block.extend_from_slice(b": ");
        block.extend_from_slice(value.as_bytes());
        block.extend_from_slice(b"\r\n");
    }
    // Trailers are shorter than a frame may be.
    let last = frame(TRAILERS, &block, usize::MAX).unwrap_or_default();
    write(last, is_text)
}

/// Each piece is padded by itself, which the protocol allows.
fn write(octets: Bytes, is_text: bool) -> Bytes {
    match is_text {
        true => STANDARD.encode(octets).into(),
        false => octets,
    }
}

impl<B> WebText<B> {
    pub(in crate::http) fn new(inner: B) -> Self {
        Self {
            inner,
            reader: TextReader::default(),
            has_ended: false,
        }
    }
}

impl TextReader {
    /// The octets of all groups of four characters that have come.
    ///
    /// # Errors
    /// `NotBase64`.
    pub(crate) fn read(&mut self, piece: &[u8]) -> Result<Bytes, WebTextError> {
        self.rest.extend_from_slice(piece);
        let n_whole = self.rest.len() - self.rest.len() % GROUP;
        let whole = self.rest.split_to(n_whole);
        let mut octets = Vec::with_capacity(n_whole / GROUP * 3);
        // Padding ends a piece that was coded by itself; behind it the next one begins.
        let mut groups = &whole[..];
        while !groups.is_empty() {
            let end = groups.iter().position(|octet| *octet == b'=');
            let n_coded = end.map_or(groups.len(), |at| at - at % GROUP + GROUP);
            let (coded, rest) = groups.split_at(n_coded.min(groups.len()));
            let decoded = STANDARD.decode_vec(coded, &mut octets);
            decoded.map_err(|_| WebTextError::NotBase64)?;
            groups = rest;
        }
        Ok(octets.into())
    }

    /// Says that the text has ended.
    ///
    /// # Errors
    /// `NotBase64` where it ended within a group.
    pub(crate) fn finish(&self) -> Result<(), WebTextError> {
        match self.rest.is_empty() {
            true => Ok(()),
            false => Err(WebTextError::NotBase64),
        }
    }
}

impl<B> HttpBody for WebText<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = WebTextError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WebTextError>>> {
        let this = &mut *self;
        if this.has_ended {
            return Poll::Ready(None);
        }
        let next = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(piece) => this.reader.read(&piece).map(Frame::data),
                Err(frame) => Ok(Frame::trailers(frame.into_trailers().unwrap_or_default())),
            },
            Some(Err(error)) => Err(WebTextError::Body(error.into())),
            None => match this.reader.finish() {
                Ok(()) => {
                    this.has_ended = true;
                    return Poll::Ready(None);
                }
                Err(error) => Err(error),
            },
        };
        this.has_ended = next.is_err();
        Poll::Ready(Some(next))
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || (self.reader.finish().is_ok() && self.inner.is_end_stream())
    }
}

/// Lets a page read `of_protocol` and the metadata of a reply, where it may read it at all.
pub(in crate::http) fn expose(headers: &mut HeaderMap, of_protocol: &[HeaderName]) {
    if !headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    let exposed = headers.get(header::ACCESS_CONTROL_EXPOSE_HEADERS);
    let mut names: Vec<String> = exposed
        .and_then(|value| value.to_str().ok())
        .map(|listed| {
            listed
                .split(',')
                .map(|name| name.trim().to_owned())
                .collect()
        })
        .unwrap_or_default();
    let of_call = headers.keys().filter(|name| is_metadata(name));
    for name in of_protocol.iter().chain(of_call) {
        if !names
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name.as_str()))
        {
            names.push(name.as_str().to_owned());
        }
    }
    // Names of fields and commas are a legal value.
    if let Ok(exposed) = HeaderValue::from_str(&names.join(", ")) {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

fn is_metadata(name: &HeaderName) -> bool {
    let is_of_sharing = name.as_str().starts_with("access-control-");
    !is_of_sharing && *name != header::VARY && *name != header::CONTENT_TYPE
}

/// What says how a call ended.
pub(in crate::http) const STATUS_FIELDS: [HeaderName; 3] = [STATUS, MESSAGE, DETAILS];
/// Characters of base64 that are three octets.
const GROUP: usize = 4;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    async fn read(pieces: Vec<&'static [u8]>) -> Result<Bytes, String> {
        let pieces = pieces.into_iter().map(|piece| {
            let piece = Frame::data(Bytes::from_static(piece));
            Ok::<_, Infallible>(piece)
        });
        let body = WebText::new(StreamBody::new(stream::iter(pieces)));
        let read = body.collect().await.map_err(|error| error.to_string())?;
        Ok(read.to_bytes())
    }

    #[tokio::test]
    async fn text_is_read_however_it_is_cut_and_padded() {
        // "abcd", and "e" behind its padding.
        let text = b"YWJjZA==ZQ==";
        for n_piece in 1..=text.len() {
            let octets = read(text.chunks(n_piece).collect()).await;
            assert_eq!(octets, Ok("abcde".into()), "pieces of {n_piece}");
        }
        assert_eq!(read(vec![]).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn text_that_is_no_base64_is_refused() {
        for text in [&b"YWJj*A=="[..], b"YWJ", b"=AAA", b"YWJjZA==Z"] {
            assert!(read(vec![text]).await.is_err(), "{text:?}");
        }
    }

    #[test]
    fn pages_may_read_status_and_metadata_of_what_they_may_read() {
        let mut headers = HeaderMap::new();
        headers.insert("x-mine", HeaderValue::from_static("1"));
        let before = headers.clone();
        expose(&mut headers, &STATUS_FIELDS);
        assert_eq!(headers, before);
        let all = HeaderValue::from_static("*");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, all);
        let known = HeaderValue::from_static("retry-after, x-mine");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, known);
        expose(&mut headers, &STATUS_FIELDS);
        assert_eq!(
            headers[header::ACCESS_CONTROL_EXPOSE_HEADERS],
            "retry-after, x-mine, grpc-status, grpc-message, grpc-status-details-bin"
        );
    }
}
