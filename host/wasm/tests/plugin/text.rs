//! Role `text-handler`, and what guests do with text, headers and their standard error.

use bytes::Bytes;
use postern_core::{Blame, Body, Call, Error, Handler, Headers, Kind};
use postern_wasm::{Outcome, Plugin, PluginSpec, Role, TrapReason};

use crate::guest::{Fixture, answer, call, messages, typed};

fn text() -> Vec<u8> {
    typed(include_str!("guest/text.wat"))
}

async fn plugin(fixture: &Fixture) -> Plugin {
    fixture.plugin("text", &text(), PluginSpec::default()).await
}

fn pairs(headers: &Headers) -> Vec<(&[u8], Vec<u8>)> {
    let headers = headers.iter();
    headers
        .map(|(name, value)| (name, value.into_owned()))
        .collect()
}

#[tokio::test]
async fn text_goes_in_and_comes_out_on_the_inline_path() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let roles = plugin.status().roles;
    assert_eq!(roles, [Role::TextHandler, Role::StreamHandler]);
    assert_eq!(answer(&plugin, "e", "héllo".as_bytes()).await, "héllo");
    assert_eq!(answer(&plugin, "e", b"").await, "");
    let path = plugin.status().inline_path.unwrap();
    assert!(path.open, "{path:?}");
    let stats = plugin.stats().snapshot();
    assert_eq!(
        (stats.calls_with(Outcome::Ok), stats.bailouts_host_call),
        (2, 0)
    );
}

#[tokio::test]
async fn calls_that_come_together_are_made_one_by_one() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let calls = ["a", "b", "c"].map(|body| Call::unary("test", "e", body));
    for (answer, expected) in plugin
        .call_batch(calls.into())
        .into_iter()
        .zip(["a", "b", "c"])
    {
        let body = answer.await.unwrap().body;
        assert_eq!(body.into_one(9).await.unwrap(), expected);
    }
    let stats = plugin.stats().snapshot();
    assert_eq!((stats.calls_with(Outcome::Ok), stats.batches), (3, 0));
}

#[tokio::test]
async fn octets_that_are_no_text_are_refused_before_the_guest_is_entered() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let error = call(&plugin, "e", b"a\xc3\x28").await.unwrap_err();
    assert_eq!(
        (error.kind, error.blame),
        (Kind::InvalidArgument, Blame::Client)
    );
    assert_eq!(
        error.message,
        "message of 3 octets is not UTF-8, as this method takes"
    );
    assert_eq!(plugin.stats().snapshot().calls.iter().sum::<u64>(), 0);
    assert_eq!(answer(&plugin, "e", b"on").await, "on");
}

#[tokio::test]
async fn headers_octets_and_trailers_are_added_to_an_answer() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let mut reply = call(&plugin, "a", b"m").await.unwrap();
    let expected = [
        (&b"x-text"[..], b"ran".to_vec()),
        (b"x-text", vec![0xff, 0]),
        // What fronts say of a message alone, and not of octets.
        (b"content-type", b"application/json".to_vec()),
    ];
    assert_eq!(pairs(&reply.headers), expected);
    let Body::Octets(body) = &mut reply.body else {
        panic!("{:?}", reply.body);
    };
    assert_eq!(body.next().await.unwrap().unwrap(), "m");
    assert!(body.next().await.is_none());
    let trailers = body.trailers().unwrap();
    assert_eq!(pairs(&trailers), [(&b"x-sum"[..], b"7".to_vec())]);
    // The next call of the same instance has nothing of that.
    let reply = call(&plugin, "e", b"m").await.unwrap();
    assert!(reply.headers.is_empty() && matches!(reply.body, Body::One(_)));
}

#[tokio::test]
async fn a_failure_keeps_what_was_added_before() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let error = call(&plugin, "f", b"m").await.unwrap_err();
    assert_eq!(
        (error.kind, &*error.message),
        (Kind::NotFound, "told to fail")
    );
    let expected = [
        (&b"x-text"[..], b"ran".to_vec()),
        (b"x-text", vec![0xff, 0]),
        (b"x-sum", b"7".to_vec()),
    ];
    assert_eq!(pairs(&error.headers.unwrap()), expected);
}

#[tokio::test]
async fn asking_for_the_standard_error_is_harmless_on_the_inline_path_and_writing_is_not() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let n_created = plugin.stats().snapshot().instances_created;
    for _ in 0..3 {
        assert_eq!(answer(&plugin, "g", b"x").await, "x");
    }
    let stats = plugin.stats().snapshot();
    assert_eq!(
        (stats.bailouts_host_call, stats.instances_created),
        (0, n_created)
    );
    assert!(plugin.status().inline_path.unwrap().open);
    call(&plugin, "w", b"").await.unwrap_err();
    let stats = plugin.stats().snapshot();
    assert_eq!(stats.bailouts_host_call, 1);
    assert_eq!(stats.traps_with(TrapReason::Unreachable), 1);
}

/// What a call ends in that writes why and gives up.
async fn given_up(plugin: &Plugin) -> Error {
    call(plugin, "w", b"").await.unwrap_err()
}

#[tokio::test]
async fn what_a_guest_said_is_beside_its_error_and_in_it_where_callers_are_told() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let error = given_up(&plugin).await;
    assert_eq!(error.message, "plugin text trapped: unreachable");
    assert_eq!(error.source.unwrap().to_string(), "why it gave up");
    fixture.runtime.tell_callers();
    plugin
        .deploy(Bytes::from(text()), PluginSpec::default())
        .await
        .unwrap();
    let error = given_up(&plugin).await;
    assert_eq!(
        error.message,
        "plugin text trapped: unreachable: why it gave up"
    );
}

#[tokio::test]
async fn a_message_that_is_no_text_is_refused_and_the_stream_goes_on() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture).await;
    let sent = ["a", "\u{e9}"].map(Bytes::from);
    let sent = [&sent[..1], &[Bytes::from_static(b"\xff")], &sent[1..]].concat();
    let call = Call {
        body: messages(sent),
        ..Call::unary("test", "any", "")
    };
    let reply = plugin.call(call).await.unwrap();
    let mut body = reply.body.try_into_stream().unwrap();
    let mut got = Vec::new();
    while let Some(message) = body.next().await {
        got.push(message.unwrap());
    }
    assert_eq!(got, ["a", "no text", "\u{e9}"]);
}
