//! How long events are kept, and what a full log does.

use postern_core::Kind;
use postern_tests::{Gateway, next_event, patiently, session};
use serde_json::json;

use super::{log, publish, setup, subscribe, told};
use crate::share;

#[tokio::test]
async fn a_log_keeps_max_messages_and_loses_its_oldest() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("max-messages = 2\nwhen-full = \"drop-oldest\"")).await;
    let client = session(&gateway).await;
    for n in 1..=4 {
        publish(&client, "orders.created", &json!(n))
            .await
            .expect("stored");
    }
    let kept = log(&gateway, "orders.>").await;
    assert_eq!(
        (&kept["events"], &kept["first"], &kept["last"]),
        (&json!(2), &json!(3), &json!(4))
    );
    let mut billing = subscribe(&client, "billing", "orders.>").await;
    assert_eq!(told(&next_event(&mut billing).await), (json!(3), 1));
}

#[tokio::test]
async fn a_full_log_refuses_where_it_may_lose_nothing() {
    let _machine = share().await;
    let mut gateway = Gateway::start(setup("max-messages = 2\nwhen-full = \"refuse\"")).await;
    let client = session(&gateway).await;
    for n in 1..=2 {
        publish(&client, "orders.created", &json!(n))
            .await
            .expect("stored");
    }
    let refused = publish(&client, "orders.created", &json!(3)).await;
    let error = refused.expect_err("there is no room");
    assert_eq!(error.kind, Kind::ResourceExhausted);
    let limit = "topics.\"orders.>\": the log holds 2 events, which is the limit (max-messages)";
    assert_eq!(error.message, limit);
    gateway.restart().await;
    let client = session(&gateway).await;
    let refused = publish(&client, "orders.created", &json!(3)).await;
    assert_eq!(
        refused.expect_err("still full").kind,
        Kind::ResourceExhausted
    );
    assert_eq!(log(&gateway, "orders.>").await["events"], 2);
}

#[tokio::test]
async fn a_log_keeps_max_bytes() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("max-bytes = \"64KiB\"")).await;
    let client = session(&gateway).await;
    let large = json!("x".repeat(20_000));
    for _ in 0..5 {
        publish(&client, "orders.created", &large)
            .await
            .expect("stored");
    }
    let kept = log(&gateway, "orders.>").await;
    assert_eq!(kept["events"], 3);
    assert!(
        kept["bytes"].as_u64().expect("a number") <= 64 * 1024,
        "{kept}"
    );
    let refused = publish(&client, "orders.created", &json!("x".repeat(70_000))).await;
    let error = refused.expect_err("larger than the whole log");
    assert_eq!(error.http(), 413, "{error}");
}

#[tokio::test]
async fn events_go_once_they_are_older_than_max_age() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("max-age = \"1s\"")).await;
    let client = session(&gateway).await;
    publish(&client, "orders.created", &json!(1))
        .await
        .expect("stored");
    patiently("the event is too old", async || {
        log(&gateway, "orders.>").await["events"] == 0
    })
    .await;
    assert_eq!(log(&gateway, "orders.>").await["last"], 1);
}

#[tokio::test]
async fn tables_of_topics_that_cannot_be_are_refused_by_check_and_by_run() {
    let _machine = share().await;
    for (keys, fault) in [
        ("store = \"elsewhere\"", "no store is called \"elsewhere\""),
        (
            "[topics.\"orders.created\"]\ndelivery = \"at-least-once\"",
            "it overlaps [topics.\"orders.>\"], which is durable as well",
        ),
        (
            "[topics.users]\nmax-age = \"1h\"",
            "nothing is stored of this topic, so the key has no effect",
        ),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("postern.toml");
        std::fs::write(&file, setup(keys).config).expect("it can be written");
        let checked = postern_tests::postern(folder.path(), &["check"]);
        assert_eq!(checked.code, Some(1), "{}", checked.err);
        assert!(checked.err.contains(fault), "{fault}: {}", checked.err);
        let Err(log) = Gateway::try_start(&setup(keys)).await else {
            panic!("it runs with {keys}");
        };
        assert!(log.contains(fault), "{fault}: {log}");
    }
}

#[tokio::test]
async fn a_file_of_events_that_is_none_is_refused_by_name_and_left_alone() {
    let _machine = share().await;
    let mut gateway = Gateway::start(setup("")).await;
    let client = session(&gateway).await;
    publish(&client, "orders.created", &json!(1))
        .await
        .expect("stored");
    gateway.terminate().await;
    let file = gateway.folder().join(".postern/events.redb");
    let good = std::fs::read(&file).expect("it is there");
    let garbage = vec![b'x'; good.len()];
    std::fs::write(&file, &garbage).expect("it can be written");
    let started = gateway.postern(&["check"]);
    assert_eq!(started.code, Some(1), "{}", started.out);
    assert!(started.err.contains("events.redb"), "{}", started.err);
    assert_eq!(std::fs::read(&file).expect("it is there"), garbage);
    std::fs::write(&file, &good).expect("it can be written");
    gateway.start_again().await;
    assert_eq!(log(&gateway, "orders.>").await["events"], 1);
}
