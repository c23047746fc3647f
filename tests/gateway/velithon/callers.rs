//! The published client calls plugins through the gateway.

use std::io::{BufRead as _, BufReader};

use postern_tests::patiently;
use serde_json::{Value, json};

use super::{client, listening, number, script};
use crate::{figure, share};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_of_the_published_client_are_answered_over_ten_connections() {
    let _machine = share().await;
    let velithon = listening("", "").await;
    let told = client(velithon.address, "many", 1000).await;
    assert_eq!(told["n_wrong"], 0, "{told}\n{}", velithon.gateway.log());
    assert_eq!(told["connections"], 10, "{told}");
    assert_eq!(told["left"], 0, "each response found its call: {told}");
    figure(&format!(
        "velithon client: 1000 calls over 10 connections in {} s, 0 wrong",
        told["seconds"]
    ));
    let opened = number(&velithon.gateway, "postern_connections_opened_total").await;
    assert_eq!(opened, 10);
    patiently("they are closed", async || {
        number(&velithon.gateway, "postern_connections_open{").await == 0
    })
    .await;
    for dropped in [
        "postern_messages_dropped_total",
        "postern_responses_unmatched_total",
    ] {
        assert_eq!(number(&velithon.gateway, dropped).await, 0, "{dropped}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_sees_health_errors_and_results_in_its_form() {
    let _machine = share().await;
    let velithon = listening("", "").await;
    let health = client(velithon.address, "health", 1).await;
    assert_eq!(health["ok"]["status"], "healthy", "{health}");
    assert!(health["ok"]["timestamp"].is_f64(), "{health}");
    let told = client(velithon.address, "errors", 1).await;
    let error = |case: &str| told[case]["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!(error("fail"), "not-found: no user");
    assert_eq!(error("nothing"), "Endpoint Nothing not found");
    assert_eq!(error("service"), "Endpoint Echo not found");
    let list = "invalid-argument: the body has to be an object of named arguments, and is a list";
    assert_eq!(error("list"), list);
    assert!(
        error("argument").starts_with("invalid-argument: "),
        "{told}"
    );
    assert_eq!(told["result"], json!({ "ok": { "sum": 42, "count": 3 } }));
    let member = json!({ "ok": { "result": { "error": "not one" } } });
    assert_eq!(told["member"], member, "no failure is made of an answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_any_name_is_the_default_one_and_slow_calls_hold_nobody_up() {
    let _machine = share().await;
    let server = super::Server::start().await;
    let velithon = listening(&server.instance(), "default-service = \"table\"").await;
    let told = client(velithon.address, "order", 1).await;
    assert_eq!(told, json!({ "last": "slow", "n": 21 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_goes_on_when_the_gateway_is_killed_and_started_again() {
    let _machine = share().await;
    let mut velithon = listening("", "").await;
    let mut command = script("client.py");
    command
        .args([&velithon.address.to_string(), "steady", "500"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null());
    let mut child = command.spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let begun = lines.next().expect("a line").expect("text");
    assert!(begun.contains("begun"), "{begun}");
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    velithon.gateway.signal("KILL");
    velithon.gateway.ended().await;
    velithon.gateway.start_again().await;
    let last = tokio::task::spawn_blocking(move || lines.next());
    let last = tokio::time::timeout(super::PATIENCE, last)
        .await
        .expect("in time");
    let last = last.expect("no panic").expect("a line").expect("text");
    let told: Value = serde_json::from_str(&last).expect("json");
    assert!(told["failed"].as_u64().expect("a count") > 0, "{told}");
    figure(&format!(
        "velithon client, gateway killed and started again: {} calls failed, {} right; nobody was answered for {} s",
        told["failed"], told["right"], told["seconds"]
    ));
    assert!(child.wait().expect("it ends").success());
}
