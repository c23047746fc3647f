//! A changed configuration: whole or not at all, and nobody is disturbed whom it does not concern.

use postern_core::{Call, Handler, Kind};
use postern_net::Target;

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
