//! Messages there and back, and what is refused with which words.

use postern_core::Kind;

use super::*;
use crate::proto::ProtoSchema;

const SOURCE: &str = r#"
syntax = "proto3";
package t;
import "google/protobuf/any.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
import "google/protobuf/wrappers.proto";

enum Side { UNKNOWN = 0; LEFT = 1; }
message User {
  string id = 1;
  string display_name = 2;
  int64 size = 3;
  bytes picture = 4;
  repeated Side sides = 5;
  map<string, User> friends = 6;
  oneof contact { string email = 7; uint32 number = 8; }
  google.protobuf.Timestamp born = 9;
  google.protobuf.Duration nap = 10;
  google.protobuf.Struct extra = 11;
  google.protobuf.StringValue note = 12;
  google.protobuf.Any any = 13;
  optional bool is_new = 14;
  double ratio = 15;
}
message Page { repeated User users = 1; }
service Users { rpc Get(User) returns (Page); }
"#;

fn codec() -> std::sync::Arc<dyn MessageCodec> {
    let schema = ProtoSchema::of_source("t.proto", SOURCE);
    schema.unwrap_or_else(|faults| panic!("{faults}")).codec()
}

fn convert(direction: Direction, from: MessageForm, message: &[u8]) -> Result<Bytes, Error> {
    let message = Bytes::copy_from_slice(message);
    codec().convert("t.Users", "Get", direction, from, &message)
}

fn protobuf(json: &str) -> Bytes {
    let converted = convert(Direction::Request, MessageForm::Json, json.as_bytes());
    converted.unwrap_or_else(|error| panic!("{error}"))
}

fn json(protobuf: &[u8]) -> String {
    let converted = convert(Direction::Request, MessageForm::Protobuf, protobuf);
    let converted = converted.unwrap_or_else(|error| panic!("{error}"));
    String::from_utf8(converted.to_vec()).expect("text")
}

#[test]
fn octets_are_those_of_the_wire_format() {
    assert_eq!(protobuf(r#"{"id":"1"}"#), &b"\x0A\x011"[..]);
    assert_eq!(protobuf("{}"), &b""[..]);
    // Names of the source are read too, and numbers in strings.
    assert_eq!(
        protobuf(r#"{"display_name":"a","size":"7"}"#),
        &b"\x12\x01a\x18\x07"[..]
    );
    assert_eq!(json(b"\x0A\x011"), r#"{"id":"1"}"#);
    assert_eq!(json(b""), "{}");
}

#[test]
fn messages_come_back_as_they_were() {
    for text in [
        r#"{"displayName":"Ada","size":"9007199254740993","picture":"AP8="}"#,
        r#"{"sides":["LEFT","UNKNOWN"],"number":0}"#,
        r#"{"friends":{"b":{"email":"b@example.org"}}}"#,
        r#"{"born":"1815-12-10T00:00:00Z","nap":"1.500s"}"#,
        r#"{"extra":{"a":[1.0,null,{"b":true}]},"note":"","isNew":false}"#,
        r#"{"any":{"@type":"type.googleapis.com/t.User","id":"7"}}"#,
        r#"{"ratio":"NaN"}"#,
    ] {
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(value(&json(&protobuf(text))), value(text));
    }
}

#[test]
fn unknown_fields_of_protobuf_are_left_out() {
    // Field 100, a varint.
    assert_eq!(json(b"\xA0\x06\x01\x0A\x011"), r#"{"id":"1"}"#);
}

#[test]
fn a_fault_in_json_names_the_field_and_what_was_meant() {
    let check = |text: &str, expected: &str| {
        let error = convert(Direction::Response, MessageForm::Json, text.as_bytes());
        let error = error.expect_err("refused");
        assert_eq!(error.kind, Kind::InvalidArgument);
        assert!(
            error.message.starts_with(expected),
            "{text}: {}",
            error.message
        );
    };
    check(
        r#"{"users":[{"id":"1"},{"displayNmae":"a"}]}"#,
        r#"field "users.1.displayNmae" of t.Page is unknown; did you mean "displayName"?"#,
    );
    check(
        r#"{"users":[{"friends":{"b":{"zebra":1}}}]}"#,
        r#"field "users.0.friends.b.zebra" of t.Page is unknown"#,
    );
    check(
        r#"{"users":[{"id":7}]}"#,
        r#"field "users.0.id" of t.Page cannot be read: "#,
    );
    check(
        r#"{"users":[{"born":"soon"}]}"#,
        r#"field "users.0.born" of t.Page cannot be read: "#,
    );
    check(
        r#"{"users":7}"#,
        r#"field "users" of t.Page cannot be read: "#,
    );
    check("[]", "no message t.Page in JSON: ");
    check("{\"users\":[", "no message t.Page in JSON: ");
    check("{} {}", "no message t.Page in JSON: ");
    let error = convert(Direction::Request, MessageForm::Json, br#"{"idd":"1"}"#);
    let details = error.expect_err("refused").details.expect("details");
    let details: serde_json::Value = serde_json::from_slice(&details).expect("JSON");
    assert_eq!(details[0]["fieldViolations"][0]["field"], "idd");
}

#[test]
fn octets_that_are_no_message_are_refused() {
    let error = convert(Direction::Request, MessageForm::Protobuf, b"\x0A\xFF");
    let error = error.expect_err("refused");
    assert!(
        error.message.starts_with("no message t.User of protobuf: "),
        "{}",
        error.message
    );
    let deep = format!(
        "{}{{}}{}",
        "{\"friends\":{\"a\":".repeat(200),
        "}}".repeat(200)
    );
    let error = convert(Direction::Request, MessageForm::Json, deep.as_bytes());
    assert!(
        error
            .expect_err("refused")
            .message
            .contains("recursion limit")
    );
}

#[test]
fn what_is_not_in_the_schema_is_none_of_its_methods() {
    let codec = codec();
    assert!(codec.has_service("t.Users") && !codec.has_service("users"));
    assert!(codec.method("t.Users", "Get").is_some());
    assert!(codec.method("t.Users", "Put").is_none());
}
