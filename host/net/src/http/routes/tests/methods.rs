//! Routes to methods: what is called with what, and what a client of REST is told.

use super::*;

#[tokio::test]
async fn path_query_and_body_are_what_the_method_is_called_with() {
    let routes = vec![
        method("PUT", "/users/{id}/posts/{n:int}", "echo/Put"),
        method("GET", "/plain", "echo/Get"),
        with_end(method("POST", "/raw/{id}", "echo/Raw"), |end| {
            end.body = BodyForm::Raw
        }),
    ];
    let fixture = Fixture::open(routes).await;
    let json = "content-type: application/json\r\n";
    let put = |body: &'static str| fixture.ask("PUT /users/a%2Fb/posts/7?size=3&x=y+z", json, body);
    let expected = "{\"id\":\"a/b\",\"n\":7,\"size\":3,\"x\":\"y z\",\"text\":1.0}";
    put("{\"text\":1.0}").await.check(200, expected);
    let expected = "{\"id\":\"a/b\",\"n\":7,\"size\":3,\"x\":\"y z\"}";
    put("")
        .await
        .check(200, expected)
        .has("content-type: application/json");
    // Nothing is made of nothing, and a body alone stays as it is.
    fixture.ask("GET /plain", "", "").await.check(200, "");
    fixture
        .ask("GET /plain", json, "[1, 2]")
        .await
        .check(200, "[1, 2]");
    let raw = fixture
        .ask("POST /raw/7?x=y", "content-type: text/plain\r\n", "a=b")
        .await;
    raw.check(200, "a=b");
    let request = Request::builder()
        .method("PUT")
        .uri(fixture.uri("/users/a/posts/1"));
    let request = request.header("content-type", "application/json");
    let response = fixture.ask_h2(request, "{\"y\":2}").await;
    assert_eq!(response.body(), "{\"id\":\"a\",\"n\":1,\"y\":2}");
    fixture.close().await;
}

const JSON: &str = "content-type: application/json\r\n";

/// A request, lines of its head, its body; and what it is told.
const MISFITS: [(&str, &str, &str, u16, &str); 10] = [
    ("GET /nothing", "", "", 404, "no route takes /nothing"),
    ("GET /numbers/x", "", "", 404, "no route takes /numbers/x"),
    (
        "POST /users/7",
        "",
        "",
        405,
        "method POST is not served here; GET, HEAD, OPTIONS, PUT are",
    ),
    (
        "GET /users/7",
        "accept: application/xml, application/json;q=0\r\n",
        "",
        406,
        "this is application/json, and nothing of it is accepted",
    ),
    (
        "PUT /users/7",
        "content-type: application/xml\r\n",
        "<a/>",
        415,
        "content type application/xml is not accepted; send application/json (curl: -H 'content-type: application/json')",
    ),
    (
        "PUT /users/7",
        JSON,
        "{\"a\":",
        400,
        "the body is no JSON: EOF while parsing a value at line 1 column 5",
    ),
    (
        "GET /users/7?a=%ff",
        "",
        "",
        400,
        "\"a=%ff\" of the query is not percent-encoded utf-8",
    ),
    (
        "PUT /users/7",
        JSON,
        "[1]",
        422,
        "the body is no JSON object, which parameters could be added to",
    ),
    (
        "GET /users/7?size=large",
        "",
        "",
        422,
        "\"large\" of parameter \"size\" in the query is no int",
    ),
    (
        "PUT /users/7",
        JSON,
        "{\"id\":8}",
        422,
        "\"id\" has one value in the path and another in the body",
    ),
];

#[tokio::test]
async fn what_does_not_fit_is_told_as_rest_tells_it() {
    let fixture = Fixture::open(vec![
        method("PUT", "/users/{id}", "echo/Put"),
        method("GET", "/users/{id}", "echo/Get"),
        method("GET", "/numbers/{n:int}", "echo/Number"),
    ])
    .await;
    let told = |status: u16, error: &str| {
        // What is wrong with a member is told with its place as well.
        let member = ["size", "id"]
            .into_iter()
            .find(|name| status == 422 && error.contains(&format!("\"{name}\"")));
        let error = error.replace('"', "\\\"");
        let errors = member.map(|name| {
            format!(",\"errors\":[{{\"pointer\":\"/{name}\",\"detail\":\"{error}\"}}]")
        });
        let errors = errors.unwrap_or_default();
        format!("{{\"error\":\"{error}\",\"code\":{status}{errors}}}")
    };
    for (line, head, body, status, error) in MISFITS {
        let answer = fixture.ask(line, head, body).await;
        answer.check(status, &told(status, error));
    }
    fixture
        .ask("POST /users/7", "", "")
        .await
        .has("allow: GET, HEAD, OPTIONS, PUT");
    let options = fixture.ask("OPTIONS /users/7", "", "").await;
    options.check(204, "").has("allow: GET, HEAD, OPTIONS, PUT");
    fixture.close().await;
}

#[tokio::test]
async fn a_handlers_status_and_fields_stay_and_the_route_adds_its_own() {
    let mut set = method("POST", "/set", "echo/Set");
    set.status = HttpStatus::new(202).ok();
    set.headers = fields(&[("cache-control", "no-cache"), ("X-Own", "route")]);
    let mut created = HttpRoute {
        headers: set.headers.clone(),
        status: set.status,
        ..method("POST", "/users", "created/Create")
    };
    created.name = "users".into();
    let fixture = Fixture::open(vec![set, created]).await;
    let answer = fixture.ask("POST /set", "", "").await;
    answer
        .check(202, "")
        .has("cache-control: no-cache")
        .has("x-own: route");
    let answer = fixture.ask("POST /users", "", "").await;
    answer.check(201, "{\"id\":7}").has("location: /users/7");
    answer
        .has("cache-control: no-cache")
        .has("x-own: handler")
        .lacks("x-own: route");
    fixture.close().await;
}

#[tokio::test]
async fn head_is_get_without_its_body() {
    let fixture = Fixture::open(vec![
        method("GET", "/a/{id}", "echo/Get"),
        method("GET", "/count", "count/All"),
        method("GET", "/sized", "sized/4"),
    ])
    .await;
    let answer = fixture.ask("HEAD /a/7", "", "").await;
    answer
        .check(200, "")
        .has("content-length: 10")
        .has("content-type: application/json");
    fixture
        .ask("HEAD /count", "", "")
        .await
        .check(200, "")
        .lacks("content-length");
    fixture
        .ask("HEAD /sized", "", "")
        .await
        .check(200, "")
        .has("content-length: 4");
    let request = Request::builder().method("HEAD").uri(fixture.uri("/a/7"));
    let response = fixture.ask_h2(request, "").await;
    assert_eq!(
        (response.status(), response.body().len()),
        (StatusCode::OK, 0)
    );
    assert_eq!(response.headers()["content-length"], "10");
    fixture.close().await;
}

#[tokio::test]
async fn octets_of_a_stated_length_have_it_or_break_off() {
    let fixture = Fixture::open(vec![
        method("GET", "/4", "sized/4"),
        method("GET", "/5", "sized/5"),
        method("GET", "/3", "sized/3"),
    ])
    .await;
    fixture
        .ask("GET /4", "", "")
        .await
        .check(200, "abcd")
        .has("content-length: 4");
    for path in ["/5", "/3"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let told = fixture.octets(request).await;
        let told = String::from_utf8_lossy(&told);
        // What was written of it before may not have been sent.
        let body = told.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        assert!(
            body.len() < 3 || path == "/5" && body.len() < 5,
            "{path}: {told}"
        );
    }
    fixture.close().await;
}

#[tokio::test]
async fn a_stream_is_lines_or_events_as_the_client_accepts() {
    let fixture = Fixture::open(vec![
        method("GET", "/count", "count/All"),
        method("GET", "/broken", "count/Broken"),
        method("GET", "/one/{id}", "echo/One"),
    ])
    .await;
    let events = "accept: text/event-stream\r\n";
    let read = |line: &'static str, head: &'static str| {
        let request = Request::builder().uri(fixture.uri(line));
        let request = match head.trim().split_once(": ") {
            Some((name, value)) => request.header(name, value),
            None => request,
        };
        fixture.ask_h2(request, "")
    };
    let told = read("/count", events).await;
    assert_eq!(told.headers()["content-type"], "text/event-stream");
    assert_eq!(told.headers()["cache-control"], "no-store");
    assert_eq!(
        told.body(),
        "data: {\"n\":1}\n\ndata: {\ndata: \"n\":2}\n\n"
    );
    let told = read("/broken", events).await;
    let error = "event: error\ndata: {\"error\":\"the rest is lost\",\"code\":500}\n\n";
    assert!(told.body().ends_with(error.as_bytes()), "{:?}", told.body());
    let told = read("/count", "").await;
    assert_eq!(told.headers()["content-type"], "application/x-ndjson");
    let told = read("/one/7", events).await;
    assert_eq!(told.body(), "data: {\"id\":\"7\"}\n\n");
    fixture.close().await;
}

#[tokio::test]
async fn errors_are_problems_where_the_client_or_the_route_says_so() {
    let always = HttpRoute {
        has_problems: true,
        ..method("GET", "/always", "fail/unavailable")
    };
    let fixture = Fixture::open(vec![always, method("GET", "/asked", "fail/not-found")]).await;
    let problem = |status: u16, title: &str, kind: &str| {
        format!(
            "{{\"type\":\"about:blank\",\"title\":\"{title}\",\"status\":{status},\
             \"detail\":\"on purpose\",\"kind\":\"{kind}\",\"details\":{{\"n\":1}}}}"
        )
    };
    let answer = fixture.ask("GET /always", "", "").await;
    answer.check(503, &problem(503, "Service Unavailable", "unavailable"));
    answer
        .has("content-type: application/problem+json")
        .has("x-postern-error: unavailable");
    let accept = "accept: application/json, application/problem+json\r\n";
    let answer = fixture.ask("GET /asked", accept, "").await;
    answer.check(404, &problem(404, "Not Found", "not-found"));
    let answer = fixture.ask("GET /asked", "", "").await;
    answer.check(
        404,
        "{\"error\":\"on purpose\",\"code\":404,\"details\":{\"n\":1}}",
    );
    let answer = fixture.ask("GET /nothing", accept, "").await;
    answer
        .check_status(404)
        .has("content-type: application/problem+json");
    fixture.close().await;
}

#[tokio::test]
async fn who_has_what_the_handler_tags_is_told_so() {
    let fixture = Fixture::open(vec![method("GET", "/v", "tagged/Get")]).await;
    fixture
        .ask("GET /v", "", "")
        .await
        .check(200, "{\"v\":1}")
        .has("etag: \"v1\"");
    let answer = fixture
        .ask("GET /v", "if-none-match: \"v0\", W/\"v1\"\r\n", "")
        .await;
    answer
        .check(304, "")
        .has("etag: \"v1\"")
        .has("cache-control: max-age=5")
        .lacks("content-type");
    fixture
        .ask("HEAD /v", "if-none-match: *\r\n", "")
        .await
        .check(304, "");
    let answer = fixture.ask("GET /v", "if-match: \"v2\"\r\n", "").await;
    answer
        .check_status(412)
        .has("x-postern-error: failed-precondition");
    fixture.close().await;
}

#[tokio::test]
async fn forms_are_taken_where_the_route_says_so() {
    let form = with_end(method("POST", "/form/{id}", "echo/Form"), |end| {
        end.body = BodyForm::Form
    });
    let fixture = Fixture::open(vec![form, method("POST", "/json", "echo/Json")]).await;
    let pairs = "content-type: application/x-www-form-urlencoded\r\n";
    let expected = "{\"id\":\"7\",\"name\":\"Ada L\",\"size\":3}";
    let answer = fixture
        .ask("POST /form/7?size=3", pairs, "name=Ada+L")
        .await;
    answer.check(200, expected);
    let parts = "content-type: multipart/form-data; boundary=x\r\n";
    let body = "--x\r\ncontent-disposition: form-data; name=\"size\"\r\n\r\n3\r\n--x--\r\n";
    let answer = fixture.ask("POST /form/7", parts, body).await;
    answer.check(200, "{\"id\":\"7\",\"size\":3}");
    let json = "content-type: application/json\r\n";
    let answer = fixture.ask("POST /form/7", json, "{\"a\":1}").await;
    answer.check(200, "{\"id\":\"7\",\"a\":1}");
    for kind in [pairs, parts, "content-type: text/plain\r\n"] {
        fixture
            .ask("POST /json", kind, "a=b")
            .await
            .check_status(415);
    }
    fixture
        .ask("POST /form/7", "content-type: text/plain\r\n", "a=b")
        .await
        .check_status(415);
    fixture.close().await;
}

#[tokio::test]
async fn a_method_says_what_it_produces_and_which_version_is_asked() {
    let page = with_end(method("GET", "/page", "echo/Head"), |end| {
        end.produces = vec!["text/plain".into(), "image/*".into()];
        end.version = Some("2".into());
    });
    let fixture = Fixture::open(vec![page]).await;
    let answer = fixture
        .ask("GET /page?a=b", "accept: text/*\r\nversion: 3\r\n", "")
        .await;
    answer
        .check(200, "GET /page?a=b 2")
        .has("content-type: text/plain");
    fixture
        .ask("GET /page", "accept: application/json\r\n", "")
        .await
        .check_status(406);
    fixture.close().await;
}

#[tokio::test]
async fn lines_are_messages_and_take_no_parameters() {
    let fixture = Fixture::open(vec![method("POST", "/lines", "echo/Lines")]).await;
    let lines = "content-type: application/x-ndjson\r\n";
    fixture
        .ask("POST /lines", lines, "{\"a\":1}\n")
        .await
        .check(200, "{\"a\":1}");
    let answer = fixture.ask("POST /lines?x=1", lines, "{\"a\":1}\n").await;
    answer.check_status(422);
    fixture.close().await;
}
