//! Request line and body in, method and message out.

use serde_json::{Value, json};

use super::fixture::Api;

#[track_caller]
fn check(line: &str, body: &str, method: &str, expected: Value) {
    let found = Api::new().ask(line, None, body);
    assert_eq!(found.method, method, "{line}");
    assert_eq!(found.message.expect(line), expected, "{line} {body}");
}

/// Why a request is refused.
#[track_caller]
fn refused(line: &str, body: &str, expected: &str) {
    let error = Api::new().ask(line, None, body).message.expect_err(line);
    assert_eq!(error.message, expected, "{line} {body}");
    assert_eq!(error.kind, postern_core::Kind::InvalidArgument);
}

#[test]
fn the_path_says_its_fields() {
    check(
        "GET /v1/shelves/1/books/2",
        "",
        "library.v1.Library.GetBook",
        json!({ "name": "shelves/1/books/2" }),
    );
    check(
        "GET /v1/archives/1/books/a/b",
        "",
        "library.v1.Library.GetBook.1",
        json!({ "name": "archives/1/books/a/b" }),
    );
    check(
        "GET /v1/archives/1/books",
        "",
        "library.v1.Library.GetBook.1",
        json!({ "name": "archives/1/books" }),
    );
    check(
        "DELETE /v1/shelves/1/books/2",
        "",
        "library.v1.Library.DeleteBook",
        json!({ "name": "shelves/1/books/2" }),
    );
    check(
        "GET /v1/shelves/a%2Fb/books/c%20d",
        "",
        "library.v1.Library.GetBook",
        json!({ "name": "shelves/a%2Fb/books/c d" }),
    );
    check(
        "GET /storage/v1/b/my-bucket/o/a%2Fb%20c",
        "",
        "storage.v2.Storage.GetObject",
        json!({ "bucket": "my-bucket", "object": "a/b c" }),
    );
    check(
        "GET /download/my-bucket/a/b/c.txt",
        "",
        "storage.v2.Storage.ReadObject",
        json!({ "bucket": "my-bucket", "object": "a/b/c.txt" }),
    );
    check(
        "DELETE /storage/v1/b/x/o/y/9007199254740993",
        "",
        "storage.v2.Storage.DeleteGeneration",
        json!({ "bucket": "x", "object": "y", "generation": "9007199254740993" }),
    );
}

#[test]
fn what_is_left_stands_in_the_query() {
    check(
        "GET /v1/shelves/1/books?page_size=10&pageToken=a%26b",
        "",
        "library.v1.Library.ListBooks",
        json!({ "parent": "shelves/1", "pageSize": 10, "pageToken": "a&b" }),
    );
    check(
        "GET /v1/books:list?parent=shelves/9",
        "",
        "library.v1.Library.ListBooks.1",
        json!({ "parent": "shelves/9" }),
    );
    check(
        "GET /v1/shelves/1/books?filter.author=Ada+L&filter.tags=x&filter.tags=y&filter.publisher.display_name=P&filter.years=1843&filter.exact=true",
        "",
        "library.v1.Library.ListBooks",
        json!({ "parent": "shelves/1", "filter": {
            "author": "Ada L", "tags": ["x", "y"], "publisher": { "displayName": "P" }, "years": ["1843"], "exact": true,
        } }),
    );
    check(
        "GET /v1/shelves/1/books?order_by=TITLE&read_time=2024-01-02T03:04:05Z&max_age=3.5s&read_mask=name,publisher.display_name",
        "",
        "library.v1.Library.ListBooks",
        json!({ "parent": "shelves/1", "orderBy": "TITLE", "readTime": "2024-01-02T03:04:05Z", "maxAge": "3.5s",
            "readMask": "name,publisher.displayName" }),
    );
    check(
        "GET /v1/shelves/1/books?order_by=2&min_copies=5&only_read=false&rank=-1.5e3&cursor=AP_-&$alt=json;enum-encoding=int",
        "",
        "library.v1.Library.ListBooks",
        json!({ "parent": "shelves/1", "orderBy": 2, "minCopies": "5", "onlyRead": false, "rank": -1500.0, "cursor": "AP_-" }),
    );
    check(
        "GET /v1/shelves/1/books:stream?rank=NaN",
        "",
        "library.v1.Library.StreamBooks",
        json!({ "parent": "shelves/1", "rank": "NaN" }),
    );
    check(
        "COUNT /v1/shelves/1/books",
        "",
        "library.v1.Library.CountBooks",
        json!({ "parent": "shelves/1" }),
    );
    check(
        "GET /storage/v1/b/x/o?prefix=a/&delimiter=/&max_results=100",
        "",
        "storage.v2.Storage.ListObjects",
        json!({ "bucket": "x", "prefix": "a/", "delimiter": "/", "maxResults": 100 }),
    );
}

#[test]
fn the_body_is_one_field_and_the_query_has_the_others() {
    check(
        "POST /v1/shelves?request_id=r",
        "{\"theme\": \"History\"}",
        "library.v1.Library.CreateShelf",
        json!({ "shelf": { "theme": "History" }, "requestId": "r" }),
    );
    check(
        "POST /v1/shelves/1/books?book_id=b",
        "{\"title\":\"T\",\"nCopies\":\"7\",\"labels\":{\"a\":\"b\"}}",
        "library.v1.Library.CreateBook",
        json!({ "parent": "shelves/1", "bookId": "b", "book": { "title": "T", "nCopies": "7", "labels": { "a": "b" } } }),
    );
    check(
        "POST /v1/shelves",
        "",
        "library.v1.Library.CreateShelf",
        json!({}),
    );
}

/// A resource that is sent whole has its name, and the path says which it is.
#[test]
fn the_path_counts_where_the_body_says_the_same_field() {
    let name = "shelves/1/books/2";
    check(
        "PATCH /v1/shelves/1/books/2?update_mask=title&allow_missing=true",
        "{\"title\":\"T\"}",
        "library.v1.Library.UpdateBook",
        json!({ "book": { "title": "T", "name": name }, "updateMask": "title", "allowMissing": true }),
    );
    check(
        "PATCH /v1/shelves/1/books/2",
        "{\"name\":\"shelves/9/books/9\",\"title\":\"T\"}",
        "library.v1.Library.UpdateBook",
        json!({ "book": { "title": "T", "name": name } }),
    );
    check(
        "PATCH /v1/shelves/1/books/2",
        "null",
        "library.v1.Library.UpdateBook",
        json!({ "book": { "name": name } }),
    );
    check(
        "PATCH /v1/projects/p/topics/t",
        "{\"topic\": {\"labels\": {\"k\": \"v\"}, \"name\": \"x\"}, \"update_mask\": \"labels\"}",
        "pubsub.v1.Publisher.UpdateTopic",
        json!({ "topic": { "labels": { "k": "v" }, "name": "projects/p/topics/t" }, "update_mask": "labels" }),
    );
    check(
        "POST /storage/v1/b/x/o/y/compose",
        "{\"sourceObjects\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"kms_key\":\"k\"}",
        "storage.v2.Storage.ComposeObject",
        json!({ "sourceObjects": [{ "name": "a" }, { "name": "b" }], "kms_key": "k", "destination": { "bucket": "x", "name": "y" } }),
    );
}

#[test]
fn the_body_is_the_message_where_the_rule_has_a_star() {
    check(
        "PUT /v1/projects/p/topics/t",
        "{\"labels\":{\"a\":\"b\"},\"messageRetentionDuration\":\"600s\"}",
        "pubsub.v1.Publisher.CreateTopic",
        json!({ "labels": { "a": "b" }, "messageRetentionDuration": "600s", "name": "projects/p/topics/t" }),
    );
    check(
        "POST /v1/projects/p/topics/t:publish",
        "{\"messages\":[{\"data\":\"aGk=\"}]}",
        "pubsub.v1.Publisher.Publish",
        json!({ "messages": [{ "data": "aGk=" }], "topic": "projects/p/topics/t" }),
    );
    check(
        "POST /v1/projects/p/subscriptions/s:acknowledge",
        "{\"ackIds\":[\"1\",\"2\"]}",
        "pubsub.v1.Subscriber.Acknowledge",
        json!({ "ackIds": ["1", "2"], "subscription": "projects/p/subscriptions/s" }),
    );
    check(
        "POST /v1/projects/p/subscriptions/s:pull",
        "",
        "pubsub.v1.Subscriber.Pull",
        json!({ "subscription": "projects/p/subscriptions/s" }),
    );
    check(
        "POST /v1/shelves/1/books/2:move",
        " { } ",
        "library.v1.Library.MoveBook",
        json!({ "name": "shelves/1/books/2" }),
    );
    // Without variables a body goes on as it is.
    check(
        "POST /v1/subscriptions:streamingPull",
        "{\"max_messages\": 1}",
        "pubsub.v1.Subscriber.StreamingPull",
        json!({ "max_messages": 1 }),
    );
}

#[test]
fn a_body_of_any_media_type_is_an_http_body() {
    let found = Api::new().ask("PUT /upload/x/a/b?upload_id=7", Some("text/plain"), "hi\n");
    assert_eq!(found.method, "storage.v2.Storage.WriteObject");
    let content = json!({ "contentType": "text/plain", "data": "aGkK" });
    let expected = json!({ "bucket": "x", "object": "a/b", "uploadId": "7", "content": content });
    assert_eq!(found.message.expect("a message"), expected);
}

#[test]
fn methods_without_a_rule_and_verbs_that_nobody_knows_have_no_route() {
    let api = Api::new();
    for line in [
        "POST /v1/projects/p/topics/t:purge",
        "GET /v1/shelves/1",
        "PUT /v1/shelves/1/books/2",
    ] {
        assert_eq!(api.ask(line, None, "").method, "-", "{line}");
    }
}

/// Requests, by line and body, and what of them does not fit.
const REFUSED: [(&str, &str, &str); 22] = [
    (
        "GET /v1/shelves/1/books?pagesize=1",
        "",
        "pagesize: library.v1.ListBooksRequest has no field \"pagesize\"; did you mean \"page_size\"?",
    ),
    (
        "GET /v1/shelves/1/books?filter.autor=x",
        "",
        "filter.autor: library.v1.Filter has no field \"autor\"; did you mean \"author\"?",
    ),
    (
        "GET /v1/shelves/1/books?page_size=1&page_size=2",
        "",
        "page_size: it stands twice, and is one value",
    ),
    (
        "GET /v1/shelves/1/books?page_size=ten",
        "",
        "page_size: \"ten\" is no whole number of 32 bits",
    ),
    (
        "GET /v1/shelves/1/books?page_size=2147483648",
        "",
        "page_size: \"2147483648\" is no whole number of 32 bits",
    ),
    (
        "GET /v1/shelves/1/books?filter.exact=1",
        "",
        "filter.exact: \"1\" is no bool",
    ),
    (
        "GET /v1/shelves/1/books?order_by=TITEL",
        "",
        "order_by: \"TITEL\" is no value of library.v1.Order; did you mean \"TITLE\"?",
    ),
    (
        "GET /v1/shelves/1/books?read_time=today",
        "",
        "read_time: \"today\" is no google.protobuf.Timestamp",
    ),
    (
        "GET /v1/shelves/1/books?read_time.seconds=1",
        "",
        "read_time.seconds: \"read_time\" is one value and has no fields of its own here",
    ),
    (
        "GET /v1/shelves/1/books?cursor=!",
        "",
        "cursor: \"!\" is no base64",
    ),
    (
        "GET /v1/shelves/1/books?rank=1e999",
        "",
        "rank: \"1e999\" is no number of 64 bits",
    ),
    (
        "GET /v1/shelves/1/books?filter=x",
        "",
        "filter: library.v1.Filter has no text; name one of its fields",
    ),
    (
        "GET /v1/shelves/1/books?filter.publishers.display_name=x",
        "",
        "filter.publishers.display_name: \"publishers\" is a repeated field and has no fields of its own here",
    ),
    (
        "GET /v1/shelves/1/books?filter.labels=x",
        "",
        "filter.labels: it is a map, which a query cannot say",
    ),
    (
        "GET /v1/shelves/1/books?parent=x",
        "",
        "parent: the path says it",
    ),
    (
        "POST /v1/shelves?shelf.theme=x",
        "{}",
        "shelf.theme: the body says it",
    ),
    (
        "POST /v1/shelves/1/books/2:move?other_shelf_name=x",
        "{}",
        "other_shelf_name: the body is the whole message, and a query adds nothing to it",
    ),
    (
        "DELETE /storage/v1/b/x/o/y/z",
        "",
        "generation: \"z\" is no whole number of 64 bits",
    ),
    (
        "GET /v1/shelves/1/books/2",
        "{}",
        "the rule of this path takes no body",
    ),
    (
        "PATCH /v1/shelves/1/books/2",
        "7",
        "book is no JSON object, which the path could add a member to",
    ),
    (
        "PATCH /v1/shelves/1/books/2",
        "{",
        "the body is no JSON: EOF while parsing an object at line 1 column 1",
    ),
    (
        "PUT /v1/projects/p/topics/t",
        "[]",
        "the body is no JSON object, which the path could add a member to",
    ),
];

#[test]
fn what_does_not_fit_is_refused_with_its_field() {
    for (line, body, reason) in REFUSED {
        refused(line, body, reason);
    }
    let many: String = (0..=256).map(|n| format!("p{n}=&")).collect();
    refused(
        &format!("GET /v1/shelves/1/books?{many}"),
        "",
        "a query of more than 256 parameters",
    );
}

#[test]
fn all_fields_that_do_not_fit_are_told_as_google_apis_do() {
    let line = "GET /v1/shelves/1/books?page_size=x&rank=y";
    let error = Api::new().ask(line, None, "").message.expect_err("two");
    assert_eq!(
        error.message,
        "page_size: \"x\" is no whole number of 32 bits; and 1 more"
    );
    let details: Value = serde_json::from_slice(&error.details.expect("details")).expect("JSON");
    let expected = json!([{
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [
            { "field": "page_size", "description": "\"x\" is no whole number of 32 bits" },
            { "field": "rank", "description": "\"y\" is no number of 64 bits" },
        ],
    }]);
    assert_eq!(details, expected);
}
