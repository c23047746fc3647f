//! Requests that do not fit, and what their clients are told.

use serde_json::{Value, json};

use super::fixture::Api;

/// Why a request is refused.
#[track_caller]
fn check(line: &str, body: &str, expected: &str) {
    let error = Api::new().ask(line, None, body).message.expect_err(line);
    assert_eq!(error.message, expected, "{line} {body}");
    assert_eq!(error.kind, postern_core::Kind::InvalidArgument);
}

/// Why `GET /v1/shelves/1/books` with this query is refused.
#[track_caller]
fn check_query(query: &str, expected: &str) {
    check(&format!("GET /v1/shelves/1/books?{query}"), "", expected);
}

#[test]
fn a_parameter_that_is_no_field_is_told_with_the_nearest() {
    for (query, expected) in [
        (
            "pagesize=1",
            "pagesize: library.v1.ListBooksRequest has no field \"pagesize\"; did you mean \"page_size\"?",
        ),
        (
            "filter.autor=x",
            "filter.autor: library.v1.Filter has no field \"autor\"; did you mean \"author\"?",
        ),
        (
            "read_time.seconds=1",
            "read_time.seconds: \"read_time\" is one value and has no fields of its own here",
        ),
        (
            "filter=x",
            "filter: library.v1.Filter has no text; name one of its fields",
        ),
        (
            "filter.publishers.display_name=x",
            "filter.publishers.display_name: \"publishers\" is a repeated field and has no fields of its own here",
        ),
        (
            "filter.labels=x",
            "filter.labels: it is a map, which a query cannot say",
        ),
    ] {
        check_query(query, expected);
    }
}

#[test]
fn a_value_is_of_the_type_of_its_field() {
    for (query, expected) in [
        (
            "page_size=ten",
            "page_size: \"ten\" is no whole number of 32 bits",
        ),
        (
            "page_size=2147483648",
            "page_size: \"2147483648\" is no whole number of 32 bits",
        ),
        ("filter.exact=1", "filter.exact: \"1\" is no bool"),
        (
            "order_by=TITEL",
            "order_by: \"TITEL\" is no value of library.v1.Order; did you mean \"TITLE\"?",
        ),
        (
            "read_time=today",
            "read_time: \"today\" is no google.protobuf.Timestamp",
        ),
        ("cursor=!", "cursor: \"!\" is no base64"),
        ("rank=1e999", "rank: \"1e999\" is no number of 64 bits"),
    ] {
        check_query(query, expected);
    }
    check(
        "DELETE /storage/v1/b/x/o/y/z",
        "",
        "generation: \"z\" is no whole number of 64 bits",
    );
}

#[test]
fn a_field_is_said_once() {
    check_query(
        "page_size=1&page_size=2",
        "page_size: it stands twice, and is one value",
    );
    check_query("parent=x", "parent: the path says it");
    check(
        "POST /v1/shelves?shelf.theme=x",
        "{}",
        "shelf.theme: the body says it",
    );
    check(
        "POST /v1/shelves/1/books/2:move?other_shelf_name=x",
        "{}",
        "other_shelf_name: the body is the whole message, and a query adds nothing to it",
    );
}

#[test]
fn a_query_has_as_many_parameters_as_other_routes_take_and_not_one_more() {
    let many = |n: usize| "page_size=1&".repeat(n);
    check_query(&many(257), "a query of more than 256 parameters");
    check_query(
        &many(256),
        "page_size: it stands twice, and is one value; and 254 more",
    );
}

#[test]
fn a_body_is_an_object_where_the_path_adds_to_it() {
    for (line, body, expected) in [
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
    ] {
        check(line, body, expected);
    }
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
