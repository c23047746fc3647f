//! Negotiation, and bodies that are compressed and expanded.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::Write as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, BufReader};

use super::*;
use crate::{ByteBudget, HeldBytes};

fn asking(value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(value).expect("a value");
    headers.insert(header::ACCEPT_ENCODING, value);
    headers
}

#[track_caller]
fn check(value: &str, expected: Option<Coding>) {
    let offered = [Coding::Zstd, Coding::Brotli, Coding::Gzip];
    assert_eq!(negotiate(&asking(value), &offered), expected, "{value}");
}

#[test]
fn the_client_has_what_it_wants_most_and_then_the_order_of_the_listener() {
    check("gzip", Some(Coding::Gzip));
    check("GZIP;q=0.5, br;q=0.9", Some(Coding::Brotli));
    check("gzip, deflate, br, zstd", Some(Coding::Zstd));
    check("x-gzip", Some(Coding::Gzip));
    check("*", Some(Coding::Zstd));
    check("zstd;q=0, *;q=0.1", Some(Coding::Brotli));
    check("identity", None);
    check("gzip;q=0", None);
    check("gzip;q=1.5", None);
    check("gzip;q=0.0001", None);
    check("", None);
    check("deflate", None);
    assert_eq!(negotiate(&HeaderMap::new(), &[Coding::Gzip]), None);
    check(&"a,".repeat(ITEMS_MAX), None);
    check(&("a,".repeat(ITEMS_MAX) + "gzip"), None);
}

fn head(fields: &[(&'static str, &'static str)], status: u16) -> response::Parts {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(()).expect("a response").into_parts().0
}

#[test]
fn text_of_some_length_is_compressed_and_nothing_else() {
    let json = ("content-type", "application/json; charset=utf-8");
    let is_codable = |fields: &[_], status, length| is_codable(&head(fields, status), length, 1024);
    assert!(is_codable(&[json], 200, None));
    assert!(is_codable(&[json], 404, Some(1024)));
    assert!(!is_codable(&[json], 200, Some(1023)));
    assert!(is_codable(
        &[("content-type", "text/event-stream")],
        200,
        None
    ));
    assert!(is_codable(&[("content-type", "image/svg+xml")], 200, None));
    assert!(!is_codable(&[("content-type", "image/png")], 200, None));
    assert!(!is_codable(&[], 200, None));
    for status in [204, 206, 304] {
        assert!(!is_codable(&[json], status, None), "{status}");
    }
    for other in [
        ("content-encoding", "br"),
        ("content-range", "bytes 0-1/2"),
        ("cache-control", "public, no-transform"),
    ] {
        assert!(!is_codable(&[json, other], 200, None), "{other:?}");
    }
}

#[test]
fn the_head_says_what_becomes_of_the_reply() {
    let fields = [
        ("etag", "\"a\""),
        ("content-length", "5"),
        ("accept-ranges", "bytes"),
        ("vary", "origin"),
    ];
    let mut headers = head(&fields, 200).headers;
    vary(&mut headers);
    vary(&mut headers);
    describe(&mut headers, Coding::Brotli);
    assert_eq!(headers[header::ETAG], "W/\"a\"");
    assert_eq!(headers[header::CONTENT_ENCODING], "br");
    assert!(!headers.contains_key(header::CONTENT_LENGTH));
    assert!(!headers.contains_key(header::ACCEPT_RANGES));
    let values: Vec<_> = headers.get_all(header::VARY).iter().collect();
    assert_eq!(values, ["origin", "accept-encoding"]);
    describe(&mut headers, Coding::Gzip);
    assert_eq!(headers[header::ETAG], "W/\"a\"");
}

/// Gives pieces, waits where there is none, and ends with trailers.
struct Script(VecDeque<Option<Bytes>>);

impl Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop_front() {
            Some(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => {
                let mut trailers = HeaderMap::new();
                trailers.insert("x-end", HeaderValue::from_static("1"));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
        }
    }
}

fn held() -> HeldBytes {
    let bytes = Arc::new(ByteBudget::unlimited()).connection(1);
    bytes.hold(1).expect("room")
}

fn script(pieces: impl IntoIterator<Item = Option<Bytes>>) -> Script {
    Script(pieces.into_iter().collect())
}

/// Not to be compressed to nothing, and longer than a coder's buffers.
fn text() -> Vec<u8> {
    let mut text = Vec::new();
    for line in 0..40_000_u32 {
        writeln!(text, "line {line} {}", line.wrapping_mul(2_654_435_761)).expect("memory");
    }
    text
}

async fn packed(text: &[u8], coding: Coding) -> Bytes {
    let pieces = text
        .chunks(50_000)
        .map(|piece| Some(Bytes::copy_from_slice(piece)));
    let collected = Coded::compress(script(pieces), coding, held())
        .collect()
        .await;
    let collected = collected.expect("compressed");
    let trailers = collected.trailers().expect("they pass");
    assert_eq!(trailers["x-end"], "1");
    collected.to_bytes()
}

async fn expanded(packed: &[u8], coding: Coding, ratio_max: u64) -> Result<Bytes, String> {
    let pieces = packed
        .chunks(1000)
        .map(|piece| Some(Bytes::copy_from_slice(piece)));
    let coded = Coded::expand(
        script(pieces),
        coding,
        Expansion::of_request(ratio_max),
        held(),
    );
    let collected = coded.collect().await;
    collected
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| error.to_string())
}

const ALL: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd];

#[tokio::test]
async fn what_is_compressed_expands_to_what_it_was() {
    let text = text();
    for coding in ALL {
        let packed = packed(&text, coding).await;
        assert!(packed.len() < text.len() / 2, "{}", coding.name());
        let expanded = expanded(&packed, coding, 100).await.expect("expands");
        assert!(expanded == text, "{}", coding.name());
    }
}

#[tokio::test]
async fn another_decoder_reads_what_is_sent() {
    let text = text();
    let packed = packed(&text, Coding::Gzip).await;
    let mut read = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(&packed[..]);
    std::io::Read::read_to_end(&mut decoder, &mut read).expect("gzip");
    assert!(read == text);
}

#[tokio::test]
async fn content_that_is_no_such_coding_or_ends_early_is_refused() {
    let text = text();
    for coding in ALL {
        let name = coding.name();
        let error = expanded(b"{\"plain\": true}", coding, 100).await;
        let error = error.expect_err("no such coding");
        assert!(
            error.starts_with(&format!("the content is not {name}: ")),
            "{error}"
        );
        let packed = packed(&text, coding).await;
        let half = &packed[..packed.len() / 2];
        let error = expanded(half, coding, 100).await.expect_err("half of it");
        assert!(
            error.starts_with(&format!("the content is not {name}: ")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn content_that_expands_too_far_is_refused_before_it_is_there() {
    let zeros = vec![0; 16 * 1024 * 1024];
    for coding in ALL {
        let packed = packed(&zeros, coding).await;
        let coded = Coded::expand(
            script([Some(packed)]),
            coding,
            Expansion::of_request(100),
            held(),
        );
        let mut coded = std::pin::pin!(coded);
        let mut n_octets = 0;
        let error = loop {
            match coded.frame().await.expect("a refusal before the end") {
                Ok(frame) => n_octets += frame.into_data().map_or(0, |data| data.len()),
                Err(error) => break error,
            }
        };
        let told = read_error(Box::new(error), Blame::Client);
        assert!(told.is_too_large, "{told}");
        assert_eq!(told.kind, Kind::InvalidArgument);
        assert!(n_octets < 8 * 1024 * 1024, "{}: {n_octets}", coding.name());
    }
}

#[tokio::test]
async fn what_is_there_is_sent_before_more_comes() {
    for coding in ALL {
        let first = Bytes::from_static(b"data: first\n\n");
        let body = script([Some(first.clone()), None, None, None, None]);
        let mut coded = std::pin::pin!(Coded::compress(body, coding, held()));
        let mut cx = Context::from_waker(Waker::noop());
        let mut sent = Vec::new();
        // Each wait of the script is a poll; the end has not come by then.
        for _ in 0..3 {
            if let Poll::Ready(Some(Ok(frame))) = coded.as_mut().poll_frame(&mut cx) {
                sent.extend_from_slice(&frame.into_data().expect("data"));
            }
        }
        let source = BufReader::new(&sent[..]);
        let mut read = Vec::new();
        let n_octets = first.len();
        // All that was put in comes out of what was sent, though its end is missing.
        let mut decoder: Box<dyn tokio::io::AsyncRead + Unpin> = match coding {
            Coding::Gzip => Box::new(async_compression::tokio::bufread::GzipDecoder::new(source)),
            Coding::Deflate => {
                Box::new(async_compression::tokio::bufread::ZlibDecoder::new(source))
            }
            Coding::Brotli => Box::new(async_compression::tokio::bufread::BrotliDecoder::new(
                source,
            )),
            Coding::Zstd => Box::new(async_compression::tokio::bufread::ZstdDecoder::new(source)),
        };
        while read.len() < n_octets && decoder.read_buf(&mut read).await.is_ok_and(|n| n > 0) {}
        assert!(read == first, "{}", coding.name());
    }
}
