//! Each key of `[listeners.NAME.redis]`, and the keys of all listeners that act here.

use std::{fs, time::Duration};

use postern_tests::{Setup, patiently, postern};
use tokio::time::sleep;

use super::{DURABLE, Front};
use crate::share;

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_answers_are_held_to_their_bounds() {
    let _machine = share().await;
    let config = format!(
        "default-service = \"echo\"\n\
         redis = {{ stores = [\"cache\"], bulk-bytes-max = \"1KiB\", arguments-max = 16, \
         subscriptions-max = 2, keys-max = 3, entries-max = 2, pending-max = 2, call-items-max = 2 }}\n\
         {DURABLE}"
    );
    let front = Front::of(Setup::default().plugin("echo"), &config).await;
    let mut wire = front.wire().await;
    for (line, expected) in [
        ("SUBSCRIBE a", "*3"),
        ("PSUBSCRIBE b*", "*3"),
        (
            "SUBSCRIBE c",
            "-RESOURCE_EXHAUSTED the client has 2 subscriptions, which is the limit",
        ),
        ("RESET", "+RESET"),
        ("MSET a 1 b 2 c 3", "+OK"),
        ("KEYS *", "*3"),
        ("DBSIZE", ":3"),
        ("SET d 4", "+OK"),
        (
            "KEYS *",
            "-ERR there are more than 3 keys to look at; use SCAN",
        ),
        ("KEYS d*", "*1"),
        ("CALL echo x", "$1\\r\\nx"),
        ("XADD orders.a * n 1", "$3"),
        ("XGROUP CREATE orders.a g 0", "+OK"),
        ("XADD orders.a * n 2", "$3"),
        ("XADD orders.a * n 3", "$3"),
        (
            "XRANGE orders.a - +",
            "-ERR the answer has more than 2 entries; ask for fewer by COUNT",
        ),
        ("XRANGE orders.a - + COUNT 2", "*2"),
        (
            "XREAD STREAMS orders.a 0",
            "*1\\r\\n*2\\r\\n$8\\r\\norders.a\\r\\n*2",
        ),
        (
            "XREADGROUP GROUP g c COUNT 9 STREAMS orders.a >",
            "*1\\r\\n*2\\r\\n$8\\r\\norders.a\\r\\n*2",
        ),
        ("XREADGROUP GROUP g c COUNT 9 STREAMS orders.a >", "*-1"),
    ] {
        let found = wire.ask(line).await;
        assert!(
            found.starts_with(expected),
            "{line}: {found} in the place of {expected}"
        );
    }
    let mut many = front.wire().await;
    let said = many.ask(&format!("MGET {}", "a ".repeat(16))).await;
    assert!(
        said.starts_with("-ERR Protocol error: invalid multibulk length"),
        "{said}"
    );
    let mut long = front.wire().await;
    long.send("*2\r\n$4\r\nECHO\r\n$1025\r\n").await;
    let said = long.text().await;
    assert!(
        said.starts_with("-ERR Protocol error: invalid bulk length"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_does_not_read_is_closed_and_counted() {
    let _machine = share().await;
    let front = Front::of(Setup::default(), "redis.output-bytes-max = \"64KiB\"\n").await;
    let mut slow = front.wire().await;
    slow.send("SUBSCRIBE news\r\n").await;
    let (mut publisher, mut reader) = (front.wire().await, front.wire().await);
    reader.ask("SUBSCRIBE other").await;
    let payload = "x".repeat(50_000);
    let mut n_told = 1;
    for _ in 0..2_000 {
        publisher.send(format!("PUBLISH news {payload}\r\n")).await;
        n_told = match publisher.text().await.as_str() {
            ":1\\r\\n" => 1,
            _ => 0,
        };
        if n_told == 0 {
            break;
        }
    }
    assert_eq!(n_told, 0, "it is subscribed still");
    patiently("the slow reader is counted", async || {
        let (_, metrics) = front.admin("/metrics").await.expect("it answers");
        let mut lines = metrics.lines();
        lines.any(|line| {
            let is_own = line.contains("slow_readers") && line.contains("listener=\"redis\"");
            is_own && line.ends_with(" 1")
        })
    })
    .await;
    publisher.send("PUBLISH other x\r\n").await;
    assert_eq!(publisher.text().await, ":1\\r\\n");
    assert!(reader.text().await.contains("message"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_all_listeners_act_on_clients_of_redis() {
    let _machine = share().await;
    let config = "connections-max = 2\nidle-timeout = \"1s\"\ncalls-in-flight-max = 8\n\
        held-bytes-per-connection-max = \"64KiB\"\ndrain-timeout = \"5s\"\nwrite-timeout = \"5s\"\n\
        redis.stores = [\"cache\"]\nproxy-protocol = true\nforwarded.trusted = [\"127.0.0.1/32\"]\n\
        handshake-timeout = \"1s\"\nhandshakes-max = 2\n";
    let front = Front::of(Setup::default(), config).await;
    let proxied = async || {
        let mut wire = front.wire().await;
        wire.send("PROXY TCP4 192.0.2.7 192.0.2.8 1000 6379\r\n")
            .await;
        wire
    };
    let (mut one, mut other) = (proxied().await, proxied().await);
    let info = one.ask("CLIENT INFO").await;
    assert!(info.contains("addr=192.0.2.7"), "{info}");
    assert_eq!(other.ask("PING").await, "+PONG\\r\\n");
    let mut third = front.wire().await;
    assert_eq!(
        third.text().await,
        "-ERR max number of clients reached\\r\\n"
    );
    assert_eq!(third.text().await, "the end");
    one.send("SUBSCRIBE a\r\n").await;
    one.text().await;
    assert_eq!(other.text().await, "the end", "nothing came for a second");
    sleep(Duration::from_millis(1500)).await;
    one.send("PING\r\n").await;
    assert!(
        one.text().await.contains("pong"),
        "a subscriber may be silent"
    );
    let mut large = proxied().await;
    let request = format!("*2\r\n$4\r\nECHO\r\n$65000\r\n{}\r\n", "x".repeat(65_000));
    large.send(request).await;
    let said = large.text().await;
    let is_held = said.starts_with("-ERR") || said.starts_with("$65000");
    assert!(is_held, "{said}");
    drop((one, large));
    // Nothing of a header of the PROXY protocol.
    patiently("a connection without one is closed", async || {
        // Not turned away: the others have gone.
        front.wire().await.text().await == "the end"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_other_protocols_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |keys: &str| {
        let text =
            format!("[listeners.cache]\nprotocol = \"redis\"\naddress = \"127.0.0.1:0\"\n{keys}\n");
        fs::write(folder.path().join("postern.toml"), text).expect("written");
        let finished = postern(folder.path(), &["check"]);
        format!("{}{}", finished.out, finished.err)
    };
    for key in [
        "transports = [\"tcp\"]",
        "keep-alive = \"5s\"",
        "header-timeout = \"5s\"",
        "body-timeout = \"5s\"",
        "streams-max = 5",
        "hosts = [\"a\"]",
        "documents = []",
        "websocket.paths = []",
        "http2.pings-max = 5",
        "connection-age-max = \"5s\"",
        "udp.retries = 1",
        "quic.keep-alive = \"1s\"",
        "limits.frame-bytes-max = \"1MiB\"",
    ] {
        let said = check(key);
        assert!(said.contains("has this key"), "{key}: {said}");
    }
    let text = "[listeners.http]\nredis.keys-max = 5\n";
    fs::write(folder.path().join("postern.toml"), text).expect("written");
    let finished = postern(folder.path(), &["check"]);
    let said = format!("{}{}", finished.out, finished.err);
    assert!(
        said.contains("only a listener that speaks redis has this key"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_change_while_clients_are_connected() {
    let _machine = share().await;
    let front = Front::of(
        Setup::default(),
        "redis = { stores = [\"cache\"], keys-max = 1 }\n",
    )
    .await;
    let mut wire = front.wire().await;
    assert_eq!(wire.ask("MSET a 1 b 2").await, "+OK\\r\\n");
    assert!(
        wire.ask("KEYS *")
            .await
            .starts_with("-ERR there are more than 1 keys")
    );
    let file = front.folder().join("postern.toml");
    let before = fs::read_to_string(&file).expect("readable");
    fs::write(&file, before.replace("keys-max = 1 ", "keys-max = 9 ")).expect("writable");
    for _ in 0..200 {
        if wire.ask("KEYS *").await.starts_with("*2") {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the new bound is not in force: {}", front.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_reply_is_an_array_within_its_bound() {
    let _machine = share().await;
    let config = "redis.call-items-max = 3\n";
    let front = Front::of(Setup::default().plugin("probe"), config).await;
    let mut wire = front.wire().await;
    let items = wire.ask("CALL probe/CountTo 3").await;
    assert_eq!(
        items,
        "*3\\r\\n$1\\r\\n1\\r\\n$1\\r\\n2\\r\\n$1\\r\\n3\\r\\n"
    );
    let said = wire.ask("CALL probe/CountTo 4").await;
    assert!(
        said.starts_with("-RESOURCE_EXHAUSTED the reply has more than 3 messages"),
        "{said}"
    );
}
