//! Messages as server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//! An error that ends a stream is an event of its own, called `error`.

use bytes::{BufMut, Bytes, BytesMut};

/// One message as an event: each of its lines is a field `data`.
pub(super) fn to_event(message: &[u8]) -> Bytes {
    event("", message)
}

/// The error that ends a stream.
pub(super) fn to_error_event(error: &[u8]) -> Bytes {
    event("event: error\n", error)
}

fn event(head: &str, message: &[u8]) -> Bytes {
    let mut octets = BytesMut::with_capacity(head.len() + message.len() + 16);
    octets.put_slice(head.as_bytes());
    let mut rest = message;
    loop {
        let end = rest.iter().position(|octet| matches!(octet, b'\n' | b'\r'));
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        octets.put_slice(b"data: ");
        octets.put_slice(line);
        octets.put_u8(b'\n');
        rest = match after {
            [b'\r', b'\n', after @ ..] | [b'\n' | b'\r', after @ ..] => after,
            _ => break,
        };
    }
    octets.put_u8(b'\n');
    octets.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_data_and_an_empty_line_ends_the_event() {
        for (message, expected) in [
            ("{\"a\":1}", "data: {\"a\":1}\n\n"),
            ("", "data: \n\n"),
            ("a\nb\r\nc\rd", "data: a\ndata: b\ndata: c\ndata: d\n\n"),
            ("a\n", "data: a\ndata: \n\n"),
            ("a\n\nevent: x", "data: a\ndata: \ndata: event: x\n\n"),
        ] {
            assert_eq!(to_event(message.as_bytes()), expected, "{message:?}");
        }
        assert_eq!(to_error_event(b"{}"), "event: error\ndata: {}\n\n");
    }
}
