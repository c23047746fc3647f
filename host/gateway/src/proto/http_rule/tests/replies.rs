//! What is sent of a reply, and what is told of a rule to people.

use postern_core::{
    route::{BodyField, ParamType, Transcoded},
    service::CallKind,
};

use super::fixture::Api;

#[track_caller]
fn check(route: &str, message: &'static str, expected: &'static str) {
    let sent = Api::new().transcoder(route).reply(&message.into());
    let json = Transcoded {
        content: expected.into(),
        media_type: None,
    };
    assert_eq!(sent.expect("a reply"), json);
}

#[test]
fn a_reply_is_the_message_or_the_field_that_the_rule_names() {
    check(
        "library.v1.Library.GetBook",
        "{\"name\":\"n\"}",
        "{\"name\":\"n\"}",
    );
    check("library.v1.Library.DeleteBook", "", "{}");
    let books = "{\"books\": [ {\"title\":\"T\"} ],\"nextPageToken\":\"x\"}";
    check("library.v1.Library.ListBooks", books, books);
    check(
        "library.v1.Library.ListBooks.1",
        books,
        "[ {\"title\":\"T\"} ]",
    );
    check(
        "library.v1.Library.CountBooks",
        "{\"count\":\"12\"}",
        "\"12\"",
    );
}

#[test]
fn a_field_that_json_leaves_out_has_its_default() {
    check("library.v1.Library.ListBooks.1", "{}", "[]");
    check("library.v1.Library.CountBooks", "{}", "\"0\"");
    check("pubsub.v1.Publisher.ListTopicSubscriptions", "", "[]");
}

#[test]
fn an_http_body_is_its_octets() {
    let transcoder = Api::new().transcoder("storage.v2.Storage.ReadObject");
    assert!(transcoder.gives_octets() && !transcoder.takes_octets());
    let sent = transcoder.reply(&"{\"contentType\":\"image/png\",\"data\":\"aGk=\"}".into());
    let expected = Transcoded {
        content: "hi".into(),
        media_type: Some("image/png".into()),
    };
    assert_eq!(sent.expect("octets"), expected);
    let empty = transcoder.reply(&"{}".into()).expect("no octets");
    assert_eq!(
        empty.media_type.as_deref(),
        Some("application/octet-stream")
    );
    assert!(transcoder.reply(&"{\"data\":\"!\"}".into()).is_err());
}

#[test]
fn documents_are_told_of_parameters_and_bodies() {
    let api = Api::new();
    let create = api.transcoder("library.v1.Library.CreateBook");
    assert_eq!(create.body(), &BodyField::Field("book".into()));
    let names = |route: &str| {
        let fields = api.transcoder(route).query_fields();
        let fields = fields.into_iter().map(|field| match field.is_list {
            true => format!("{}[]", field.name),
            false => field.name.to_string(),
        });
        fields.collect::<Vec<_>>()
    };
    assert_eq!(names("library.v1.Library.CreateBook"), ["bookId"]);
    assert_eq!(names("library.v1.Library.MoveBook"), [""; 0]);
    let listed = names("library.v1.Library.ListBooks");
    assert_eq!(
        &listed[..5],
        [
            "pageSize",
            "pageToken",
            "filter.author",
            "filter.tags[]",
            "filter.years[]"
        ]
    );
    // A publisher has a parent, and so on.
    assert!(listed.contains(&"filter.publisher.parent.displayName".to_owned()));
    assert!(!listed.contains(&"filter.publisher.parent.parent.displayName".to_owned()));
    let storage = api
        .transcoder("storage.v2.Storage.GetObject")
        .query_fields();
    let kinds: Vec<_> = storage.iter().map(|field| field.kind).collect();
    assert_eq!(kinds, [ParamType::Int, ParamType::Bool]);
    let kind = |route: &str| api.transcoder(route).kind();
    assert_eq!(
        kind("library.v1.Library.StreamBooks"),
        CallKind::ServerStream
    );
    assert_eq!(
        kind("pubsub.v1.Subscriber.StreamingPull"),
        CallKind::Bidirectional
    );
    assert!(
        api.transcoder("storage.v2.Storage.WriteObject")
            .takes_octets()
    );
    assert_eq!(
        api.transcoder("library.v1.Library.CountBooks")
            .response_body()
            .map(|name| name.as_str()),
        Some("count")
    );
}
