//! Roles that only some languages had: text handlers in Rust, Go and C, frame extensions in JavaScript and Python,
//! each entered by the gateway as a component of its own.

use std::time::Duration;

use bytes::Bytes;
use postern_core::{Body, Call, Error, Handler, Headers, Kind, Reply};
use postern_tests::{CallerTransport, Gateway, Setup, connect, patiently};
use serde_json::Value;

use crate::share;

async fn ask(
    handler: &dyn Handler,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Reply, Error> {
    let (service, method) = target.split_once('/').expect("service/method");
    let mut sent = Headers::new();
    for (name, value) in headers {
        sent.push(name, value).expect("it fits");
    }
    let call = Call {
        headers: sent,
        body: Body::One(body.into()),
        ..Call::unary(service, method, "")
    };
    handler.call(call).await
}

async fn octets(reply: Reply) -> Bytes {
    reply.body.into_one(16 << 20).await.expect("one message")
}

/// Deploys a guest of `tests/guests` and asks it what text handlers are asked.
async fn check_text(name: &str) {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin(name)).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let handler = &*handler;
    let say = format!("{name}/Say");
    for text in ["", "Grüße, 世界 🌍", &"ä".repeat(500_000)] {
        let reply = ask(handler, &say, &[], text.to_owned()).await;
        let reply = octets(reply.expect("answered")).await;
        assert_eq!(reply, text.as_bytes(), "{name}");
    }
    let failed = async |method: &str, body: &'static [u8]| {
        let target = format!("{name}/{method}");
        let reply = ask(handler, &target, &[], body).await;
        reply.err().expect("it fails")
    };
    let no_text = failed("Say", b"a\xff").await;
    assert_eq!(no_text.kind, Kind::InvalidArgument, "{name}: {no_text}");
    let broken = failed("BreakIt", b"").await;
    assert_eq!(broken.kind, Kind::Internal, "{name}: {broken}");
    assert!(broken.message.contains("is not UTF-8"), "{name}: {broken}");
    let nothing = failed("Fail", b"").await;
    assert_eq!(
        (nothing.kind, &*nothing.message),
        (Kind::NotFound, "nothing"),
        "{name}"
    );
    let kept = nothing
        .headers
        .as_deref()
        .and_then(|it| it.get_str("x-own"));
    assert_eq!(kept.as_deref(), Some("kept"), "{name}");
    // None of it has cost the instance its life.
    let plugin = gateway.admin_json(&format!("/plugins/{name}")).await;
    assert_eq!(plugin["generation"], 1, "{plugin}");
    let listed = gateway.postern(&["services", "info", name]);
    assert!(listed.out.contains("BreakIt"), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_handler_in_rust_takes_and_gives_text() {
    check_text("text-rust").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_handler_in_go_takes_and_gives_text() {
    check_text("text-go").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_handler_in_c_takes_and_gives_text() {
    check_text("text-c").await;
}

/// Puts a guest of `tests/guests` in the way of frames. Its first entry takes longer than others.
async fn check_frames(name: &str, language: &str) {
    let _machine = share().await;
    let setup = Setup {
        config: format!("[extensions.{name}]\n"),
        ..Setup::default()
    };
    let manifest = "[budgets]\nframe-extension = \"100ms\"\n";
    let setup = setup.plugin("probe").plugin(name);
    let gateway = Gateway::start(setup.file(&format!("{name}.toml"), manifest)).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let headers = async |sent: &[(&str, &str)]| -> Result<Vec<(String, String)>, Error> {
        let reply = ask(&*handler, "probe/Context", sent, "null").await?;
        let seen: Value = serde_json::from_slice(&octets(reply).await).expect("json");
        Ok(serde_json::from_value(seen["headers"].clone()).expect("pairs"))
    };
    patiently("the extension sees frames", async || {
        let seen = headers(&[]).await;
        seen.is_ok_and(|seen| seen.iter().any(|(name, _)| name == "x-seen"))
    })
    .await;
    let sent = [("x-seen", "0"), ("x-more", "0"), ("x-gone", "1")];
    let seen = headers(&sent).await.expect("answered");
    let of = |wanted: &str| -> Vec<&str> {
        let named = seen.iter().filter(|(name, _)| name == wanted);
        named.map(|(_, value)| &**value).collect()
    };
    assert_eq!(of("x-more"), ["0", language], "{seen:?}");
    assert_eq!(of("x-gone"), [""; 0], "{seen:?}");
    let [count] = of("x-seen")[..] else {
        panic!("one header in the place of all: {seen:?}")
    };
    assert!(count.ends_with(" of 4"), "`null` has four octets: {count}");

    let refused = headers(&[("x-ask", "refuse")]).await;
    let refused = refused.expect_err("refused").to_string();
    assert!(refused.contains("not this frame"), "{refused}");

    let dropped = {
        let handler = connect(&gateway, CallerTransport::Tcp).await;
        tokio::spawn(async move {
            let reply = ask(&*handler, "probe/Context", &[("x-ask", "drop")], "null").await;
            drop(reply);
        })
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    headers(&[]).await.expect("others are answered");
    assert!(!dropped.is_finished(), "nobody has seen the call");
    dropped.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_extension_in_javascript_changes_drops_and_refuses() {
    check_frames("frames-js", "js").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_extension_in_python_changes_drops_and_refuses() {
    check_frames("frames-python", "python").await;
}
