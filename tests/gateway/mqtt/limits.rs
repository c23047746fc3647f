//! What each key of `[mqtt]` does.

use std::fs;

use postern_tests::{Gateway, Setup, postern};

use super::Broker;
use crate::share;

/// Runs cases of `limits.py` against a gateway with `keys` in `[mqtt]`.
async fn check(keys: &str, cases: &[&str]) {
    let setup = Setup::default().plugin("echo");
    let config = format!("[mqtt]\n{keys}\n");
    let broker = Broker::of(setup, &config).await;
    let n_cases = broker.check("limits.py", cases).await;
    assert_eq!(n_cases, cases.len(), "{cases:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_bounded_is_announced_and_held_to() {
    let _machine = share().await;
    let keys = "qos-max = 1\nretain = false\nwildcards = false\nshared = false\n\
                receive-maximum = 5\npacket-bytes-max = \"2KiB\"\ntopic-alias-max = 3";
    check(keys, &["announced-", "held_to-"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_publishes_more_than_receive_maximum_is_disconnected() {
    let _machine = share().await;
    check("receive-maximum = 5", &["receive-"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_subscriptions_have_their_bounds() {
    let _machine = share().await;
    check("sessions-max = 3", &["sessions-"]).await;
    check("subscriptions-per-session-max = 3", &["subscriptions-"]).await;
    check("client-id-bytes-max = 23", &["identifier-"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_messages_expire_by_the_bounds_of_the_configuration() {
    let _machine = share().await;
    check("session-expiry-max = \"1s\"", &["expiry-"]).await;
    check("message-expiry-max = \"1s\"", &["messages-"]).await;
    check("keep-alive-max = \"2s\"", &["keep_alive-"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_client_is_bounded_and_the_oldest_dropped() {
    let _machine = share().await;
    check("queue-messages-max = 5", &["queue-"]).await;
    check("queue-bytes-max = \"64KiB\"", &["queue_bytes-"]).await;
    check("in-flight-max = 4", &["in_flight-"]).await;
    check("kept-bytes-max = \"1MiB\"", &["kept-"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_messages_have_their_bounds() {
    let _machine = share().await;
    check("retained-max = 2", &["retained-"]).await;
    check("retained-bytes-max = \"64KiB\"", &["retained_bytes-"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_told_as_often_as_sys_interval_says() {
    let _machine = share().await;
    check("sys-interval = \"0s\"", &["silent_sys-"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_beyond_calls_in_flight_max_wait() {
    let _machine = share().await;
    check("calls-in-flight-max = 1", &["few_calls-"]).await;
}

/// What is wrong is told by `check` and by `run`, and nothing else is said to be.
#[tokio::test(flavor = "multi_thread")]
async fn check_and_run_refuse_the_same_keys_of_mqtt() {
    let _machine = share().await;
    let listener = |key: &str| {
        format!("[listeners.m]\nprotocol = \"mqtt\"\naddress = \"127.0.0.1:0\"\n{key}\n")
    };
    let mut cases: Vec<_> = [
        "idle-timeout = \"1s\"",
        "keep-alive = \"1s\"",
        "transports = [\"tcp\"]",
        "header-timeout = \"1s\"",
        "default-service = \"a\"",
        "websocket.paths = []",
        "limits.frame-bytes-max = \"1MiB\"",
    ]
    .map(|key| (listener(key), "only a listener that speaks"))
    .into();
    for (text, why) in [
        ("[mqtt.routes]\n\"a/+x/+x\" = \"a/B\"", "names two levels"),
        ("[mqtt.routes]\n\"$SYS/a\" = \"a/B\"", "the broker's own"),
        (
            "[mqtt.routes]\n\"a\" = \"b\"",
            "names no service and method",
        ),
        ("[mqtt.rules.a]\npublish = [\"a/#/b\"]", "goes on behind"),
        ("[mqtt.rules.a]\npublish = [\"a/%x\"]", "stands for nothing"),
        ("[mqtt]\nqos-max = 3", "above the limit of 2"),
        ("[mqtt]\nreceive-maximum = 0", "below the limit of 1"),
        ("[mqtt]\nqueue-max = 3", "unknown key"),
    ] {
        cases.push((text.to_owned(), why));
    }
    for (config, why) in cases {
        let setup = Setup {
            config: config.clone(),
            ..Setup::default()
        };
        let log = Gateway::try_start(&setup).await.expect_err(&config);
        assert!(log.contains(why), "run: {config}: {log}");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("postern.toml"), &config).expect("writable");
        let checked = postern(folder.path(), &["check"]);
        assert_ne!(checked.code, Some(0), "{config}");
        let told = format!("{}{}", checked.out, checked.err);
        assert!(told.contains(why), "check: {config}: {told}");
    }
}
