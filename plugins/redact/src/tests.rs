//! Replies before and after.

use postern_guest::{
    Failure, Kind, Octets, Plugin, Reply,
    fake::{Crossings, Host},
};

use super::Redact;

const USER: &str = r#"{"id":7,"email":"ada@example.org","user":{"phone":"1","name":"Ada"}}"#;
const HIDDEN: &str = r#"{"id":7,"email":"***","user":{"phone":"***","name":"Ada"}}"#;

fn host() -> Host {
    let host = Host::new();
    host.config("fields", r#"["email","user.phone"]"#);
    host
}

fn redact() -> Redact {
    Redact::start().expect("a good config")
}

fn json(payload: impl Into<Octets>) -> Reply {
    Reply::from(payload.into()).header("content-type", "application/json; charset=utf-8")
}

#[test]
fn fields_are_hidden_and_the_rest_keeps_its_octets() {
    let host = host();
    assert_eq!(
        host.on_response(&mut redact(), Ok(json(USER))),
        Ok(json(HIDDEN))
    );
    let bare = |text| Reply::from(Octets::from(text));
    assert_eq!(
        host.on_response(&mut redact(), Ok(bare(USER))),
        Ok(bare(HIDDEN))
    );
    host.config("with", "say \"please\"");
    let seen = host.on_response(&mut redact(), Ok(json(r#"{"email":1}"#)));
    assert_eq!(seen, Ok(json(r#"{"email":"say \"please\""}"#)));
}

#[test]
fn a_reply_without_such_fields_is_not_sent_back() {
    let host = host();
    for text in [r#"{"id":7}"#, "[]", "7", "\"email\"", ""] {
        assert_eq!(
            host.on_response(&mut redact(), Ok(json(text))),
            Ok(json(text))
        );
    }
    assert_eq!(host.crossings(), Crossings { read: 5, set: 0 });
}

#[test]
fn what_is_not_json_does_not_cross() {
    let host = host();
    let text = Reply::from(Octets::from(USER)).header("content-type", "text/plain");
    assert_eq!(host.on_response(&mut redact(), Ok(text.clone())), Ok(text));
    assert_eq!(host.crossings(), Crossings { read: 0, set: 0 });
    let octets = Reply::from(Octets::from([0xff, 0].as_slice()));
    assert_eq!(
        host.on_response(&mut redact(), Ok(octets.clone())),
        Ok(octets)
    );
}

#[test]
fn a_payload_over_the_bound_is_refused_or_passes_untouched() {
    let host = host();
    host.config("max-bytes", &USER.len().to_string());
    assert_eq!(
        host.on_response(&mut redact(), Ok(json(USER))),
        Ok(json(HIDDEN))
    );
    host.config("max-bytes", &(USER.len() - 1).to_string());
    let failure = host.on_response(&mut redact(), Ok(json(USER))).unwrap_err();
    assert_eq!(failure.kind, Kind::Internal);
    let sizes = format!(
        "it has {} octets, the limit is {}",
        USER.len(),
        USER.len() - 1
    );
    assert!(failure.message.ends_with(&sizes), "{failure}");
    host.config("unseen", "pass");
    assert_eq!(
        host.on_response(&mut redact(), Ok(json(USER))),
        Ok(json(USER))
    );
}

#[test]
fn broken_json_and_streams_are_refused_or_pass() {
    let host = host();
    let broken = || Ok(json(r#"{"email":"ada"#));
    assert!(host.on_response(&mut redact(), broken()).is_err());
    let unnamed = Reply::from(Octets::from(r#"{"email":"ada"#));
    assert!(host.on_response(&mut redact(), Ok(unnamed)).is_err());
    host.config("unseen", "pass");
    assert_eq!(host.on_response(&mut redact(), broken()), broken());
    host.streaming();
    assert_eq!(
        host.on_response(&mut redact(), Ok(json(USER))),
        Ok(json(USER))
    );
    host.config("unseen", "refuse");
    assert!(host.on_response(&mut redact(), Ok(json(USER))).is_err());
}

#[test]
fn the_details_of_a_failure_are_looked_through() {
    let host = host();
    let failure = |details: Option<&str>| Failure {
        details: details.map(str::to_owned),
        ..Failure::not_found("no user 7")
    };
    let check = |given: Option<&str>, expected: Option<&str>| {
        let seen = host.on_response(&mut redact(), Err(failure(given)));
        assert_eq!(seen, Err(failure(expected)));
    };
    check(
        Some(r#"{"email":"a@b","n":1}"#),
        Some(r#"{"email":"***","n":1}"#),
    );
    check(Some(r#"{"n":1}"#), Some(r#"{"n":1}"#));
    check(Some("broken {"), None);
    check(None, None);
}

#[test]
fn fields_must_be_there_and_be_paths() {
    let host = Host::new();
    let failure = Redact::start().err().expect("refused");
    assert_eq!(failure.message, "config key `fields` is missing");
    host.config("fields", r#"["a..b"]"#);
    let failure = Redact::start().err().expect("refused");
    assert_eq!(
        failure.message,
        "config key `fields` names `a..b`, which is no path of keys"
    );
}
