//! What a plugin sees of a call, what it keeps, and whom it may call; asked of the guest `probe`.

use postern_core::{Call, Handler, Kind};
use postern_tests::{CallerTransport, Gateway, Setup, call, connect};
use serde_json::{Value, json};

use crate::share;

async fn ask(handler: &dyn Handler, method: &str, body: &Value) -> Value {
    let reply = call(handler, &format!("probe/{method}"), body.to_string()).await;
    let reply = reply.unwrap_or_else(|error| panic!("{method}: {error}"));
    serde_json::from_slice(&reply).unwrap_or_default()
}

#[tokio::test]
async fn a_plugin_sees_who_calls_and_how_long_it_may_take() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("probe")).await;
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        let mut call = Call::unary("probe", "Context", "null");
        call.headers.push("x-colour", "green").expect("short");
        call.context.correlation = "c-17".into();
        call.context.deadline = Some(std::time::Instant::now() + std::time::Duration::from_secs(5));
        let reply = handler
            .call(call)
            .await
            .unwrap_or_else(|error| panic!("{transport}: {error}"));
        let octets = reply.body.into_one(1 << 20).await.expect("one message");
        let seen: Value = serde_json::from_slice(&octets).expect("json");
        assert_eq!(seen["transport"], transport.name(), "{seen}");
        assert!(
            seen["address"]
                .as_str()
                .is_some_and(|at| at.starts_with("127.0.0.1:")),
            "{seen}"
        );
        assert!(
            seen["headers"]
                .to_string()
                .contains("[\"x-colour\",\"green\"]"),
            "{seen}"
        );
        let remaining = seen["remaining_ms"].as_u64().unwrap_or_default();
        assert!(
            (1..=5000).contains(&remaining),
            "{transport}: {remaining} ms"
        );
        let trace = seen["traceparent"].as_str().unwrap_or_default();
        assert_eq!(trace.len(), 55, "W3C trace context, level 1: {seen}");
        if transport == CallerTransport::Http {
            assert_eq!(seen["correlation_id"], "c-17", "{seen}");
        }
    }
}

#[tokio::test]
async fn a_store_is_private_to_its_plugin_and_outlives_a_restart() {
    let _machine = share().await;
    let setup = Setup::default().plugin("probe").plugin("users");
    let mut gateway = Gateway::start(setup).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let ada = json!({"name": "Ada", "email": "ada@example.org"}).to_string();
    call(&*handler, "users/CreateUser", ada)
        .await
        .expect("users keeps a user");
    let all = json!({"prefix": "", "limit": 1000});
    assert_eq!(
        ask(&*handler, "KvKeys", &all).await,
        json!([]),
        "what users keeps is its own"
    );
    ask(&*handler, "KvSet", &json!({"key": "k", "value": "mine"})).await;
    gateway.restart().await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    assert_eq!(ask(&*handler, "KvGet", &json!({"key": "k"})).await, "mine");
    assert_eq!(ask(&*handler, "KvKeys", &all).await, json!(["k"]));
}

#[tokio::test]
async fn a_plugin_calls_others_by_grant_only() {
    let _machine = share().await;
    let request = json!({"service": "echo", "method": "Echo", "body": {"n": 1}});
    for (manifest, granted) in [
        ("# nothing\n", false),
        ("[grants]\nservices = [\"echo\"]\n", true),
    ] {
        let setup = Setup::default()
            .plugin("probe")
            .plugin("echo")
            .file("probe.toml", manifest);
        let gateway = Gateway::start(setup).await;
        let handler = connect(&gateway, CallerTransport::Http).await;
        let reply = call(&*handler, "probe/Call", request.to_string()).await;
        match reply {
            Ok(reply) => {
                assert!(granted, "{reply:?} without a grant");
                assert_eq!(
                    serde_json::from_slice::<Value>(&reply).ok(),
                    Some(json!({"n": 1}))
                );
            }
            Err(error) => {
                assert!(!granted, "{error} with a grant");
                assert_eq!(error.kind, Kind::PermissionDenied, "{error}");
            }
        }
    }
}
