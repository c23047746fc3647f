//! A changed configuration: whole or not at all, and nobody is disturbed whom it does not concern.

use std::{net::SocketAddr, time::Instant};

use postern_core::{Blame, Call, Error, Handler, Kind};
use postern_net::Target;
use tokio::net::TcpListener;

use super::stage::{Stage, folders};

#[tokio::test(flavor = "multi_thread")]
async fn opens_a_new_listener_and_keeps_connections_of_the_others() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "hello");
    stage.until_answered("greeter", "hello").await;
    let before = stage
        .client(Target::tcp(stage.address("vstp", "tcp")))
        .await;
    let extra = "[listeners.second]\nprotocol = \"vstp\"\naddress = \"127.0.0.1:0\"\n";
    stage.configure(&Stage::text(&stage.folder, extra));
    stage
        .until("a second listener", || {
            stage.gateway.places().contains_key("second")
        })
        .await;
    let second = stage
        .client(Target::tcp(stage.address("second", "tcp")))
        .await;
    for client in [before, second] {
        let reply = client
            .call(Call::unary("greeter", "Say", ""))
            .await
            .expect("answered");
        assert_eq!(reply.body.into_one(100).await.expect("a message"), "hello");
    }
    assert_eq!(stage.gateway.numbers().config_reloads_applied, 1);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebinds_a_listener_whose_settings_changed_at_the_same_port() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "hello");
    stage.until_answered("greeter", "hello").await;
    let address = stage.address("vstp", "tcp");
    let pinned = |settings: &str| {
        let text = Stage::text(&stage.folder, "");
        let old = "[listeners.vstp]\naddress = \"127.0.0.1:0\"";
        text.replace(
            old,
            &format!("[listeners.vstp]\naddress = \"{address}\"\n{settings}"),
        )
    };
    stage.configure(&pinned("default-service = \"greeter\""));
    stage
        .until("a reload", || {
            stage.gateway.numbers().config_reloads_applied == 1
        })
        .await;
    assert_eq!(stage.address("vstp", "tcp"), address);
    assert_eq!(
        stage.ask("tcp", "greeter").await.expect("answered"),
        "hello"
    );
    assert_eq!(
        stage.ask("udp", "greeter").await.expect("answered"),
        "hello"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_broken_file_and_goes_on() {
    let stage = Stage::start().await;
    let http = stage.address("http", "http");
    for (n_refused, extra) in [
        (1, "[listeners.second]\nprotocol = \"vstp\"\n"),
        (2, "[plugin]\n"),
        (
            3,
            &format!("[listeners.second]\nprotocol = \"vstp\"\naddress = \"{http}\"\n"),
        ),
        (4, "[log]\nformat = \"json\"\n"),
    ] {
        stage.configure(&Stage::text(&stage.folder, extra));
        let refused = || stage.gateway.numbers().config_reloads_refused;
        stage.until("a refusal", || refused() == n_refused).await;
        assert!(!stage.gateway.places().contains_key("second"));
        assert_eq!(stage.address("http", "http"), http, "untouched");
    }
    assert_eq!(
        stage.ask("tcp", "nobody").await.expect_err("served").kind,
        Kind::NotFound
    );
    assert_eq!(stage.gateway.numbers().config_reloads_applied, 0);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_bounds_hold_for_the_calls_after_them() {
    let stage = Stage::start().await;
    stage.drop_answering("greeter.wasm", "hello");
    stage.until_answered("greeter", "hello").await;
    stage.configure(&Stage::text(
        &stage.folder,
        "[plugins.limits]\noutput = \"1KiB\"\n",
    ));
    stage
        .until("a reload", || {
            stage.gateway.numbers().config_reloads_applied == 1
        })
        .await;
    stage
        .until("it is deployed again with the new bounds", || {
            let greeter = stage.gateway.control().plugin("greeter");
            greeter.expect("there").generation == 2
        })
        .await;
    assert_eq!(
        stage.ask("tcp", "greeter").await.expect("answered"),
        "hello"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_with_its_remedy() {
    let stage = Stage::start().await;
    let taken = stage.address("http", "http");
    let extra = format!("[listeners.second]\nprotocol = \"vstp\"\naddress = \"{taken}\"\n");
    let error = Stage::start_in(folders(), &extra)
        .await
        .err()
        .expect("taken")
        .to_string();
    assert!(
        error.starts_with(&format!("listener second cannot take {taken} (tcp)")),
        "{error}"
    );
    assert!(
        error.contains("listeners.second.address in postern.toml"),
        "{error}"
    );
    assert!(
        error.contains("POSTERN_LISTENERS_SECOND_ADDRESS"),
        "{error}"
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_whose_port_was_taken_meanwhile_is_opened_again_by_itself() {
    let stage = Stage::start_in(folders(), ALONE).await.expect("starts");
    let address = stage.address("alone", "tcp");
    // The same port everywhere cannot be had, and the port itself is gone when that is known.
    let other = SocketAddr::new([127, 0, 0, 2].into(), address.port());
    let other = TcpListener::bind(other).await.expect("free");
    let everywhere = format!("0.0.0.0:{}", address.port());
    stage.configure(&Stage::text(
        &stage.folder,
        &ALONE.replace("127.0.0.1:0", &everywhere),
    ));
    let taken = bind_when_free(address).await;
    let lost = || {
        let mut reasons = stage.gateway.unready_reasons().into_iter();
        reasons.find(|reason| (reason.name, &*reason.subject) == ("listeners", "alone (tcp)"))
    };
    stage
        .until("told as missing", || {
            !stage.gateway.places().contains_key("alone") && lost().is_some()
        })
        .await;
    let message = lost().expect("told").message;
    assert!(message.contains(&address.to_string()), "{message}");
    assert_eq!(stage.gateway.numbers().config_reloads_applied, 0);
    drop(taken);
    stage
        .until("open again", || stage.gateway.unready_reasons().is_empty())
        .await;
    assert_eq!(stage.address("alone", "tcp"), address);
    let client = stage.client(Target::tcp(address)).await;
    let answer = client.call(Call::unary("nobody", "Say", "")).await;
    assert_eq!(answer.expect_err("nobody").kind, Kind::NotFound);
    drop(other);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_stay_counted_over_changes_with_a_guard_and_without() {
    let stage = Stage::start().await;
    let refuse = || {
        let error = Error::new(Kind::Unauthenticated, Blame::Client, "wrong");
        let (rules, now) = (stage.pipeline.rules(), Instant::now());
        let call = Call::unary("s", "m", "");
        let told = match (&rules.guard, &rules.failures) {
            (Some(guard), _) => guard.refuse(&call, error, now),
            (None, Some(failures)) => failures.refuse(&call.context.peer, error, now),
            (None, None) => error,
        };
        told.kind
    };
    let n_refused = || (0..130).filter(|_| refuse() == Kind::ResourceExhausted);
    // The burst is 100, and ten a second come back.
    assert!((20..=30).contains(&n_refused().count()));
    let timeout = "[calls]\ntimeout = \"7s\"\n";
    let guard = "[headers.tag.request.set]\nx = \"1\"\n";
    for (n_applied, extra) in [(1, timeout), (2, guard), (3, timeout), (4, "")] {
        stage.configure(&Stage::text(&stage.folder, extra));
        let applied = || stage.gateway.numbers().config_reloads_applied;
        stage.until("a reload", || applied() == n_applied).await;
        assert_eq!(stage.pipeline.rules().guard.is_some(), extra == guard);
        let n_refused = n_refused().count();
        assert!(n_refused >= 90, "{n_refused} of 130 after {extra:?}");
    }
    stage.end().await;
}

/// Takes `address` from whoever has it, as soon as it is let go.
async fn bind_when_free(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// A listener beside the usual ones, over TCP only.
const ALONE: &str =
    "[listeners.alone]\nprotocol = \"vstp\"\ntransports = [\"tcp\"]\naddress = \"127.0.0.1:0\"\n";
