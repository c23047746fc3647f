//! Calls by `POST` of one message.

use super::*;
use crate::http::{Coding, Cors, CorsConfig, ERROR_HEADER, GrpcConfig};

const BUF: &str = "{\"name\": \"Buf\"}";
const GREETING: &str = "{\"greeting\": \"Hello, Buf!\"}";

fn path(method: &str) -> String {
    format!("/{GREET}/{method}")
}

#[tokio::test]
async fn the_examples_of_the_documentation_are_answered_as_it_says() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for is_http2 in [false, true] {
        let request = fixture.post(&path("Greet"), JSON);
        let response = ask(is_http2, request, BUF).await;
        check(&response, 200, JSON, GREETING.as_bytes());
        let request = fixture.post(&path("Greet"), PROTO);
        let response = ask(is_http2, request, "\n\x03Buf").await;
        check(&response, 200, PROTO, b"\n\x0bHello, Buf!");
        let request = fixture.post(&path("Nothing"), PROTO);
        let response = ask(is_http2, request, "\n\x03Buf").await;
        let error = check_failed(&response, 501, "unimplemented");
        let told = format!("{GREET}/Nothing is not implemented");
        assert_eq!(error, json!({"code": "unimplemented", "message": told}));
    }
    fixture.close().await;
}

#[tokio::test]
async fn a_call_without_a_schema_is_octets() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let request = fixture.post("/echo/Say", PROTO);
    let response = ask(false, request, &b"\xff\x00\xfe"[..]).await;
    check(&response, 200, PROTO, b"\xff\x00\xfe");
    // It says itself that it is of the protocol.
    let request = fixture.post("/echo/Say", "application/json; charset=utf-8");
    let request = request.header("connect-protocol-version", "1");
    check(&ask(false, request, "[1]").await, 200, JSON, b"[1]");
    fixture.close().await;
}

#[tokio::test]
async fn metadata_and_the_time_that_is_left_reach_the_handler() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for is_http2 in [false, true] {
        let request = fixture
            .post("/tell/Me", PROTO)
            .header("connect-protocol-version", "1")
            .header("connect-timeout-ms", "5000")
            .header("accept-encoding", "gzip, br")
            .header("acme-shard-id", "42")
            .header("acme-bin", "AAE=")
            .header("acme-bin", "/w==");
        let response = ask(is_http2, request, "x").await;
        let told: Value = serde_json::from_slice(response.body()).expect("json");
        let left = told["left-ms"].as_u64().expect("a deadline");
        assert!((1..=5000).contains(&left), "{left}");
        assert_eq!(told["is-deadline-of-head"], false);
        assert_eq!(
            (&told["kind"], &told["http"]),
            (&json!("one"), &json!("POST"))
        );
        let headers = told["headers"].as_array().expect("headers");
        let expected = [
            "content-type: application/protobuf",
            "acme-shard-id: 42",
            "acme-bin: \\x00\\x01",
            "acme-bin: \\xff",
        ];
        assert_eq!(*headers, expected);
    }
    fixture.close().await;
}

#[tokio::test]
async fn what_follows_a_reply_are_fields_with_a_prefix() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let response = ask(false, fixture.post("/says/It", PROTO), "").await;
    check(&response, 200, PROTO, b"{}");
    for (name, value) in [
        ("acme-region", "eu"),
        ("l-bin", "/w"),
        ("trailer-acme-operation-cost", "237"),
        ("trailer-t-bin", "AAE"),
        ("connect-future", ""),
    ] {
        assert_eq!(field(&response, name), value, "{name}");
    }
    fixture.close().await;
}

#[tokio::test]
async fn every_kind_of_failure_has_its_status_and_its_code() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    for kind in Kind::ALL {
        let request = fixture.post(&format!("/fail/{kind}"), PROTO);
        let response = ask(true, request, "").await;
        let code = super::super::code::of(kind);
        let error = check_failed(&response, kind.http(), code);
        assert_eq!(error["message"], "on \"purpose\"");
        assert_eq!(error["details"][0]["type"], "google.protobuf.Value");
        assert_eq!(error["details"][0]["debug"], json!({"n": 1}));
        for (name, value) in [
            ("acme-reason", "on purpose"),
            ("r-bin", "AAE"),
            ("retry-after", "2"),
            (ERROR_HEADER, kind.name()),
        ] {
            assert_eq!(field(&response, name), value, "{kind} {name}");
        }
        let has_challenge = response.headers().contains_key("www-authenticate");
        assert_eq!(has_challenge, kind == Kind::Unauthenticated);
    }
    fixture.close().await;
}

#[tokio::test]
async fn a_failing_status_of_a_handler_is_a_failure() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let response = ask(false, fixture.post("/status/404", PROTO), "").await;
    let error = check_failed(&response, 404, "not_found");
    assert_eq!(error["message"], "no such user");
    let response = ask(false, fixture.post("/status/201", PROTO), "").await;
    assert_eq!(response.status(), 200);
    fixture.close().await;
}

fn with_gzip() -> HttpConfig {
    HttpConfig {
        grpc: GrpcConfig {
            encodings: vec![Coding::Gzip],
            packed_bytes_min: 8,
            ..GrpcConfig::default()
        },
        ..HttpConfig::default()
    }
}

#[tokio::test]
async fn messages_are_compressed_as_the_client_says() {
    let fixture = Fixture::open(with_gzip()).await;
    let post = || fixture.post(&path("Greet"), JSON);
    // Both ways differ, as in the documentation.
    let response = ask(false, post().header("accept-encoding", "gzip, br"), BUF).await;
    assert_eq!(field(&response, "content-encoding"), "gzip");
    assert_eq!(gunzip(response.body()), GREETING.as_bytes());
    let packed = gzip(BUF.as_bytes());
    // Who says nothing of the reply takes what it sends.
    let response = ask(
        true,
        post().header("content-encoding", "gzip"),
        packed.clone(),
    )
    .await;
    assert_eq!(field(&response, "content-encoding"), "gzip");
    assert_eq!(gunzip(response.body()), GREETING.as_bytes());
    let request = post().header("content-encoding", "gzip");
    let request = request.header("accept-encoding", "identity");
    let response = ask(true, request, packed).await;
    check(&response, 200, JSON, GREETING.as_bytes());
    assert_eq!(field(&response, "content-encoding"), "");
    // Too short to be worth it.
    let request = fixture
        .post("/echo/Say", PROTO)
        .header("accept-encoding", "gzip");
    check(
        &ask(false, request, "1234567").await,
        200,
        PROTO,
        b"1234567",
    );
    fixture.close().await;
}

#[tokio::test]
async fn content_that_cannot_be_read_is_refused() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let post = |coding: &str| {
        let request = fixture.post("/echo/Say", PROTO);
        request.header("content-encoding", coding)
    };
    // No content is compressed by nobody.
    check(&ask(false, post("gzip"), "").await, 200, PROTO, b"");
    check(&ask(false, post("identity"), "x").await, 200, PROTO, b"x");
    let response = ask(false, post("br"), "x").await;
    let error = check_failed(&response, 501, "unimplemented");
    let told = error["message"].as_str().expect("a message");
    assert!(told.contains("gzip") && told.contains("zstd"), "{told}");
    check_failed(
        &ask(false, post("gzip"), "no gzip").await,
        400,
        "invalid_argument",
    );
    fixture.close().await;
}

#[tokio::test]
async fn a_message_has_a_limit_however_it_comes() {
    let fixture = Fixture::open(HttpConfig {
        grpc: GrpcConfig {
            message_bytes_max: 1000,
            ..GrpcConfig::default()
        },
        ..HttpConfig::default()
    })
    .await;
    let post = || fixture.post("/echo/Say", PROTO);
    let whole = vec![b'x'; 1000];
    for is_http2 in [false, true] {
        check(
            &ask(is_http2, post(), whole.clone()).await,
            200,
            PROTO,
            &whole,
        );
        let response = ask(is_http2, post(), vec![b'x'; 1001]).await;
        let error = check_failed(&response, 429, "resource_exhausted");
        let told = "message of 1001 octets exceeds the limit of 1000 \
             (grpc.message-bytes-max of the listener)";
        assert_eq!(error["message"], told);
        let packed = || post().header("content-encoding", "gzip");
        let request = packed().header("accept-encoding", "identity");
        let response = ask(is_http2, request, gzip(&whole)).await;
        check(&response, 200, PROTO, &whole);
        let response = ask(is_http2, packed(), gzip(&[b'x'; 1001])).await;
        let error = check_failed(&response, 429, "resource_exhausted");
        assert_eq!(error["message"], told);
    }
    fixture.close().await;
}

#[tokio::test]
async fn a_reply_has_a_limit_of_its_own() {
    let fixture = Fixture::open(HttpConfig {
        grpc: GrpcConfig {
            reply_bytes_max: 10,
            ..GrpcConfig::default()
        },
        ..HttpConfig::default()
    })
    .await;
    let post = || fixture.post("/echo/Say", PROTO);
    check(
        &ask(false, post(), "0123456789").await,
        200,
        PROTO,
        b"0123456789",
    );
    let response = ask(false, post(), "0123456789a").await;
    let error = check_failed(&response, 429, "resource_exhausted");
    let told = error["message"].as_str().expect("a message");
    assert!(
        told.contains("11 octets exceeds the limit of 10 (grpc.reply-bytes-max"),
        "{told}"
    );
    fixture.close().await;
}

#[tokio::test]
async fn what_is_not_of_the_protocol_is_refused_by_its_status() {
    let fixture = Fixture::open(HttpConfig::default()).await;
    let version = "connect-protocol-version";
    let request = fixture
        .post(&path("Greet"), "application/cbor")
        .header(version, "1");
    let response = ask(false, request, "x").await;
    check_failed(&response, 415, "unknown");
    assert!(field(&response, "accept-post").contains(PROTO));
    let request = fixture.post(&path("Greet"), JSON).header(version, "2");
    let error = check_failed(&ask(false, request, BUF).await, 400, "invalid_argument");
    assert_eq!(
        error["message"],
        "connect-protocol-version \"2\" is not served; 1 is"
    );
    // A stream has envelopes.
    for method in ["GreetGroup", "GreetIndividuals", "GreetEach"] {
        let response = ask(true, fixture.post(&path(method), PROTO), "x").await;
        check_failed(&response, 415, "unknown");
    }
    for (name, value) in [("connect-timeout-ms", "soon"), ("a-bin", "*")] {
        let request = fixture.post(&path("Greet"), PROTO).header(name, value);
        check_failed(&ask(true, request, "x").await, 400, "invalid_argument");
    }
    fixture.close().await;
}

#[tokio::test]
async fn a_page_that_may_call_reads_all_that_is_said() {
    let cors = Cors::new(&CorsConfig {
        origins: vec!["https://page.example".to_owned()],
        methods: vec!["POST".to_owned()],
        headers: vec!["*".to_owned()],
        exposed_headers: Vec::new(),
        credentials: false,
        max_age: Duration::from_secs(60),
    });
    let fixture = Fixture::open(HttpConfig {
        cors: Some(cors.expect("legal")),
        ..HttpConfig::default()
    })
    .await;
    let request = fixture.post("/says/It", PROTO);
    let request = request.header("origin", "https://page.example");
    let response = ask(false, request, "").await;
    assert_eq!(
        field(&response, "access-control-allow-origin"),
        "https://page.example"
    );
    let exposed = field(&response, "access-control-expose-headers");
    for name in ["acme-region", "trailer-acme-operation-cost"] {
        assert!(
            exposed.split(", ").any(|known| known == name),
            "{name} in {exposed}"
        );
    }
    let request = fixture.post("/says/It", PROTO);
    let request = request.header("origin", "https://other.example");
    check_failed(&ask(false, request, "").await, 403, "permission_denied");
    fixture.close().await;
}
