//! Requests and replies octet by octet, cut anywhere, and back.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

const LIMITS: RespLimits = RespLimits {
    bulk_bytes_max: 64,
    arguments_max: 4,
    request_bytes_max: 200,
};

/// Every request in `octets`, given in pieces of `piece`, and the fault behind them.
fn read(octets: &[u8], piece: usize, is_trusted: bool) -> (Vec<Vec<String>>, Option<RespFault>) {
    let mut decoder = RespDecoder::new(LIMITS);
    decoder.set_trusted(is_trusted);
    let (mut buffer, mut requests) = (BytesMut::new(), Vec::new());
    for piece in octets.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(request)) => requests.push(strings(&request)),
                Ok(None) => break,
                Err(fault) => return (requests, Some(fault)),
            }
        }
    }
    (requests, None)
}

fn strings(request: &RespRequest) -> Vec<String> {
    let strings = request.rest(0);
    strings
        .map(|octets| octets.escape_ascii().to_string())
        .collect()
}

#[track_caller]
fn check(octets: &str, expected: &[&[&str]], fault: Option<RespFault>) {
    let expected: Vec<Vec<String>> = expected
        .iter()
        .map(|request| request.iter().map(|string| (*string).to_owned()).collect())
        .collect();
    for piece in 1..=octets.len() {
        let found = read(octets.as_bytes(), piece, true);
        assert_eq!(found, (expected.clone(), fault), "in pieces of {piece}");
    }
}

#[test]
fn requests_are_arrays_of_bulk_strings() {
    check("*1\r\n$4\r\nPING\r\n", &[&["PING"]], None);
    check(
        "*2\r\n$4\r\nECHO\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nPING\r\n",
        &[&["ECHO", r"a\r\nb"], &["PING"]],
        None,
    );
    check("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", &[&["GET", ""]], None);
    check("*2\r\n$3\r\nGET\r\n$2\r\na", &[], None);
}

#[test]
fn requests_are_lines_that_people_type() {
    check(
        "PING\r\nSET a \"b c\"\n",
        &[&["PING"], &["SET", "a", "b c"]],
        None,
    );
    check("\r\n\n  \r\nPING\r\n", &[&["PING"]], None);
    check("*0\r\n*-1\r\nPING\r\n", &[&["PING"]], None);
    check("SET a 'b\r\n", &[], Some(RespFault::Quotes));
    check("a b c d e\r\n", &[], Some(RespFault::Count));
}

#[test]
fn what_is_no_request_is_told_as_redis_tells_it() {
    check("PING\r\n*x\r\n", &[&["PING"]], Some(RespFault::Count));
    check("*1x\r\n", &[], Some(RespFault::Count));
    check("*\r\n", &[], Some(RespFault::Count));
    check("*5\r\n", &[], Some(RespFault::Count));
    check("*99999999999999999999\r\n", &[], Some(RespFault::Count));
    let found = b':';
    check("*1\r\n:1\r\n", &[], Some(RespFault::NoBulk { found }));
    let found = b'*';
    check("*1\r\n*1\r\n", &[], Some(RespFault::NoBulk { found }));
    check("*1\r\n$-1\r\n", &[], Some(RespFault::Length));
    check("*1\r\n$65\r\n", &[], Some(RespFault::Length));
    check("*1\r\n$abc\r\n", &[], Some(RespFault::Length));
    let text = RespFault::NoBulk { found: b'x' }.to_string();
    assert_eq!(text, "Protocol error: expected '$', got 'x'");
}

#[test]
fn a_request_is_as_long_as_it_may_be_and_not_one_octet_longer() {
    let string = |length: usize| format!("${length}\r\n{}\r\n", "x".repeat(length));
    let head = format!("*4\r\n{}{}", string(64), string(64));
    let fits = format!("{head}{}{}", string(39), string(0));
    let (requests, fault) = read(fits.as_bytes(), 7, true);
    assert_eq!((requests.len(), fault), (1, None));
    let long = format!("{head}{}{}", string(46), string(1));
    let limit = 200;
    let expected = Some(RespFault::Request { limit });
    assert_eq!(read(long.as_bytes(), 7, true).1, expected);
}

#[test]
fn lines_without_an_end_are_given_up() {
    let long = |first: &str| format!("{first}{}", "1".repeat(65_537));
    let fault = |octets: String| read(octets.as_bytes(), 1000, true).1;
    assert_eq!(fault(long("*")), Some(RespFault::CountLine));
    assert_eq!(fault(long("*1\r\n$")), Some(RespFault::LengthLine));
    assert_eq!(fault(long("P")), Some(RespFault::Inline));
}

#[test]
fn strangers_send_short_requests() {
    let limits = RespLimits {
        bulk_bytes_max: 1 << 20,
        arguments_max: 1000,
        request_bytes_max: 1 << 20,
    };
    let fault = |octets: &str, is_trusted| {
        let mut decoder = RespDecoder::new(limits);
        decoder.set_trusted(is_trusted);
        decoder.decode(&mut BytesMut::from(octets)).err()
    };
    assert_eq!(fault("*11\r\n", false), Some(RespFault::CountOfStranger));
    assert_eq!(fault("*11\r\n", true), None);
    let long = "*1\r\n$16385\r\n";
    assert_eq!(fault(long, false), Some(RespFault::LengthOfStranger));
    assert_eq!(
        (fault(long, true), fault("*10\r\n$16384\r\n", false)),
        (None, None)
    );
}

#[track_caller]
fn encoded(value: &RespValue, v2: &str, v3: &str) {
    for (version, expected) in [(RespVersion::V2, v2), (RespVersion::V3, v3)] {
        let mut out = BytesMut::new();
        value.encode(version, &mut out);
        assert_eq!(out, expected.as_bytes(), "{value:?} in {version:?}");
    }
}

#[test]
fn values_are_encoded_as_their_version_has_them() {
    encoded(&RespValue::OK, "+OK\r\n", "+OK\r\n");
    encoded(
        &RespValue::error("ERR a\r\nb"),
        "-ERR a  b\r\n",
        "-ERR a  b\r\n",
    );
    encoded(
        &RespValue::Integer(i64::MIN),
        ":-9223372036854775808\r\n",
        ":-9223372036854775808\r\n",
    );
    encoded(&RespValue::Integer(0), ":0\r\n", ":0\r\n");
    encoded(&RespValue::text("hi"), "$2\r\nhi\r\n", "$2\r\nhi\r\n");
    encoded(&RespValue::Null, "$-1\r\n", "_\r\n");
    encoded(&RespValue::NullArray, "*-1\r\n", "_\r\n");
    let one = || RespValue::Integer(1);
    encoded(
        &RespValue::Array(vec![one(), RespValue::Null]),
        "*2\r\n:1\r\n$-1\r\n",
        "*2\r\n:1\r\n_\r\n",
    );
    encoded(
        &RespValue::Map(vec![(one(), one())]),
        "*2\r\n:1\r\n:1\r\n",
        "%1\r\n:1\r\n:1\r\n",
    );
    encoded(&RespValue::Set(vec![one()]), "*1\r\n:1\r\n", "~1\r\n:1\r\n");
    encoded(
        &RespValue::Push(vec![one()]),
        "*1\r\n:1\r\n",
        ">1\r\n:1\r\n",
    );
    encoded(&RespValue::Boolean(true), ":1\r\n", "#t\r\n");
    encoded(&RespValue::Double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n");
    let text = RespValue::Verbatim("ab".into());
    encoded(&text, "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n");
    encoded(
        &RespValue::Each(vec![one(), one()]),
        ":1\r\n:1\r\n",
        ":1\r\n:1\r\n",
    );
}

#[test]
fn events_are_pushes() {
    let mut out = BytesMut::new();
    encode_event(RespVersion::V2, None, b"a.b", b"hi", &mut out);
    assert_eq!(
        out,
        "*3\r\n$7\r\nmessage\r\n$3\r\na.b\r\n$2\r\nhi\r\n".as_bytes()
    );
    out.clear();
    encode_event(RespVersion::V3, Some(b"a*"), b"a.b", b"", &mut out);
    let expected = ">4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$3\r\na.b\r\n$0\r\n\r\n";
    assert_eq!(out, expected.as_bytes());
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        requests in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5), 1..5),
        piece in 1usize..40,
    ) {
        let mut octets = BytesMut::new();
        for request in &requests {
            RespRequest::of(request).encode(&mut octets);
        }
        let expected: Vec<Vec<String>> = requests
            .iter()
            .map(|request| strings(&RespRequest::of(request)))
            .collect();
        prop_assert_eq!(read(&octets, piece, true), (expected, None));
    }

    #[test]
    fn a_cut_changes_nothing(octets in "[*$0-9\r\na\"' ]{0,60}", piece in 1usize..20) {
        let octets = octets.as_bytes();
        prop_assert_eq!(read(octets, piece, true), read(octets, octets.len().max(1), true));
    }
}
