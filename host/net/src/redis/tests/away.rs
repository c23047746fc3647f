//! A server that is away: operations fail within their bound, and come back by themselves.

use postern_core::{Kind, Retry};

use super::*;

fn hasty(config: &mut RedisConfig) {
    config.connect_timeout = Duration::from_millis(300);
    config.response_timeout = Duration::from_millis(300);
    config.reconnect_max = Duration::from_millis(200);
}

async fn comes_back(store: &RedisStore) {
    patiently("operations succeed", async || {
        value(store, "k").await.is_ok()
    })
    .await;
    assert!(store.snapshot().standing.is_connected);
}

#[tokio::test]
async fn a_server_that_dies_is_missed_and_found_again() {
    let mut server = Server::start(&[]).await;
    let store = store(&server, hasty);
    put(&store, "k", "1").await.expect("well");
    for _ in 0..3 {
        server.kill();
        let error = patient_error(&store).await;
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
        patiently("it is told", async || {
            !store.snapshot().standing.is_connected
        })
        .await;
        assert!(store.snapshot().standing.fault.is_some());
        server.start_again().await;
        comes_back(&store).await;
    }
    let counts = store.snapshot().counts;
    assert!(counts.connects >= 4 && counts.failed > 0, "{counts:?}");
}

#[tokio::test]
async fn a_server_that_answers_nothing_holds_nobody_up() {
    let server = Server::start(&[]).await;
    let store = store(&server, hasty);
    put(&store, "k", "1").await.expect("well");
    server.signal("STOP");
    let error = patient_error(&store).await;
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    // Whether a change was made nobody knows.
    let change = store.key_values().write("t", set("k", "2"), None);
    let error = change.await.expect_err("no answer");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert!(
        matches!(error.retry, Retry::IfIdempotent | Retry::Elsewhere),
        "{error:?}"
    );
    server.signal("CONT");
    comes_back(&store).await;
}

#[tokio::test]
async fn a_store_that_nobody_has_started_is_found_when_it_comes() {
    let mut server = Server::new(server::free_port(), &[]);
    let store = store(&server, hasty);
    let error = value(&store, "k").await.expect_err("nobody listens");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(
        error.message.contains("cannot connect to 127.0.0.1"),
        "{error}"
    );
    server.start_again().await;
    comes_back(&store).await;
}

#[tokio::test]
async fn credentials_that_are_not_good_are_told_and_tried_again() {
    let server = Server::start(&["--requirepass", "secret"]).await;
    let store = store(&server, |config| {
        hasty(config);
        config.credentials.password = Some("wrong".to_owned());
    });
    let error = value(&store, "k").await.expect_err("refused");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(
        error.message.contains("does not take the connection"),
        "{error}"
    );
    assert!(!error.message.contains("wrong") && !format!("{:?}", store.config()).contains("wrong"));
    let mut server = server;
    server.cli = ["-a", "secret"].map(str::to_owned).into();
    server.run(&["config", "set", "requirepass", "wrong"]);
    comes_back(&store).await;
}

/// The error of a read, once there is one.
async fn patient_error(store: &RedisStore) -> Error {
    let mut error = None;
    patiently("an operation fails", async || {
        error = value(store, "k").await.err();
        error.is_some()
    })
    .await;
    error.expect("there is one")
}
