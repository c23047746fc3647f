//! Bodies of gRPC-Web in base64, cut anywhere, are read the same, and trailers are read as they were written: no value
//! makes a line more.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http::grpc::{
    TextReader, WEB_TRAILERS,
    frame::{FrameLimits, FrameReader},
    last_frame,
};

/// The first octet says how long the pieces of a text are.
pub fn grpc_web(octets: &[u8]) {
    let Some((piece, rest)) = octets.split_first() else {
        return;
    };
    let whole = read(rest, rest.len().max(1));
    assert_eq!(
        whole,
        read(rest, 1 + usize::from(*piece)),
        "a cut changes what is read"
    );
    let trailers = fields(rest);
    let written = last_frame(&trailers, false);
    let text = last_frame(&trailers, true);
    assert_eq!(read(&text, text.len()), Some(written.to_vec()));
    let mut reader = FrameReader::new(FrameLimits {
        message_bytes_max: usize::MAX,
        flags: WEB_TRAILERS,
    });
    reader.push(written);
    let found = reader.next_frame();
    let found = found.expect("its flags are known").expect("it is whole");
    assert_eq!(found.flags, WEB_TRAILERS);
    check(&found.message, &trailers);
}

/// The octets of a text; `None` where it is no base64.
fn read(text: &[u8], piece: usize) -> Option<Vec<u8>> {
    let (mut reader, mut octets) = (TextReader::default(), Vec::new());
    for piece in text.chunks(piece.max(1)) {
        octets.extend_from_slice(&reader.read(piece).ok()?);
    }
    reader.finish().ok()?;
    Some(octets)
}

/// Lines of `name:value`, those that may be fields.
fn fields(octets: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in octets.split(|octet| *octet == b'\n').take(FIELDS_MAX) {
        let mut parts = line.splitn(2, |octet| *octet == b':');
        let name = parts.next().map(HeaderName::from_bytes);
        let value = HeaderValue::from_bytes(parts.next().unwrap_or_default());
        if let (Some(Ok(name)), Ok(value)) = (name, value) {
            fields.append(name, value);
        }
    }
    fields
}

/// Each field is a line of its own.
fn check(block: &Bytes, trailers: &HeaderMap) {
    let mut rest = &block[..];
    for (name, value) in trailers {
        let line = [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat();
        rest = rest
            .strip_prefix(&line[..])
            .expect("the next line is that of the field");
        let inner = line.strip_suffix(b"\r\n").unwrap_or_default();
        assert!(!inner.contains(&b'\n') && !inner.contains(&b'\r'));
    }
    assert_eq!(rest, b"");
}

/// More find no more.
const FIELDS_MAX: usize = 100;
