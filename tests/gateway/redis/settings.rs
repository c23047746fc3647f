//! Each key of `[stores.NAME]` has its effect, a change of the configuration reaches plugins that run, and
//! operators see how it stands.

use std::fs;

use postern_core::Kind;
use postern_tests::{Gateway, RedisServer, patiently};
use serde_json::json;

use super::{ask, caller, gateway, get, set, setup, shown};
use crate::share;

/// Writes the configuration anew, as a careful operator does.
fn configure(gateway: &Gateway, change: impl FnOnce(String) -> String) {
    let path = gateway.folder().join("postern.toml");
    let text = fs::read_to_string(&path).expect("it is there");
    let beside = gateway.folder().join("postern.toml~");
    fs::write(&beside, change(text)).expect("written");
    fs::rename(beside, path).expect("renamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_configuration_reaches_plugins_that_run() {
    let _machine = share().await;
    let (one, other) = (RedisServer::start(&[]).await, RedisServer::start(&[]).await);
    let gateway = gateway(&one, "").await;
    let caller = caller(&gateway).await;
    set(&*caller, "k", "one").await.expect("well");
    configure(&gateway, |text| text.replace(&one.url(), &other.url()));
    patiently("the other server is asked", async || {
        get(&*caller, "k").await.is_ok_and(|value| value.is_null())
    })
    .await;
    set(&*caller, "k", "other").await.expect("well");
    // A store that a plugin needs and that is gone is told as such.
    configure(&gateway, |text| {
        let text = text.replace("[stores.main]", "[stores.renamed]");
        text.replace(
            "[plugins.kv]\nstore = \"main\"",
            "[plugins.kv]\nstore = \"renamed\"",
        )
    });
    patiently(
        "plugins are deployed with the store of the other name",
        async || get(&*caller, "k").await.is_ok_and(|value| value == "other"),
    )
    .await;
    // Its own file is the store again.
    configure(&gateway, |text| {
        text.replace("[plugins.kv]\nstore = \"renamed\"\n", "")
    });
    patiently("the table is that of the gateway's own file", async || {
        get(&*caller, "k").await.is_ok_and(|value| value.is_null())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_and_a_prefix_are_the_gateways_own() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let gateway = gateway(&server, "database = 5\nkey-prefix = \"mine:\"").await;
    let caller = caller(&gateway).await;
    set(&*caller, "k", 1).await.expect("well");
    let keys = server.run(&["-n", "5", "keys", "*"]);
    assert_eq!(keys.trim(), "mine:kv:plugin/probe:k");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_of_the_machine_is_a_store() {
    let _machine = share().await;
    let mut server = RedisServer::prepare(&["--unixsocket", "redis.sock"]);
    let path = server.folder().join("redis.sock");
    server.start_again().await;
    let gateway = Gateway::start(setup(&format!("unix:{}", path.display()), "")).await;
    let caller = caller(&gateway).await;
    set(&*caller, "k", 1).await.expect("well");
    assert_eq!(get(&*caller, "k").await.expect("well"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_keep_to_their_bound() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let gateway = gateway(&server, "connections-max = 4\nconnect-timeout = \"1s\"").await;
    let caller = caller(&gateway).await;
    set(&*caller, "k", 1).await.expect("well");
    let asked = (0..500).map(|_| {
        let caller = std::sync::Arc::clone(&caller);
        tokio::spawn(async move { get(&*caller, "k").await })
    });
    let mut n_ok = 0;
    for one in asked.collect::<Vec<_>>() {
        n_ok += u32::from(one.await.expect("it ends").is_ok());
    }
    assert_eq!(n_ok, 500);
    let store = shown(&gateway).await;
    assert!(store["connections"].as_u64() <= Some(4), "{store}");
    // One of them is redis-cli's own.
    let n_clients = server.run(&["client", "list"]).lines().count() - 1;
    assert!(n_clients <= 4, "{n_clients}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_keeps_to_its_bound() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let gateway = gateway(&server, "scan-keys-max = 1000").await;
    let caller = caller(&gateway).await;
    server.run(&[
        "eval",
        "for i = 1, 5000 do redis.call('set', i, i) end",
        "0",
    ]);
    let all = json!({"prefix": "", "after": null, "limit": 10});
    let error = ask(&*caller, "KvKeys", &all).await.expect_err("too many");
    assert_eq!(error.kind, Kind::ResourceExhausted, "{error}");
    assert!(
        error.message.contains("stores.main.scan-keys-max"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_stores_and_their_numbers() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let gateway = gateway(&server, "reconnect-min = \"20ms\"").await;
    let caller = caller(&gateway).await;
    set(&*caller, "k", 1).await.expect("well");
    let store = shown(&gateway).await;
    assert_eq!(
        (&store["connected"], &store["failed"]),
        (&json!(true), &json!(0))
    );
    assert_eq!(store["url"], server.url());
    assert!(store["operations"].as_u64() > Some(0), "{store}");
    let listed = gateway.postern(&["stores", "list"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
    assert!(
        listed.out.contains("main") && listed.out.contains("connected"),
        "{listed:?}"
    );
    let metrics = gateway.admin("/metrics").await.expect("answered").1;
    for line in [
        "postern_named_store_connected{store=\"main\"} 1",
        "postern_named_store_failures_total{store=\"main\"} 0",
        "postern_named_store_connects_total{store=\"main\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_told_before_anything_starts() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let check = |text: &str, expected: &str| {
        fs::write(folder.path().join("postern.toml"), text).expect("written");
        let said = postern_tests::postern(folder.path(), &["check"]);
        assert_eq!(said.code, Some(1), "{said:?}");
        let told = format!("{}{}", said.out, said.err);
        assert!(told.contains(expected), "{expected}: {told}");
    };
    check(
        "[stores.main]\nusername = \"u\"\npassword = \"p\"\n",
        "the key \"url\" is missing",
    );
    check(
        "[stores.main]\nurl = \"redis://u:p@a\"\n",
        "it holds credentials",
    );
    check(
        "[stores.main]\nurl = \"redis://a\"\nconnections-max = 1\n",
        "below the limit of 2",
    );
    check(
        "[plugins.kv]\nttl = \"1h\"\n",
        "keeps values until they are deleted",
    );
    check(
        "[topics.\"a\"]\ndelivery = \"at-least-once\"\nstore = \"main\"\n",
        "no store is called \"main\"",
    );
    check(
        "[stores.main]\nurl = \"redis://a\"\n[topics.\"a\"]\ndelivery = \"at-least-once\"\nstore = \"main\"\n\
         when-full = \"refuse\"\n",
        "max-messages and max-age alone",
    );
}
