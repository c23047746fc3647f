//! One joint for every protocol: the same call in and out over every front and back. What arrives is
//! what was sent, or the refusal names what the other protocol cannot carry.

mod ends;

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use postern_core::{
    Body, BodyKind, BodySource, BodyStream, Call, Error, Headers, HttpFacts, HttpStatus, Kind,
    Reply, headers::HeadersBuilder,
};

use self::ends::{Back, Front, METHOD, SERVICE, Stand};
use crate::share;

/// What is sent with a call.
struct Load {
    kind: BodyKind,
    pieces: Vec<Bytes>,
    headers: Headers,
}

/// Header fields at an HTTP listener are 300 at most; the client writes five by itself: `host`,
/// `content-type`, `te`, `timeout-ms` and what frames the body.
const FIELDS: usize = 295;
/// Octets of names and values.
const FIELD_BYTES: usize = 60 * 1024;
/// Names that the VSP has a meaning of its own for, and what else must cross as it is.
const NAMED: [(&str, &str); 6] = [
    ("version", "1"),
    ("status", "mine"),
    ("code", "mine"),
    ("stream", "mine"),
    ("x-status", "207"),
    ("trailer", "checksum, x-after"),
];
const TRAILERS: [(&str, &str); 3] = [("checksum", "1"), ("x-after", "2"), ("x-after", "3")];

impl Load {
    fn new(kind: BodyKind, pieces: Vec<Bytes>) -> Self {
        let headers = fields(&NAMED);
        Self {
            kind,
            pieces,
            headers,
        }
    }

    /// Octets in pieces of 64 KiB, each of which says where it stands.
    fn octets(n_pieces: usize) -> Self {
        let piece = |index: usize| {
            let mut piece = vec![index.to_le_bytes()[0]; 64 << 10];
            piece[..8].copy_from_slice(&index.to_le_bytes());
            Bytes::from(piece)
        };
        Self::new(BodyKind::Octets, (0..n_pieces).map(piece).collect())
    }

    fn messages(n_messages: usize) -> Self {
        let message = |index: usize| Bytes::from(format!("{{\"n\":{index}}}"));
        Self::new(BodyKind::Messages, (0..n_messages).map(message).collect())
    }

    /// With as many fields as a listener takes, of 60 KiB: duplicates, and names in mixed case.
    fn with_many_headers(mut self) -> Self {
        let mut pairs: Vec<(String, String)> = NAMED.map(|(k, v)| (k.into(), v.into())).to_vec();
        let n_octets = |pairs: &[(String, String)]| -> usize {
            pairs
                .iter()
                .map(|(name, value)| name.len() + value.len())
                .sum()
        };
        let n_left = FIELDS - NAMED.len();
        for index in 0..n_left {
            let name = match index % 3 {
                0 => format!("X-Mixed-{}", index % 90),
                1 => format!("x-plain-{}", index % 90),
                _ => format!("x-LOUD-{}", index % 90),
            };
            let left = FIELD_BYTES - n_octets(&pairs) - name.len();
            let length = if index + 1 == n_left { left } else { 196 };
            let value = format!("{index:0length$}");
            pairs.push((name, value));
        }
        assert_eq!((pairs.len(), n_octets(&pairs)), (FIELDS, FIELD_BYTES));
        let pairs: Vec<_> = pairs.iter().map(|(k, v)| (&**k, &**v)).collect();
        self.headers = fields(&pairs);
        self
    }

    fn body(&self) -> Body {
        let pieces: Vec<Result<Bytes, Error>> = self.pieces.iter().cloned().map(Ok).collect();
        self.kind.of_stream(BodyStream::from_source(Trailed {
            inner: BodyStream::new(stream::iter(pieces)),
        }))
    }
}

/// A body, and the same trailers behind each.
struct Trailed {
    inner: BodyStream,
}

impl futures_util::Stream for Trailed {
    type Item = Result<Bytes, Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::pin::Pin::new(&mut self.inner).poll_next(cx)
    }
}

impl BodySource for Trailed {
    fn trailers(self: std::pin::Pin<&mut Self>) -> Option<Headers> {
        Some(fields(&TRAILERS))
    }

    fn keep(self: std::pin::Pin<&mut Self>, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

fn fields(pairs: &[(&str, &str)]) -> Headers {
    let mut builder = HeadersBuilder::fields(pairs.len(), 0);
    for (name, value) in pairs {
        builder.push(name, value).expect("fields are not bounded");
    }
    builder.build()
}

/// What a client over VSTP says; the one over HTTP says what it does.
fn facts() -> HttpFacts {
    HttpFacts {
        method: "PUT".into(),
        scheme: "https".into(),
        authority: "example.org:8443".into(),
        path: "/a%20b".into(),
        query: Some("c=d&e=?".into()),
        ..HttpFacts::default()
    }
}

async fn send(stand: &Stand, load: &Load) -> Result<Reply, Error> {
    let call = Call {
        headers: load.headers.clone(),
        body: load.body(),
        http: Some(Box::new(facts())),
        ..Call::unary(SERVICE, METHOD, "")
    };
    let answered = tokio::time::timeout(Duration::from_secs(120), stand.call(call));
    answered.await.expect("it does not hang")
}

/// Values by name, in their order; names without regard to case, as HTTP has none.
fn by_name(headers: &Headers) -> BTreeMap<String, Vec<String>> {
    let mut by_name = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in headers.iter() {
        let name = String::from_utf8_lossy(name).to_lowercase();
        let is_ours = name.starts_with("x-") || NAMED.iter().any(|(named, _)| *named == name);
        if is_ours && name != "x-correlation-id" {
            let value = String::from_utf8_lossy(&value).into_owned();
            by_name.entry(name).or_default().push(value);
        }
    }
    by_name
}

async fn check(stand: &Stand, load: &Load) {
    let what = stand.to_string();
    let reply = send(stand, load).await;
    let reply = reply.unwrap_or_else(|error| panic!("{what}: {error} {:?}", error.source));
    let status = HttpStatus::new(207).expect("a status");
    assert_eq!(reply.status, Some(status), "{what}");
    let target = reply
        .headers
        .get_str("seen-target")
        .map(|it| it.into_owned());
    assert_eq!(target, Some(stand.target(&facts())), "{what}");
    assert_eq!(by_name(&reply.headers), by_name(&load.headers), "{what}");
    assert_eq!(reply.body.kind(), load.kind, "{what}");
    let mut stream = reply.body.try_into_stream().expect("a stream");
    let mut sent = load.pieces.iter();
    let mut rest = Bytes::new();
    while let Some(piece) = stream.next().await {
        let mut piece = piece.unwrap_or_else(|error| panic!("{what}: {error}"));
        if load.kind == BodyKind::Messages {
            assert_eq!(Some(&piece), sent.next(), "{what}");
        }
        while load.kind == BodyKind::Octets && !piece.is_empty() {
            if rest.is_empty() {
                rest = sent.next().expect("no more than was sent").clone();
            }
            let n_octets = piece.len().min(rest.len());
            assert!(
                piece[..n_octets] == rest[..n_octets],
                "{what}: other octets"
            );
            let _ = (piece.split_to(n_octets), rest.split_to(n_octets));
        }
    }
    assert!(
        rest.is_empty() && sent.next().is_none(),
        "{what}: less than was sent"
    );
    let trailers = stream.trailers().expect("trailers");
    assert_eq!(trailers, fields(&TRAILERS), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_crosses_every_front_and_back_as_it_is() {
    let _machine = share().await;
    for back in [Back::Component, Back::Tcp, Back::BuiltIn] {
        for front in [Front::Tcp, Front::Http1, Front::Http2] {
            let stand = Stand::start(front, back).await;
            check(&stand, &Load::octets(4).with_many_headers()).await;
            check(&stand, &Load::messages(100).with_many_headers()).await;
            check(&stand, &Load::octets(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_64_mib_flows_over_every_front_and_back() {
    let _machine = share().await;
    for (front, back) in [
        (Front::Tcp, Back::Component),
        (Front::Http1, Back::Tcp),
        (Front::Http2, Back::BuiltIn),
    ] {
        let stand = Stand::start(front, back).await;
        check(&stand, &Load::octets(1024)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_into_a_frame_crosses_udp_with_facts_status_kind_and_trailers() {
    let _machine = share().await;
    for (front, back) in [
        (Front::Udp, Back::Component),
        (Front::Udp, Back::BuiltIn),
        (Front::Udp, Back::Udp),
        (Front::Tcp, Back::Udp),
        (Front::Http1, Back::Udp),
        (Front::Http2, Back::Udp),
    ] {
        let stand = Stand::start(front, back).await;
        check(&stand, &Load::octets(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_udp_cannot_carry_is_refused_by_name() {
    let _machine = share().await;
    for (front, back) in [(Front::Udp, Back::BuiltIn), (Front::Http1, Back::Udp)] {
        let stand = Stand::start(front, back).await;
        for (load, kind, named) in [
            (
                Load::octets(129),
                Kind::InvalidArgument,
                "exceeds the limit of 8388608",
            ),
            (
                Load::messages(2),
                Kind::InvalidArgument,
                "the stream holds more",
            ),
            (
                Load::messages(1),
                Kind::Unimplemented,
                "open the call as a stream",
            ),
        ] {
            // Each on a connection of its own: an early refusal ends the one that it came over.
            let stand = Stand::start(front, back).await;
            let error = send(&stand, &load).await.expect_err("udp cannot carry it");
            assert!(error.message.contains(named), "{stand}: {error}");
            assert_eq!(error.kind, kind, "{stand}: {error}");
        }
        let load = Load::octets(1).with_many_headers();
        let error = send(&stand, &load)
            .await
            .expect_err("no datagram holds them");
        assert!(error.message.contains("header"), "{stand}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_flows_answers_a_request_of_one_message() {
    let _machine = share().await;
    for front in [Front::Http1, Front::Http2] {
        let stand = Stand::start(front, Back::Tcp).await;
        let call = Call {
            headers: fields(&[("x-flow", "5")]),
            ..Call::unary(SERVICE, METHOD, "{}")
        };
        let reply = stand.call(call).await.expect("a reply");
        assert_eq!(reply.body.kind(), BodyKind::Octets, "{stand}");
        let (octets, trailers) = reply.body.collect(1 << 20).await.expect("five pieces");
        assert_eq!((&*octets, trailers), (&b"{}{}{}{}{}"[..], None), "{stand}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_a_vstp_call_keep_their_case() {
    let _machine = share().await;
    for back in [Back::Tcp, Back::Udp, Back::BuiltIn] {
        let stand = Stand::start(Front::Tcp, back).await;
        let mut call = Call::unary(SERVICE, METHOD, "{}");
        for (name, value) in [("x-Mixed", "1"), ("x-mixed", "2"), ("x-Mixed", "3")] {
            call.headers.push(name, value).expect("short");
        }
        let reply = stand.call(call).await.expect("a reply");
        let all = reply.headers.iter();
        let all = all.filter(|(name, _)| name.eq_ignore_ascii_case(b"x-mixed"));
        let all: Vec<_> = all
            .map(|(name, value)| (name.to_vec(), value.into_owned()))
            .collect();
        let expected = [("x-Mixed", "1"), ("x-mixed", "2"), ("x-Mixed", "3")];
        let expected = expected.map(|(name, value)| (name.into(), value.into()));
        assert_eq!(all, expected, "{stand}");
        assert_eq!(
            (reply.status, reply.headers.get(b"seen-target")),
            (None, None),
            "{stand}"
        );
    }
}
