//! A changed configuration: whole or not at all, and nobody is disturbed whom it does not concern.

use std::net::SocketAddr;

use postern_core::{Blame, Call, Error, Handler, Kind};
use postern_net::Target;
use postern_system::clock;
use tokio::net::TcpListener;

use super::fixture::{GatewayFixture, folders};

#[tokio::test(flavor = "multi_thread")]
async fn opens_a_new_listener_and_keeps_connections_of_the_others() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    let before = fixture
        .client(Target::tcp(fixture.address("vstp", "tcp")))
        .await;
    let extra = "[listeners.second]\nprotocol = \"vstp\"\naddress = \"127.0.0.1:0\"\n";
    fixture.configure(&GatewayFixture::text(&fixture.folder, extra));
    fixture
        .until("a second listener", || {
            fixture.gateway.bound_addresses().contains_key("second")
        })
        .await;
    let second = fixture
        .client(Target::tcp(fixture.address("second", "tcp")))
        .await;
    for client in [before, second] {
        let reply = client
            .call(Call::unary("greeter", "Say", ""))
            .await
            .expect("answered");
        assert_eq!(reply.body.into_one(100).await.expect("a message"), "hello");
    }
    // The listener is open before all the rest is in force.
    let n_applied = || fixture.gateway.numbers().config_reloads_applied;
    fixture.until("it is counted", || n_applied() == 1).await;
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebinds_a_listener_whose_settings_changed_at_the_same_port() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    let address = fixture.address("vstp", "tcp");
    let pinned = |settings: &str| {
        let text = GatewayFixture::text(&fixture.folder, "");
        let old = "[listeners.vstp]\naddress = \"127.0.0.1:0\"";
        text.replace(
            old,
            &format!("[listeners.vstp]\naddress = \"{address}\"\n{settings}"),
        )
    };
    fixture.configure(&pinned("default-service = \"greeter\""));
    fixture
        .until("a reload", || {
            fixture.gateway.numbers().config_reloads_applied == 1
        })
        .await;
    assert_eq!(fixture.address("vstp", "tcp"), address);
    assert_eq!(
        fixture.ask("tcp", "greeter").await.expect("answered"),
        "hello"
    );
    assert_eq!(
        fixture.ask("udp", "greeter").await.expect("answered"),
        "hello"
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refuses_a_broken_file_and_goes_on() {
    let fixture = GatewayFixture::start().await;
    let http = fixture.address("http", "http");
    for (n_refused, extra) in [
        (1, "[listeners.second]\nprotocol = \"vstp\"\n"),
        (2, "[plugin]\n"),
        (
            3,
            &format!("[listeners.second]\nprotocol = \"vstp\"\naddress = \"{http}\"\n"),
        ),
        (4, "[log]\nformat = \"json\"\n"),
    ] {
        fixture.configure(&GatewayFixture::text(&fixture.folder, extra));
        let refused = || fixture.gateway.numbers().config_reloads_refused;
        fixture.until("a refusal", || refused() == n_refused).await;
        assert!(!fixture.gateway.bound_addresses().contains_key("second"));
        assert_eq!(fixture.address("http", "http"), http, "untouched");
    }
    assert_eq!(
        fixture.ask("tcp", "nobody").await.expect_err("served").kind,
        Kind::NotFound
    );
    assert_eq!(fixture.gateway.numbers().config_reloads_applied, 0);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_bounds_hold_for_the_calls_after_them() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    fixture.configure(&GatewayFixture::text(
        &fixture.folder,
        "[plugins.limits]\noutput = \"1KiB\"\n",
    ));
    fixture
        .until("a reload", || {
            fixture.gateway.numbers().config_reloads_applied == 1
        })
        .await;
    fixture
        .until("it is deployed again with the new bounds", || {
            let greeter = fixture.gateway.control().plugin("greeter");
            greeter.expect("there").generation == 2
        })
        .await;
    assert_eq!(
        fixture.ask("tcp", "greeter").await.expect("answered"),
        "hello"
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named_with_its_remedy() {
    let fixture = GatewayFixture::start().await;
    let taken = fixture.address("http", "http");
    let extra = format!("[listeners.second]\nprotocol = \"vstp\"\naddress = \"{taken}\"\n");
    let error = GatewayFixture::start_in(folders(), &extra)
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
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_whose_port_was_taken_meanwhile_is_opened_again_by_itself() {
    let fixture = GatewayFixture::start_in(folders(), ALONE)
        .await
        .expect("starts");
    let address = fixture.address("alone", "tcp");
    // The same port everywhere cannot be had, and the port itself is gone when that is known.
    let other = SocketAddr::new([127, 0, 0, 2].into(), address.port());
    let other = TcpListener::bind(other).await.expect("free");
    let everywhere = format!("0.0.0.0:{}", address.port());
    fixture.configure(&GatewayFixture::text(
        &fixture.folder,
        &ALONE.replace("127.0.0.1:0", &everywhere),
    ));
    let taken = bind_when_free(address).await;
    let lost = || {
        let mut reasons = fixture.gateway.unready_reasons().into_iter();
        reasons.find(|reason| (reason.name, &*reason.subject) == ("listeners", "alone (tcp)"))
    };
    fixture
        .until("told as missing", || {
            !fixture.gateway.bound_addresses().contains_key("alone") && lost().is_some()
        })
        .await;
    let message = lost().expect("told").message;
    assert!(message.contains(&address.to_string()), "{message}");
    assert_eq!(fixture.gateway.numbers().config_reloads_applied, 0);
    drop(taken);
    fixture
        .until("open again", || {
            fixture.gateway.unready_reasons().is_empty()
        })
        .await;
    assert_eq!(fixture.address("alone", "tcp"), address);
    let client = fixture.client(Target::tcp(address)).await;
    let answer = client.call(Call::unary("nobody", "Say", "")).await;
    assert_eq!(answer.expect_err("nobody").kind, Kind::NotFound);
    drop(other);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_stay_counted_over_changes_with_a_guard_and_without() {
    let fixture = GatewayFixture::start().await;
    let refuse = || {
        let error = Error::new(Kind::Unauthenticated, Blame::Client, "wrong");
        let (rules, now) = (fixture.pipeline.rules(), clock::now());
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
        fixture.configure(&GatewayFixture::text(&fixture.folder, extra));
        let applied = || fixture.gateway.numbers().config_reloads_applied;
        fixture.until("a reload", || applied() == n_applied).await;
        assert_eq!(fixture.pipeline.rules().guard.is_some(), extra == guard);
        let n_refused = n_refused().count();
        assert!(n_refused >= 90, "{n_refused} of 130 after {extra:?}");
    }
    fixture.end().await;
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
const ALONE: &str = "[listeners.alone]\nprotocol = \"vstp\"\ntransports = [\"tcp\"]\naddress = \"127.0.0.1:0\"\n\
     insecure = true\n";
