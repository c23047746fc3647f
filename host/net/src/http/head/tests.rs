//! Each refusal at its edge, and where messages end.

use httparse::EMPTY_HEADER;

use super::{super::host::HostError, *};

const GET: &str = "GET / HTTP/1.1\r\nhost: x\r\n";

/// A scanner's word on one request, shown whole.
#[track_caller]
fn check(head: &str, expected: Result<usize, HeadError>) {
    assert_eq!(
        Scanner::default().admit(head.as_bytes()),
        expected,
        "{head:?}"
    );
}

#[track_caller]
fn check_fields(fields: &str, expected: Option<HeadError>) {
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{fields}\r\n");
    let expected = expected.map_or(Ok(head.len()), Err);
    check(&head, expected);
}

#[test]
fn a_host_is_there_once() {
    check("GET / HTTP/1.1\r\n\r\n", Err(HostError::Missing.into()));
    check("GET / HTTP/1.0\r\n\r\n", Ok(18));
    check_fields("", None);
    check_fields("Host: x\r\n", Some(HostError::Many(2).into()));
    check("GET / HTTP/1.1\r\nhost:\r\n\r\n", Ok(25));
    check("GET / HTTP/1.1\r\nhost: [::1]:80\r\n\r\n", Ok(34));
    for host in ["a b", "a/b", "u@a", "a\"", "<a>"] {
        let head = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let shown = host.as_bytes().escape_ascii().to_string();
        check(&head, Err(HostError::Malformed(shown).into()));
    }
}

#[test]
fn a_body_is_framed_in_one_way_only() {
    check_fields("transfer-encoding: Chunked\r\n", None);
    check_fields("content-length: 0\r\n", None);
    check_fields("content-length: 7\r\ncontent-length: 7\r\n", None);
    check_fields(
        "content-length: 7\r\ncontent-length: 8\r\n",
        Some(HeadError::Length),
    );
    for length in ["-1", "+1", "1,1", "", "18446744073709551616", "0x1"] {
        check_fields(
            &format!("content-length: {length}\r\n"),
            Some(HeadError::Length),
        );
    }
    let chunked = "transfer-encoding: chunked\r\n";
    check_fields(
        &format!("content-length: 1\r\n{chunked}"),
        Some(HeadError::LengthAndCoding),
    );
    check_fields(&format!("{chunked}{chunked}"), Some(HeadError::Coding));
    check_fields(
        "transfer-encoding: gzip, chunked\r\n",
        Some(HeadError::OtherCoding),
    );
    for coding in [
        "gzip",
        "chunked, gzip",
        "identity",
        "",
        "xchunked",
        "\u{b}chunked",
    ] {
        let error = match coding {
            "\u{b}chunked" => HeadError::Syntax(httparse::Error::HeaderValue),
            _ => HeadError::Coding,
        };
        check_fields(&format!("transfer-encoding: {coding}\r\n"), Some(error));
    }
    check(
        "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
        Err(HeadError::Coding),
    );
}

#[test]
fn fields_are_taken_up_to_their_limit() {
    let fields = |n: usize| "a: b\r\n".repeat(n - 1);
    check_fields(&fields(FIELDS_MAX), None);
    check_fields(&fields(FIELDS_MAX + 1), Some(HeadError::TooManyFields));
}

#[test]
fn octets_are_taken_up_to_their_limit() {
    let head = |n: usize| {
        let rest = n - GET.len() - "a: \r\n\r\n".len();
        format!("{GET}a: {}\r\n\r\n", "x".repeat(rest))
    };
    check(&head(HEAD_BYTES_MAX), Ok(HEAD_BYTES_MAX));
    check(&head(HEAD_BYTES_MAX + 1), Err(HeadError::TooLong));
    let endless = format!("{GET}a: {}", "x".repeat(HEAD_BYTES_MAX));
    check(&endless, Err(HeadError::TooLong));
    let target = |n: usize| format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(n - 1));
    let longest = target(TARGET_BYTES_MAX);
    check(&longest, Ok(longest.len()));
    check(&target(TARGET_BYTES_MAX + 1), Err(HeadError::TargetTooLong));
    check(
        &"G".repeat(HEAD_BYTES_MAX + 1),
        Err(HeadError::TargetTooLong),
    );
}

#[test]
fn what_is_not_http_is_refused_before_its_end() {
    let syntax = |error| Err(HeadError::Syntax(error));
    let preface = "INVALID CONNECTION PREFACE\r\n\r\n";
    check(preface, Err(HeadError::OtherProtocol));
    let proxied = "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n";
    check(proxied, syntax(httparse::Error::Version));
    check("\u{16}\u{3}\u{1}\u{2}", syntax(httparse::Error::Token));
    check("GET / HTTP/3.0\r\n", syntax(httparse::Error::Version));
    check("GET /a b HTTP/1.1\r\n", syntax(httparse::Error::Version));
    // A target without a slash is an authority.
    check("GET x HTTP/1.1\r\nhost: x\r\n\r\n", Ok(27));
    let differ = HostError::Differ {
        host: "x".to_owned(),
        authority: "a".to_owned(),
    };
    check("GET a HTTP/1.1\r\nhost: x\r\n\r\n", Err(differ.into()));
    check(
        "GET http:// HTTP/1.1\r\nhost: x\r\n\r\n",
        Err(HeadError::Target),
    );
}

#[test]
fn requests_follow_one_another_and_a_bad_one_comes_last() {
    let good = format!("{GET}content-length: 3\r\n\r\nabc");
    let chunked = format!("{GET}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    let all = format!("\r\n{good}{chunked}{good}GET / HTTP/1.1\r\n\r\n");
    for n_piece in [1, 2, 7, 50, all.len()] {
        let (mut scanner, mut buffer, mut passed) = (Scanner::default(), Vec::new(), 0);
        let mut error = None;
        for piece in all.as_bytes().chunks(n_piece) {
            buffer.extend_from_slice(piece);
            loop {
                if scanner.is_at_head() {
                    buffer.drain(..n_blank(&buffer));
                }
                match scanner.admit(&buffer) {
                    Ok(0) => break,
                    Ok(n_octets) => {
                        passed += n_octets;
                        buffer.drain(..n_octets);
                    }
                    Err(refused) => {
                        error = Some(refused);
                        break;
                    }
                }
            }
        }
        assert_eq!(
            error,
            Some(HostError::Missing.into()),
            "pieces of {n_piece}"
        );
        assert_eq!(passed, 2 * good.len() + chunked.len());
    }
}

#[test]
fn a_body_that_is_broken_takes_the_rest_of_the_connection() {
    let mut scanner = Scanner::default();
    let request = format!("{GET}transfer-encoding: chunked\r\n\r\nzz\r\nGET / HTTP/1.1\r\n\r\n");
    assert_eq!(scanner.admit(request.as_bytes()), Ok(request.len()));
    assert!(!scanner.is_at_head());
}

const HEADS: [&str; 6] = [
    "GET / HTTP/1.1\r\nhost: x\r\n\r\nmore",
    "POST /v1/a?b=%20 HTTP/1.1\r\nHost: x:1\r\nContent-Length: 7\r\na_b-c:  d e\t\r\n\r\n",
    "PUT /a HTTP/1.1\r\ntransfer-encoding: chunked\r\nhost: [::1]\r\n\r\n",
    "GET /a HTTP/1.1\r\nhost: x\r\nhost: y\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    "GET http://x/ HTTP/1.1\r\nhost: x\r\n\r\n",
    "OPTIONS * HTTP/1.0\r\ncookie: \u{e9}\r\n folded\r\n\r\n",
];

/// What is read here is what the library reads; says whether it is read here.
#[track_caller]
fn agrees(octets: &[u8]) -> bool {
    let Some(head) = usual::read(octets) else {
        return false;
    };
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    let shown = octets.escape_ascii();
    let parsed = request.parse(octets);
    assert_eq!(parsed, Ok(Status::Complete(head.n_octets)), "{shown}");
    assert_eq!(head.n_fields, request.headers.len(), "{shown}");
    assert_eq!(
        head.framing.position(false, None),
        super::check(&request),
        "{shown}"
    );
    true
}

#[test]
fn usual_heads_are_read_here_and_no_others() {
    let read_here = HEADS.map(|head| agrees(head.as_bytes()));
    assert_eq!(read_here, [true, true, true, true, false, false]);
    let whole = HEADS[1].as_bytes();
    for n_octets in 0..whole.len() {
        assert!(!agrees(&whole[..n_octets]), "{n_octets}");
    }
    let fields = |n: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(n));
    assert!(agrees(fields(FIELDS_MAX).as_bytes()));
    assert!(!agrees(fields(FIELDS_MAX + 1).as_bytes()));
    let long = |n: usize| format!("GET / HTTP/1.1\r\na: {}\r\n\r\n", "x".repeat(n - 23));
    assert!(agrees(long(HEAD_BYTES_MAX).as_bytes()));
    assert!(!agrees(long(HEAD_BYTES_MAX + 1).as_bytes()));
}

#[test]
fn every_octet_at_every_place_is_read_as_the_library_reads_it() {
    let mut n_read = 0;
    for head in HEADS {
        for place in 0..head.len() {
            for octet in 0..=u8::MAX {
                let mut octets = head.as_bytes().to_vec();
                octets[place] = octet;
                n_read += usize::from(agrees(&octets));
                octets.insert(place, octet);
                n_read += usize::from(agrees(&octets));
            }
        }
    }
    assert!(n_read > 10_000, "{n_read}");
}
