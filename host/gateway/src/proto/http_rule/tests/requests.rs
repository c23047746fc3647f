//! Request line and body in, method and message out.

use serde_json::{Value, json};

use super::fixture::Api;

#[track_caller]
fn check(line: &str, body: &str, method: &str, expected: Value) {
    let found = Api::new().ask(line, None, body);
    assert_eq!(found.method, method, "{line}");
    assert_eq!(found.message.expect(line), expected, "{line} {body}");
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
