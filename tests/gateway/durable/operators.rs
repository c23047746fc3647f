//! What operators see and do: `postern topics`, `pub`, `sub --durable`, the admin listener, metrics.

use postern_tests::{Finished, Gateway, next_event, session};
use serde_json::{Value, json};

use super::{publish, refuse, setup, subscribe};
use crate::share;

fn run(gateway: &Gateway, arguments: &[&str]) -> Finished {
    let (vstp, admin) = (
        format!("vstp://{}", gateway.vstp),
        gateway.admin.to_string(),
    );
    let mut all = arguments.to_vec();
    match arguments.first() {
        Some(&"topics") => all.extend(["--admin", &admin]),
        _ => all.extend(["--transport", &vstp]),
    }
    let finished = tokio::task::block_in_place(|| gateway.postern(&all));
    assert_eq!(
        finished.code,
        Some(0),
        "{arguments:?}: {}{}",
        finished.out,
        finished.err
    );
    finished
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_publishes_what_is_stored_and_acknowledges_what_it_prints() {
    let _machine = share().await;
    let mut gateway = Gateway::start(setup("")).await;
    for n in ["1", "2", "3"] {
        run(&gateway, &["pub", "orders.created", n]);
    }
    let names = |finished: &Finished| {
        let lines = finished.out.lines();
        let lines = lines.map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        lines
            .map(|line| (line["payload"].clone(), line["position"].clone()))
            .collect::<Vec<_>>()
    };
    let sub = [
        "sub",
        "orders.>",
        "--durable",
        "shell",
        "--first",
        "--timeout",
        "60s",
        "--count",
    ];
    let first = run(&gateway, &[&sub[..], &["2"]].concat());
    assert_eq!(names(&first), [(json!(1), json!(1)), (json!(2), json!(2))]);
    gateway.restart().await;
    let second = run(&gateway, &[&sub[..], &["1"]].concat());
    assert_eq!(names(&second), [(json!(3), json!(3))]);
    let consumers = run(&gateway, &["topics", "consumers", "orders.>"]);
    assert!(consumers.out.contains("shell"), "{}", consumers.out);
    let json = run(&gateway, &["topics", "list", "--output", "json"]);
    let listed: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(listed["topics"][0]["consumers"][0]["acknowledged"], 3);
    let info = run(&gateway, &["topics", "info", "orders.>"]);
    assert!(info.out.contains("orders.>"), "{}", info.out);
    let kept = run(&gateway, &["topics", "events", "orders.>", "--from", "3"]);
    assert!(kept.out.contains("\"position\":3"), "{}", kept.out);
    let forgotten = run(&gateway, &["topics", "forget", "orders.>", "shell"]);
    assert!(forgotten.out.contains("is forgotten"), "{}", forgotten.out);
    let topics = gateway.admin_json("/topics").await;
    assert_eq!(topics["topics"][0]["consumers"], json!([]));
}

#[tokio::test]
async fn metrics_say_what_logs_hold_and_how_far_their_consumers_are() {
    let _machine = share().await;
    let gateway = Gateway::start(setup("back-off = [\"0s\"]\norder = \"none\"")).await;
    let client = session(&gateway).await;
    let mut billing = subscribe(&client, "billing", "orders.>").await;
    for n in 1..=3 {
        publish(&client, "orders.created", &json!(n))
            .await
            .expect("stored");
    }
    let first = next_event(&mut billing).await;
    refuse(&client, &first, "never").await;
    for _ in 0..2 {
        next_event(&mut billing).await;
    }
    let mut letters = subscribe(&client, "operator", "dead-letter.>").await;
    assert_eq!(
        next_event(&mut letters).await.event.topic,
        "dead-letter.orders.created"
    );
    let (_, metrics) = gateway.admin("/metrics").await.expect("it answers");
    for line in [
        "postern_topic_stored_total{topic=\"orders.>\"} 3",
        "postern_topic_events{topic=\"orders.>\"} 3",
        "postern_topic_consumers{topic=\"orders.>\"} 1",
        "postern_topic_pending{topic=\"orders.>\"} 0",
        "postern_topic_pending_max{topic=\"orders.>\"} 0",
        "postern_topic_in_flight{topic=\"orders.>\"} 2",
        "postern_topic_redelivered_total{topic=\"orders.>\"} 0",
        "postern_topic_dead_total{topic=\"orders.>\"} 1",
        "postern_topic_stored_total{topic=\"dead-letter.>\"} 1",
        "postern_event_store_failed 0",
        "postern_event_store_failures_total 0",
        "postern_event_store_reopened_total 0",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}\n{metrics}");
    }
    assert!(
        metrics.contains("postern_topic_bytes{topic=\"orders.>\"}"),
        "{metrics}"
    );
}
