//! Routes that a schema says: what a transcoder is asked, and how its answers are sent.

use postern_core::{
    route::{BodyField, HttpRequest, QueryField, SharedTranscoder, Transcoded, Transcoder},
    service::CallKind,
};

use super::*;

/// Calls a method with what it was asked, as `PARAMS|QUERY|TYPE|BODY` in JSON, and sends replies in brackets.
#[derive(Debug)]
struct Told {
    kind: CallKind,
    is_octets: bool,
}

impl Transcoder for Told {
    fn kind(&self) -> CallKind {
        self.kind
    }

    fn body(&self) -> &BodyField {
        &BodyField::Whole
    }

    fn takes_octets(&self) -> bool {
        self.is_octets
    }

    fn gives_octets(&self) -> bool {
        self.is_octets
    }

    fn response_body(&self) -> Option<&Text> {
        None
    }

    fn query_fields(&self) -> Vec<QueryField> {
        Vec::new()
    }

    fn message(&self, request: &HttpRequest<'_>) -> Result<Bytes, Error> {
        let params = request.params.iter();
        let params: Vec<_> = params
            .map(|one| format!("{}={}", one.name, one.value))
            .collect();
        let query = request.query.unwrap_or("-");
        let body = String::from_utf8_lossy(&request.body).replace('"', "'");
        if query == "refused" {
            return Err(Error::invalid_argument("no").with_details("[{\"@type\":\"t\"}]"));
        }
        let text = format!("\"{}|{query}|{body}\"", params.join(","));
        Ok(text.into())
    }

    fn reply(&self, message: &Bytes) -> Result<Transcoded, Error> {
        Ok(Transcoded {
            content: [b"<", &message[..], b">"].concat().into(),
            media_type: self.is_octets.then(|| Text::from_static("text/x-y")),
        })
    }
}

fn transcoded(target: &str, path: &str, told: Told) -> HttpRoute {
    with_end(method("POST", path, target), |end| {
        end.transcoder = Some(SharedTranscoder::new(told));
    })
}

async fn open() -> Fixture {
    let told = |kind, is_octets| Told { kind, is_octets };
    let one = || told(CallKind::Unary, false);
    let many = || told(CallKind::ServerStream, false);
    Fixture::open(vec![
        transcoded("echo/One", "/one/{id}", one()),
        transcoded("fail/not-found", "/fail", one()),
        transcoded("count/Whole", "/many", many()),
        transcoded("count/Broken", "/broken", many()),
        transcoded("echo/Single", "/single", many()),
        transcoded("echo/Octets", "/octets", told(CallKind::Unary, true)),
        transcoded(
            "count/Octets",
            "/pieces",
            told(CallKind::ServerStream, true),
        ),
        transcoded(
            "echo/Stream",
            "/stream/{id}",
            told(CallKind::ClientStream, false),
        ),
    ])
    .await
}

const JSON: &str = "content-type: application/json\r\n";

#[tokio::test]
async fn one_message_is_made_of_all_of_the_request() {
    let fixture = open().await;
    let asked = fixture.ask("POST /one/7?a=b", JSON, "{\"x\":1}").await;
    asked
        .check(200, "<\"id=7|a=b|{'x':1}\">")
        .has("content-type: application/json");
    fixture
        .ask("POST /one/7", "", "")
        .await
        .check(200, "<\"id=7|-|\">");
    let other = "content-type: text/plain\r\n";
    fixture
        .ask("POST /one/7", other, "x")
        .await
        .check_status(415);
    let image = "accept: image/png\r\n";
    fixture
        .ask("POST /one/7", image, "")
        .await
        .check_status(406);
    let octets = fixture.ask("POST /octets", other, "x").await;
    octets
        .check(200, "<\"|-|x\">")
        .has("content-type: text/x-y");
    fixture.close().await;
}

#[tokio::test]
async fn several_messages_are_an_array_unless_another_form_is_named() {
    let fixture = open().await;
    let many = async |accept: &str| fixture.ask("POST /many", accept, "").await;
    // As it is framed over HTTP/1.1, piece by piece.
    let array = many("").await;
    array.has("content-type: application/json");
    let whole = array.text();
    assert!(
        whole.contains("[<{\"n\":1}>\r\n") && whole.contains(",<{\n\"n\":2}>\r\n"),
        "{whole}"
    );
    let lines = many("accept: application/x-ndjson\r\n").await;
    lines.has("content-type: application/x-ndjson");
    let request = Request::post(fixture.uri("/single"));
    assert_eq!(fixture.ask_h2(request, "").await.body(), "[<\"|-|\">]");
    let request = Request::post(fixture.uri("/broken"));
    let broken = fixture.ask_h2(request, "").await;
    let text = String::from_utf8_lossy(broken.body()).into_owned();
    assert!(text.contains(">,{\"error\":{\"code\":500,"), "{text}");
    assert!(text.ends_with("\"status\":\"DATA_LOSS\"}}]"), "{text}");
    let request = Request::post(fixture.uri("/pieces"));
    let pieces = fixture.ask_h2(request, "").await;
    assert_eq!(pieces.headers()["content-type"], "text/x-y");
    assert_eq!(pieces.body(), "<{\"n\":1}><{\n\"n\":2}>");
    fixture.close().await;
}

#[tokio::test]
async fn a_stream_of_messages_is_lines_or_an_array() {
    let fixture = open().await;
    let post = || Request::post(fixture.uri("/stream/7?a=b"));
    // The double takes one message.
    let one = fixture
        .ask_h2(post().header("content-type", "application/json"), "[1]")
        .await;
    assert_eq!(one.body(), "<\"id=7|a=b|1\">");
    let none = fixture.ask_h2(post(), "").await;
    assert_eq!(none.body(), "<\"id=7|a=b|\">");
    let line = fixture
        .ask_h2(post().header("content-type", "application/x-ndjson"), "1\n")
        .await;
    assert_eq!(line.body(), "<\"id=7|a=b|1\">");
    let two = fixture
        .ask_h2(post().header("content-type", "application/json"), "[1,2]")
        .await;
    assert_eq!(two.status(), StatusCode::BAD_REQUEST);
    let broken = fixture
        .ask_h2(post().header("content-type", "application/json"), "[1,")
        .await;
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    fixture.close().await;
}

#[tokio::test]
async fn errors_have_the_form_of_googles_apis_unless_problems_are_accepted() {
    let fixture = open().await;
    let value = "{\"@type\":\"type.googleapis.com/google.protobuf.Value\",\"value\":{\"n\":1}}";
    let expected = format!(
        "{{\"error\":{{\"code\":404,\"message\":\"on purpose\",\"status\":\"NOT_FOUND\",\"details\":[{value}]}}}}"
    );
    let failed = fixture.ask("POST /fail", "", "").await;
    failed
        .check(404, &expected)
        .has("x-postern-error: not-found");
    let refused = fixture.ask("POST /one/7?refused", "", "").await;
    refused.check(
        400,
        "{\"error\":{\"code\":400,\"message\":\"no\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"@type\":\"t\"}]}}",
    );
    let problem = fixture
        .ask("POST /fail", "accept: application/problem+json\r\n", "")
        .await;
    problem
        .check_status(404)
        .has("content-type: application/problem+json");
    fixture.close().await;
}
