//! Routes that a schema says itself, by `google.api.http`, as a client of HTTP sees them.

use std::{net::SocketAddr, time::Duration};

use postern_tests::{Gateway, Setup, patiently, postern};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::share;

/// `echo` gives back what it is sent, so the reply is what its method was called with.
const ECHO: &str = r#"syntax = "proto3";
import "google/api/annotations.proto";
import "google/api/httpbody.proto";
import "google/protobuf/timestamp.proto";

message Book {
  string name = 1;
  string title = 2;
  int64 copies = 3;
}
message Query {
  string name = 1;
  int32 page_size = 2;
  repeated string tags = 3;
  Filter filter = 4;
  Order order = 5;
}
message Filter {
  string author = 1;
  google.protobuf.Timestamp after = 2;
}
enum Order {
  ORDER_UNSPECIFIED = 0;
  TITLE = 1;
}
message Change {
  Book book = 1;
  string request_id = 2;
}
message File {
  string name = 1;
  google.api.HttpBody content = 2;
}
service echo {
  rpc Get(Query) returns (Query) {
    option (google.api.http) = {
      get: "/v1/{name=shelves/*/books/*}"
      additional_bindings { get: "/v1/books/{name}:query" response_body: "filter" }
    };
  }
  rpc Create(Change) returns (Change) {
    option (google.api.http) = { post: "/v1/shelves/books" body: "book" };
  }
  rpc Update(Change) returns (Change) {
    option (google.api.http) = { patch: "/v1/{book.name=shelves/*/books/*}" body: "book" response_body: "book" };
  }
  rpc EchoStream(stream Book) returns (stream Book) {
    option (google.api.http) = { post: "/v1/{name=shelves/*}/books:import" body: "*" };
  }
  rpc Store(File) returns (File) {
    option (google.api.http) = {
      put: "/files/{name=**}"
      body: "content"
    };
  }
  rpc Body(google.api.HttpBody) returns (google.api.HttpBody) {
    option (google.api.http) = { post: "/files:echo" body: "*" };
  }
}
"#;

const PROBE: &str = r#"syntax = "proto3";
import "google/api/annotations.proto";
import "google/protobuf/empty.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/wrappers.proto";

message Fault {
  string kind = 1;
  string message = 2;
  google.protobuf.Value details = 3;
}
service probe {
  rpc Fail(Fault) returns (google.protobuf.Empty) {
    option (google.api.http) = { post: "/v1/faults/{kind}" body: "*" };
  }
  rpc CountTo(google.protobuf.UInt32Value) returns (stream google.protobuf.UInt64Value) {
    option (google.api.http) = { post: "/v1/numbers:count" body: "*" };
  }
}
"#;

pub(super) const JSON: &str = "content-type: application/json\r\n";
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    body: String,
}

/// `METHOD /PATH` over HTTP/1.0, whose answers have no framing of their own.
pub(super) async fn ask(address: SocketAddr, line: &str, head: &str, body: &str) -> Answer {
    let length = match body {
        "" => String::new(),
        body => format!("content-length: {}\r\n", body.len()),
    };
    let request = format!("{line} HTTP/1.0\r\nhost: x.localhost\r\n{head}{length}\r\n{body}");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await.expect("open");
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut octets = Vec::new();
        stream.read_to_end(&mut octets).await.expect("whole");
        String::from_utf8(octets).expect("text")
    };
    let told = timeout(PATIENCE, exchange).await.expect("answered");
    let (head, body) = told.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|one| one.parse().ok());
    Answer {
        status: status.expect("a status"),
        head: format!("{}\r\n", head.to_lowercase()),
        body: body.to_owned(),
    }
}

impl Answer {
    #[track_caller]
    pub(super) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}{}", self.head, self.body);
        serde_json::from_str(&self.body).expect("json")
    }

    #[track_caller]
    fn check(&self, status: u16, media_type: &str, body: &str) {
        assert_eq!((self.status, &*self.body), (status, body), "{}", self.head);
        let line = format!("\r\ncontent-type: {media_type}\r\n");
        assert!(self.head.contains(&line), "{line}: {}", self.head);
    }
}

async fn gateway(manifest: &str) -> Gateway {
    let setup = Setup::default().plugin("echo").plugin("probe");
    let setup = setup.file("echo.proto", ECHO).file("probe.proto", PROBE);
    let setup = match manifest {
        "" => setup,
        manifest => setup.file("echo.toml", manifest),
    };
    Gateway::start(setup).await
}

#[tokio::test(flavor = "multi_thread")]
async fn path_query_and_body_are_the_message_of_the_method() {
    let _machine = share().await;
    // JSON in between, and then protobuf.
    for manifest in ["", "payload = \"protobuf\"\n"] {
        let gateway = gateway(manifest).await;
        let got = ask(
            gateway.http,
            "GET /v1/shelves/1/books/a%2Fb?page_size=10&tags=x&tags=y&filter.author=Ada%20L&order=TITLE&filter.after=2024-01-02T03:04:05Z",
            "",
            "",
        );
        let filter = json!({ "author": "Ada L", "after": "2024-01-02T03:04:05Z" });
        let expected = json!({ "name": "shelves/1/books/a%2Fb", "pageSize": 10, "tags": ["x", "y"],
            "filter": filter, "order": "TITLE" });
        assert_eq!(got.await.json(200), expected, "{manifest}");
        let additional = ask(
            gateway.http,
            "GET /v1/books/a%2Fb:query?filter.author=Ada%20L&filter.after=2024-01-02T03:04:05Z",
            "",
            "",
        );
        assert_eq!(additional.await.json(200), filter, "{manifest}");
        let created = ask(
            gateway.http,
            "POST /v1/shelves/books?request_id=r",
            JSON,
            "{\"title\":\"T\",\"copies\":\"7\"}",
        );
        let expected = json!({ "requestId": "r", "book": { "title": "T", "copies": "7" } });
        assert_eq!(created.await.json(200), expected, "{manifest}");
        let updated = ask(
            gateway.http,
            "PATCH /v1/shelves/1/books/2",
            JSON,
            "{\"name\":\"elsewhere\",\"title\":\"T\"}",
        );
        let expected = json!({ "name": "shelves/1/books/2", "title": "T" });
        assert_eq!(updated.await.json(200), expected, "{manifest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_an_array_or_lines_as_the_client_accepts() {
    let _machine = share().await;
    let gateway = gateway("").await;
    let count = async |accept: &str| {
        let head = format!("{JSON}{accept}");
        ask(gateway.http, "POST /v1/numbers:count", &head, "3").await
    };
    count("").await.check(200, "application/json", "[1,2,3]");
    count("accept: application/x-ndjson\r\n")
        .await
        .check(200, "application/x-ndjson", "1\n2\n3\n");
    let events = count("accept: text/event-stream\r\n").await;
    assert!(events.body.starts_with("data: 1\n\n"), "{}", events.body);
    // What takes several messages: lines, or an array. The path is of the first.
    let import = async |head: &str, body: &str| {
        ask(gateway.http, "POST /v1/shelves/1/books:import", head, body).await
    };
    let expected = json!([{ "title": "a", "name": "shelves/1" }, { "title": "b" }]);
    let books = "[{\"title\":\"a\"}, {\"title\":\"b\"}]";
    assert_eq!(import(JSON, books).await.json(200), expected);
    let lines = "content-type: application/x-ndjson\r\n";
    let books = "{\"title\":\"a\"}\n{\"title\":\"b\"}\n";
    assert_eq!(import(lines, books).await.json(200), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_ends_a_stream_is_its_last_element() {
    let _machine = share().await;
    let gateway = gateway("payload = \"protobuf\"\n").await;
    let lines = "content-type: application/x-ndjson\r\n";
    let books = "{\"title\":\"a\"}\n{\"title\":7}\n";
    let broken = ask(
        gateway.http,
        "POST /v1/shelves/1/books:import",
        lines,
        books,
    )
    .await;
    let elements = broken.json(200);
    assert_eq!(elements[0]["title"], "a", "{elements}");
    let error = &elements[1]["error"];
    assert_eq!(error["status"], "INVALID_ARGUMENT", "{elements}");
    assert_eq!(error["code"], 400, "{elements}");
}

#[tokio::test(flavor = "multi_thread")]
async fn octets_of_any_media_type_are_an_http_body() {
    let _machine = share().await;
    let gateway = gateway("").await;
    let stored = ask(
        gateway.http,
        "PUT /files/a/b.txt",
        "content-type: text/plain\r\n",
        "hi\n",
    );
    let content = json!({ "contentType": "text/plain", "data": "aGkK" });
    assert_eq!(
        stored.await.json(200),
        json!({ "name": "a/b.txt", "content": content })
    );
    let same = ask(
        gateway.http,
        "POST /files:echo",
        "content-type: text/x-y\r\n",
        "hi\n",
    );
    same.await.check(200, "text/x-y", "hi\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_told_as_google_apis_do_with_their_details() {
    let _machine = share().await;
    let gateway = gateway("").await;
    let fail = async |kind: &str, head: &str, details: Value| {
        let body = json!({ "message": "no such book", "details": details }).to_string();
        let head = format!("{JSON}{head}");
        ask(
            gateway.http,
            &format!("POST /v1/faults/{kind}"),
            &head,
            &body,
        )
        .await
    };
    let info = json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "GONE" }]);
    let told = fail("not-found", "", info.clone()).await.json(404);
    let expected = json!({ "error": { "code": 404, "message": "no such book", "status": "NOT_FOUND",
        "details": info } });
    assert_eq!(told, expected);
    let told = fail("failed-precondition", "", json!({ "at": 7 }))
        .await
        .json(400);
    let value =
        json!([{ "@type": "type.googleapis.com/google.protobuf.Value", "value": { "at": 7 } }]);
    assert_eq!(told["error"]["details"], value);
    assert_eq!(told["error"]["status"], "FAILED_PRECONDITION");
    let problem = "accept: application/problem+json\r\n";
    let told = fail("not-found", problem, json!(null)).await.json(404);
    assert_eq!(
        (&told["detail"], &told["kind"]),
        (&json!("no such book"), &json!("not-found"))
    );
    // What the rule refuses names its fields.
    let told = ask(
        gateway.http,
        "GET /v1/shelves/1/books/2?pagesize=1&order=TITEL",
        "",
        "",
    );
    let told = told.await.json(400);
    let violations = &told["error"]["details"][0]["fieldViolations"];
    assert_eq!(violations[0]["field"], "pagesize", "{told}");
    let expected = "Query has no field \"pagesize\"; did you mean \"page_size\"?";
    assert_eq!(violations[0]["description"], expected);
    assert_eq!(violations[1]["field"], "order", "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_shows_the_routes_of_a_schema() {
    let _machine = share().await;
    let gateway = gateway("").await;
    let document = ask(gateway.http, "GET /openapi.json", "", "")
        .await
        .json(200);
    let book = &document["paths"]["/v1/shelves/{shelves_id}/books/{books_id}"];
    let names = |operation: &Value| {
        let parameters = operation["parameters"].as_array().expect("a list").iter();
        let names = parameters.map(|one| format!("{} {}", one["in"], one["name"]));
        names.map(|one| one.replace('"', "")).collect::<Vec<_>>()
    };
    let expected = [
        "path shelves_id",
        "path books_id",
        "query pageSize",
        "query tags",
        "query filter.author",
        "query filter.after",
        "query order",
    ];
    assert_eq!(names(&book["get"]), expected);
    assert_eq!(book["get"]["operationId"], "echo.echo.Get");
    let body = &book["patch"]["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(*body, json!({ "$ref": "#/components/schemas/echo.Book" }));
    let count = &document["paths"]["/v1/numbers:count"]["post"]["responses"];
    assert_eq!(
        count["200"]["content"]["application/json"]["schema"]["type"],
        "array"
    );
    assert_eq!(count["default"]["$ref"], "#/components/responses/Status");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_of_a_schema_change_with_it_and_conflicts_refuse_the_plugin() {
    let _machine = share().await;
    let gateway = gateway("").await;
    let status = async |line: &str| ask(gateway.http, line, "", "").await.status;
    assert_eq!(status("GET /v1/shelves/1/books/2").await, 200);
    assert_eq!(status("GET /v2/shelves/1/books/2").await, 404);
    let moved = ECHO.replace("get: \"/v1/{name=", "get: \"/v2/{name=");
    gateway.deploy("echo.proto", moved.as_bytes());
    patiently("the routes are those of the new schema", async || {
        status("GET /v2/shelves/1/books/2").await == 200
    })
    .await;
    assert_eq!(
        status("GET /v1/shelves/1/books/2").await,
        405,
        "others are there"
    );
    // The schema of another plugin takes the same requests.
    let taken = PROBE.replace(
        "/v1/numbers:count\" body: \"*\"",
        "/files:echo\" body: \"*\"",
    );
    gateway.deploy("probe.proto", taken.as_bytes());
    patiently("it is refused", async || {
        let told = gateway.admin_json("/plugins/probe").await.to_string();
        told.contains("route probe.probe.CountTo takes the same requests as route echo.echo.Body")
    })
    .await;
    let counted = ask(gateway.http, "POST /v1/numbers:count", JSON, "1").await;
    assert_eq!(counted.json(200), json!([1]), "what served before serves");
    // A rule that names no field.
    let wrong = PROBE.replace("{kind}", "{knid}");
    gateway.deploy("probe.proto", wrong.as_bytes());
    patiently("it is refused with its place", async || {
        let told = gateway.admin_json("/plugins/probe").await.to_string();
        told.contains("probe.proto:13:3: probe.Fail: {knid} of the path: Fault has no field")
    })
    .await;
}

#[test]
fn check_draws_a_rule_that_names_no_field() {
    let folder = tempfile::tempdir().expect("a folder");
    let plugins = folder.path().join("plugins");
    std::fs::create_dir(&plugins).expect("made");
    let component = postern_tests::component("probe");
    std::fs::write(plugins.join("probe.wasm"), component).expect("written");
    let wrong = PROBE.replace("{kind}", "{knid}");
    std::fs::write(plugins.join("probe.proto"), wrong).expect("written");
    let target = plugins.join("probe.wasm");
    let checked = postern(folder.path(), &["check", target.to_str().expect("text")]);
    assert_ne!(checked.code, Some(0), "{checked:?}");
    let told = format!("{}{}", checked.out, checked.err);
    assert!(told.contains("did you mean \"kind\"?"), "{told}");
    assert!(told.contains("rpc Fail(Fault)"), "{told}");
}
