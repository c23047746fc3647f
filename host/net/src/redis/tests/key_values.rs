//! Tables are those of the embedded store: values, order, limits, and swaps that lose nothing.

use postern_core::Kind;

use super::*;

fn swap(expected: Option<&str>, value: Option<&str>) -> KeyChange {
    KeyChange::Swap {
        key: "k".to_owned(),
        expected: expected.map(Into::into),
        value: value.map(Into::into),
    }
}

fn delete(key: &str) -> KeyChange {
    KeyChange::Delete {
        key: key.to_owned(),
    }
}

#[tokio::test]
async fn changes_say_whether_they_changed_anything() {
    let server = Server::start(&[]).await;
    let store = store(&server, |_| {});
    let table = store.key_values();
    let write = async |change| table.write("t", change, None).await.expect("well");
    assert!(!write(delete("k")).await);
    assert!(!write(swap(Some("1"), Some("2"))).await);
    assert!(write(swap(None, None)).await);
    assert!(write(swap(None, Some("1"))).await);
    assert!(!write(swap(None, Some("2"))).await);
    assert!(write(swap(Some("1"), Some(""))).await);
    assert_eq!(value(&store, "k").await.expect("well").as_deref(), Some(""));
    assert!(!write(swap(None, Some("2"))).await && write(swap(Some(""), None)).await);
    assert_eq!(value(&store, "k").await.expect("well"), None);
    assert!(write(set("k", "1")).await && write(delete("k")).await);
}

#[tokio::test]
async fn keys_come_in_order_by_prefix_after_a_key_up_to_a_limit() {
    let server = Server::start(&[]).await;
    let store = store(&server, |_| {});
    for key in ["a", "b/1", "b/2", "b/3", "c", "b*", "[b]"] {
        put(&store, key, "").await.expect("well");
    }
    let table = store.key_values();
    let keys = async |prefix: &str, after: Option<&str>, limit| {
        table.keys("t", prefix, after, limit).await.expect("well")
    };
    assert_eq!(keys("b/", None, 10).await, ["b/1", "b/2", "b/3"]);
    assert_eq!(keys("b/", Some("b/1"), 10).await, ["b/2", "b/3"]);
    assert_eq!(keys("b/", Some("a"), 2).await, ["b/1", "b/2"]);
    assert_eq!(keys("b/", Some("b/3"), 10).await, Vec::<String>::new());
    assert_eq!(keys("", None, 0).await, Vec::<String>::new());
    assert_eq!(keys("b*", None, 10).await, ["b*"]);
    assert_eq!(keys("[b", None, 10).await, ["[b]"]);
    assert_eq!(keys("", None, 3).await, ["[b]", "a", "b*"]);
}

#[tokio::test]
async fn no_table_reaches_into_another_one() {
    let server = Server::start(&[]).await;
    let store = store(&server, |_| {});
    let table = store.key_values();
    for (name, key) in [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("*", "c")] {
        let written = table.write(name, set(key, name), None).await;
        assert!(written.expect("well"));
    }
    for (name, key) in [("a", "b:c"), ("a:b", "c"), ("a%3Ab", "c"), ("*", "c")] {
        assert_eq!(table.keys(name, "", None, 10).await.expect("well"), [key]);
        let value = table.get(name, key).await.expect("well");
        assert_eq!(value.as_deref(), Some(name.as_bytes()));
    }
    assert_eq!(
        table.keys("", "", None, 10).await.expect("well"),
        Vec::<String>::new()
    );
    let keys = server.run(&["keys", "*"]);
    assert!(
        keys.lines().all(|key| key.starts_with("postern:kv:")),
        "{keys}"
    );
}

#[tokio::test]
async fn what_has_an_expiry_is_gone_after_it() {
    let server = Server::start(&[]).await;
    let store = store(&server, |_| {});
    let table = store.key_values();
    let hour = Some(Duration::from_secs(3600));
    table
        .write("t", set("long", "1"), hour)
        .await
        .expect("well");
    let left: u64 = server
        .run(&["pttl", "postern:kv:t:long"])
        .trim()
        .parse()
        .expect("a number");
    assert!((3_000_000..=3_600_000).contains(&left), "{left}");
    let moment = Some(Duration::from_millis(50));
    let change = KeyChange::Swap {
        key: "short".to_owned(),
        expected: None,
        value: Some(b"1".to_vec()),
    };
    assert!(table.write("t", change, moment).await.expect("well"));
    patiently("it is gone", async || {
        value(&store, "short").await.expect("well").is_none()
    })
    .await;
    // Without one it is kept.
    put(&store, "long", "2").await.expect("well");
    assert_eq!(server.run(&["pttl", "postern:kv:t:long"]).trim(), "-1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_of_many_writers_lose_nothing() {
    let server = Server::start(&[]).await;
    let stores: Vec<_> = (0..3).map(|_| store(&server, |_| {})).collect();
    let writers = (0..24).map(|idx: usize| {
        let store = Arc::clone(&stores[idx % 3]);
        tokio::spawn(async move {
            for _ in 0..20 {
                loop {
                    let before = value(&store, "k").await.expect("well");
                    let count: u32 = before
                        .as_deref()
                        .map_or(0, |text| text.parse().expect("digits"));
                    let change = swap(before.as_deref(), Some(&(count + 1).to_string()));
                    if store
                        .key_values()
                        .write("t", change, None)
                        .await
                        .expect("well")
                    {
                        break;
                    }
                }
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("it ends");
    }
    assert_eq!(
        value(&stores[0], "k").await.expect("well").as_deref(),
        Some("480")
    );
    // A server that has forgotten the script is given its text.
    server.run(&["script", "flush"]);
    let change = swap(Some("480"), Some("0"));
    assert!(
        stores[0]
            .key_values()
            .write("t", change, None)
            .await
            .expect("well")
    );
}

#[tokio::test]
async fn a_listing_looks_through_no_more_than_it_may() {
    let server = Server::start(&[]).await;
    let store = store(&server, |config| config.scan_keys_max = 1000);
    server.run(&[
        "eval",
        "for i = 1, 5000 do redis.call('set', 'other' .. i, i) end",
        "0",
    ]);
    let error = store
        .key_values()
        .keys("t", "", None, 10)
        .await
        .expect_err("too many");
    assert_eq!(error.kind, Kind::ResourceExhausted);
    assert!(
        error.message.contains("raise stores.main.scan-keys-max"),
        "{error}"
    );
}

#[tokio::test]
async fn a_database_of_its_own_holds_nothing_of_others() {
    let server = Server::start(&[]).await;
    let store = store_at(&format!("{}/3", server.url()), |_| {});
    put(&store, "k", "1").await.expect("well");
    assert_eq!(server.run(&["-n", "3", "dbsize"]).trim(), "1");
    assert_eq!(server.run(&["-n", "0", "dbsize"]).trim(), "0");
}

#[tokio::test]
async fn a_key_of_another_type_and_a_full_server_are_refused_by_their_kinds() {
    let server = Server::start(&[]).await;
    let store = store(&server, |_| {});
    server.run(&["lpush", "postern:kv:t:list", "1"]);
    let error = value(&store, "list").await.expect_err("a list");
    assert_eq!(error.kind, Kind::FailedPrecondition, "{error}");
    server.run(&["config", "set", "maxmemory", "1"]);
    let error = put(&store, "k", "1").await.expect_err("full");
    assert_eq!(error.kind, Kind::ResourceExhausted, "{error}");
    server.run(&["config", "set", "maxmemory", "0"]);
    put(&store, "k", "1").await.expect("there is room again");
}

#[tokio::test]
async fn no_more_connections_are_open_than_may_be() {
    let server = Server::start(&[]).await;
    let store = store(&server, |config| {
        config.connections_max = 4;
        config.connect_timeout = Duration::from_millis(300);
    });
    put(&store, "k", "1").await.expect("well");
    let asked = (0..1000).map(|_| {
        let store = Arc::clone(&store);
        tokio::spawn(async move { value(&store, "k").await.expect("well") })
    });
    for one in asked.collect::<Vec<_>>() {
        assert_eq!(one.await.expect("it ends").as_deref(), Some("1"));
    }
    // Two are for consumers, each of which waits on its own.
    let log = |name: &str| {
        let pattern = postern_core::event::TopicPattern::new(name).expect("a pattern");
        store.log(RedisLogConfig::new(name, vec![pattern]), None)
    };
    let mut consumers = Vec::new();
    for name in ["a", "b", "c"] {
        consumers.push(streams::consumer(&log(name), name).await);
    }
    patiently("two connections wait", async || {
        store.snapshot().n_connections >= 3
    })
    .await;
    let n_clients = server
        .run(&["client", "list"])
        .lines()
        .filter(|line| {
            line.contains("lib-name=postern")
                || line.contains("cmd=get")
                || line.contains("cmd=xreadgroup")
                || line.contains("cmd=evalsha")
                || line.contains("cmd=ping")
        })
        .count();
    assert!(n_clients <= 4, "{}", server.run(&["client", "list"]));
    assert!(store.snapshot().n_connections <= 4);
    // Commands go on.
    assert_eq!(
        value(&store, "k").await.expect("well").as_deref(),
        Some("1")
    );
}
