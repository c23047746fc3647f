//! What a guest says of its reply beside the message: headers with text and octets, a status, trailers; of an
//! answer and of a failure, over every protocol.

use postern_core::{Call, Error, Headers, Kind, Reply};
use postern_tests::{CallerTransport, Gateway, Setup, connect};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::share;

const ANNOTATE: &str = "/v1/services/probe/Annotate";
const NOTES: [(&str, &[u8]); 3] = [
    ("x-note", b"one"),
    ("x-note", b"two"),
    ("x-octets-bin", b"\xc3\x28"),
];
const TRAILERS: [(&str, &[u8]); 2] = [("x-sum", b"7"), ("x-sum-bin", b"\xff")];

async fn annotated(
    gateway: &Gateway,
    transport: CallerTransport,
    body: &str,
) -> Result<Reply, Error> {
    let handler = connect(gateway, transport).await;
    let call = Call::unary("probe", "Annotate", body.to_owned());
    handler.call(call).await
}

/// Those whose names begin with `x-`, in order.
fn own(headers: &Headers) -> Vec<(String, Vec<u8>)> {
    let own = headers.iter().filter(|(name, _)| name.starts_with(b"x-"));
    own.map(|(name, value)| {
        let name = String::from_utf8_lossy(name).into_owned();
        (name, value.into_owned())
    })
    .collect()
}

fn owned(pairs: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), value.to_vec()))
        .collect()
}

/// What the gateway says to a POST over HTTP/1.1 until it closes.
pub(crate) async fn over_http(gateway: &Gateway, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x.localhost\r\nte: trailers\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(gateway.http).await.expect("open");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut told = Vec::new();
    stream.read_to_end(&mut told).await.expect("an answer");
    told
}

fn has(told: &[u8], part: &[u8]) -> bool {
    told.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_headers_status_and_trailers() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("probe")).await;
    for transport in CallerTransport::ALL {
        let reply = annotated(&gateway, transport, "{\"status\":201}").await;
        let mut reply = reply.expect("an answer");
        assert_eq!(own(&reply.headers), owned(&NOTES), "{transport}");
        let status = reply.status.map(|status| status.number());
        assert_eq!(status, Some(201), "{transport}");
        let mut body = std::mem::take(&mut reply.body).into_octets();
        let message = body.next().await.expect("a message").expect("whole");
        assert_eq!(message, "\"noted\"", "{transport}");
        assert!(body.next().await.is_none(), "{transport}");
        if transport != CallerTransport::Http {
            let trailers = body.trailers().expect("trailers");
            assert_eq!(own(&trailers), owned(&TRAILERS), "{transport}");
        }
    }
    let told = over_http(&gateway, ANNOTATE, "{}").await;
    assert!(told.starts_with(b"HTTP/1.1 200 "));
    for part in [
        &b"\r\nx-note: one\r\n"[..],
        b"\r\nx-octets-bin: \xc3\x28\r\n",
    ] {
        assert!(has(&told, part), "{}", String::from_utf8_lossy(&told));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_keeps_what_was_added_before_it() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("probe")).await;
    let expected = [owned(&NOTES), owned(&TRAILERS)].concat();
    for transport in [CallerTransport::Tcp, CallerTransport::Udp] {
        let failed = annotated(&gateway, transport, "{\"fails\":\"not-found\"}").await;
        let error = failed.expect_err("it was told to fail");
        assert_eq!(error.kind, Kind::NotFound, "{transport}");
        assert_eq!(error.message, "told to fail", "{transport}");
        let headers = error.headers.expect("headers");
        assert_eq!(own(&headers), expected, "{transport}");
    }
    let told = over_http(
        &gateway,
        ANNOTATE,
        "{\"fails\":\"not-found\",\"status\":201}",
    )
    .await;
    let text = String::from_utf8_lossy(&told).into_owned();
    assert!(text.starts_with("HTTP/1.1 404 "), "{text}");
    for (name, value) in NOTES.iter().chain(&TRAILERS) {
        let line = [b"\r\n", name.as_bytes(), b": ", value, b"\r\n"].concat();
        assert!(has(&told, &line), "{name}: {text}");
    }
    assert!(
        text.ends_with("{\"error\":\"told to fail\",\"code\":404}"),
        "{text}"
    );
}

/// The names of what is left of the headers of a failure, behind what `config` puts in its way.
async fn left_of_a_failure(config: &str, plugins: &[&str]) -> Vec<String> {
    let _machine = share().await;
    let setup = Setup {
        config: config.to_owned(),
        ..Setup::default()
    };
    let setup = plugins.iter().fold(setup, |setup, name| setup.plugin(name));
    let gateway = Gateway::start(setup.plugin("probe")).await;
    let failed = annotated(&gateway, CallerTransport::Tcp, "{\"fails\":\"not-found\"}").await;
    let error = failed.expect_err("it was told to fail");
    assert_eq!(error.kind, Kind::NotFound, "{error}");
    let left = error.headers.map(|headers| own(&headers));
    let left = left.unwrap_or_default().into_iter();
    left.map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_responses_hold_for_the_headers_of_failures() {
    let rules = "[headers.hide]\ncalls = [\"probe/*\"]\nresponse = { remove = [\"x-note\"] }\n";
    let left = left_of_a_failure(rules, &[]).await;
    assert_eq!(left, ["x-octets-bin", "x-sum", "x-sum-bin"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_beside_a_failure_passes_no_interceptor_of_responses() {
    let extension = "[extensions.proceed-both]\ncalls = [\"probe/*\"]\n";
    let left = left_of_a_failure(extension, &["proceed-both"]).await;
    assert!(left.is_empty(), "{left:?}");
}
