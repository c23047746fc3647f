//! The line that a call leaves, as programs read it.

use std::{io, time::Duration};

use parking_lot::Mutex;
use postern_core::{Blame, Peer};
use postern_system::clock;
use serde_json::Value;

use super::*;
use crate::{pipeline::route::RouteTarget, telemetry::calls::CallBook};

#[test]
fn a_call_leaves_one_line_with_its_names_and_ids() {
    let lines = lines_of(AccessLog::Info, |record| record.succeed());
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    for (field, expected) in [
        ("target", "postern::access"),
        ("level", "INFO"),
        ("service", "users"),
        ("method", "GetUser"),
        ("outcome", "success"),
        ("transport", "memory"),
        ("plugin", "accounts"),
        ("session", "00112233445566778899aabbccddeeff"),
        ("correlation", "7"),
        ("trace", "0af7651916cd43dd8448eb211c80319c"),
    ] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    for (field, expected) in [("generation", 3), ("bytes_in", 5), ("bytes_out", 2)] {
        assert_eq!(line[field], expected, "{field} in {line}");
    }
    assert!(
        line["duration_us"].is_u64() && line["error"].is_null(),
        "{line}"
    );
}

#[test]
fn a_failure_is_told_with_its_blame_and_its_cause() {
    let lines = lines_of(AccessLog::Debug, |record| {
        let error = Error::unavailable(Blame::Upstream, "nobody answers");
        drop(record.fail(error.with_source("connection refused")));
    });
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!(
        (&line["level"], &line["outcome"]),
        (&"DEBUG".into(), &"unavailable".into())
    );
    assert_eq!(
        (&line["blame"], &line["error"]),
        (&"upstream".into(), &"nobody answers".into())
    );
    assert_eq!(line["cause"], "connection refused");
}

#[test]
fn a_dropped_call_is_told_as_cancelled() {
    let lines = lines_of(AccessLog::Info, drop);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["outcome"], "cancelled");
}

#[test]
fn nothing_is_written_where_nobody_wants_it() {
    assert!(lines_of(AccessLog::Off, CallRecord::succeed).is_empty());
}

/// What is logged when a call of 5 octets, answered by 2, ends as `end` does it.
fn lines_of(level: AccessLog, end: impl FnOnce(CallRecord)) -> Vec<Value> {
    let written = Arc::<Mutex<Vec<u8>>>::default();
    let sink = Arc::clone(&written);
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(Level::DEBUG)
        .with_writer(move || Sink(Arc::clone(&sink)))
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let mut call = call();
        let mut record = CallRecord::begin(clock::now(), &call, route(), level);
        record.count_request(&mut call.body, 100);
        record.add_reply(&Bytes::from_static(b"{}"));
        end(record);
    });
    let written = written.lock();
    let lines = written
        .split(|octet| *octet == b'\n')
        .filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect()
}

fn call() -> Call {
    let mut call = Call::unary("users", "GetUser", "12345");
    call.context.correlation = "7".into();
    call.context.trace =
        TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let peer = Peer::default().with_session("00112233445566778899aabbccddeeff");
    call.context.peer = Arc::new(peer);
    call.context.deadline = Some(clock::now() + Duration::from_secs(1));
    call
}

fn route() -> Arc<Route> {
    Arc::new(Route {
        metrics: CallBook::default().service(&"users".into()),
        service: "users".into(),
        version: None,
        plugin: "accounts".into(),
        generation: 3,
        methods: None,
        target: RouteTarget::Down("not called here".into()),
    })
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
