//! Calls, and the lines and events that they leave.

use std::time::Duration;

use postern_guest::{
    Failure, Kind, Octets, Plugin, Reply,
    fake::{Crossings, Host},
    log::Level,
};
use serde_json::{Value, json};

use super::AuditLog;

fn audit() -> AuditLog {
    AuditLog::start().expect("a good config")
}

fn reply() -> Result<Reply, Failure> {
    Ok(Reply::from(Octets::from("secret")))
}

fn users_call() -> Host {
    let host = Host::new();
    host.request("users", "GetUser", "secret")
        .peer("tcp", Some("127.0.0.1:4000"))
        .principal("ada", &["admin"])
        .correlation_id("c7")
        .elapsed(Duration::from_micros(1234));
    host
}

fn fields(host: &Host) -> Vec<String> {
    let lines = host.log();
    let [line] = lines.as_slice() else {
        panic!("one line, not {lines:?}");
    };
    assert_eq!(line.message, "call");
    let fields = line.fields.iter();
    fields
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

#[test]
fn a_call_leaves_one_line_and_its_payload_is_not_looked_at() {
    let host = users_call();
    assert_eq!(host.on_response(&mut audit(), reply()), reply());
    assert_eq!(
        fields(&host),
        [
            "service=users",
            "method=GetUser",
            "transport=tcp",
            "correlation_id=c7",
            "outcome=ok",
            "micros=1234",
            "principal=ada",
            "address=127.0.0.1:4000",
        ]
    );
    assert_eq!(host.log()[0].level, Level::Info);
    assert_eq!(host.crossings(), Crossings { read: 0, set: 0 });
}

#[test]
fn a_failed_call_of_nobody_has_its_kind_and_no_principal() {
    let host = Host::new();
    host.request("users", "GetUser", "");
    let failure = Failure::not_found("no user 7");
    assert_eq!(
        host.on_response(&mut audit(), Err(failure.clone())),
        Err(failure)
    );
    let fields = fields(&host);
    assert!(
        fields.contains(&"outcome=not-found".to_owned()),
        "{fields:?}"
    );
    assert!(!fields.iter().any(|field| field.starts_with("principal=")));
}

#[test]
fn only_the_services_that_are_named_leave_lines() {
    let host = users_call();
    host.config("services", r#"["orders","us*"]"#);
    let mut audit = audit();
    let mut n_lines = |service: &str| {
        host.request(service, "Get", "");
        let before = host.log().len();
        let _ = host.on_response(&mut audit, reply());
        host.log().len() - before
    };
    let counts = ["users", "orders", "orders2", "u", ""].map(&mut n_lines);
    assert_eq!(counts, [1, 1, 0, 0, 0]);
}

#[test]
fn the_level_is_the_manifests_and_what_is_not_kept_is_not_written() {
    let host = users_call();
    host.config("level", "debug");
    let mut audit = audit();
    let _ = host.on_response(&mut audit, reply());
    assert_eq!(host.log()[0].level, Level::Debug);
    host.log_level(Level::Info);
    let _ = host.on_response(&mut audit, reply());
    assert_eq!(host.log().len(), 1);
}

#[test]
fn an_event_says_what_the_line_says() {
    let host = users_call();
    host.config("publish", "true").topic("audit.call", 2);
    let _ = host.on_response(&mut audit(), reply());
    let [event] = host.published().try_into().expect("one event");
    assert_eq!(event.topic, "audit.call");
    assert_eq!(event.content_type.as_deref(), Some("application/json"));
    let value: Value = serde_json::from_slice(&event.payload).expect("JSON");
    let expected = json!({
        "service": "users", "method": "GetUser", "principal": "ada", "transport": "tcp",
        "address": "127.0.0.1:4000", "correlation_id": "c7", "outcome": "ok", "micros": 1234
    });
    assert_eq!(value, expected);
}

#[test]
fn an_event_that_cannot_be_published_is_told_and_the_call_goes_on() {
    let host = users_call();
    host.config("publish", "true");
    assert_eq!(host.on_response(&mut audit(), reply()), reply());
    let levels: Vec<_> = host.log().iter().map(|line| line.level).collect();
    assert_eq!(levels, [Level::Info, Level::Warn]);
}

#[test]
fn an_unknown_level_keeps_it_from_starting() {
    let host = Host::new();
    host.config("level", "loud");
    let failure = AuditLog::start().err().expect("refused");
    assert_eq!(failure.kind, Kind::FailedPrecondition);
}
