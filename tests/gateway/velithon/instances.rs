//! The published server as an instance of a service, whoever calls it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use postern_core::{Handler, Kind};
use postern_tests::{CallerTransport, Gateway, Setup, call, connect, patiently};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{Server, listening};
use crate::{figure, share};

async fn gateway(server: &Server, keys: &str) -> Gateway {
    let setup = Setup {
        config: format!("{}{keys}", server.instance()),
        ..Setup::default()
    };
    Gateway::start(setup).await
}

fn parsed(octets: &[u8]) -> Value {
    serde_json::from_slice(octets).expect("json")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_calls_reach_the_published_server_over_ten_connections() {
    let _machine = share().await;
    let server = Server::start().await;
    let gateway = gateway(&server, "").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let begin = Instant::now();
    let mut calls = JoinSet::new();
    for n in 0..1000 {
        let handler = Arc::clone(&handler);
        calls.spawn(async move {
            let body = json!({ "n": n, "text": "Grüße, 世界 🌍" });
            let reply = call(&*handler, "table/Echo", body.to_string()).await;
            parsed(&reply.expect("answered")) == body
        });
    }
    let right = calls.join_all().await;
    let n_right = right.into_iter().filter(|is_right| *is_right).count();
    assert_eq!(n_right, 1000);
    figure(&format!(
        "velithon server: 1000 calls in {:.2} s, 0 wrong",
        begin.elapsed().as_secs_f64()
    ));
    let seen = call(&*handler, "table/Seen", "{}").await.expect("answered");
    assert_eq!(parsed(&seen)["calls"], 1000);
    let n_connections = connections_to(gateway.id(), server.address.port());
    assert!(
        (1..=10).contains(&n_connections),
        "{n_connections} connections"
    );
}

/// Established connections of a process's network to a port of this machine (proc_net(5): state 01).
fn connections_to(process: u32, port: u16) -> usize {
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("a table");
    let remote = format!("0100007F:{port:04X}");
    let rows = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let is_one = |row: &Vec<&str>| row.get(2..4) == Some(&[remote.as_str(), "01"][..]);
    rows.filter(is_one).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_of_every_protocol_see_what_the_published_server_says() {
    let _machine = share().await;
    let server = Server::start().await;
    let gateway = gateway(&server, "").await;
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        let asked = async |method: &str, body: Value| {
            let target = format!("table/{method}");
            call(&*handler, &target, body.to_string()).await
        };
        let failed = async |method: &str, body: Value| {
            let error = asked(method, body).await.expect_err("it fails");
            (error.kind, error.message.to_string())
        };
        let sum = asked("Add", json!({ "a": 40, "b": 2 })).await;
        assert_eq!(parsed(&sum.expect("answered")), json!({ "sum": 42 }));
        let (kind, told) = failed("Nothing", json!({})).await;
        assert_eq!(
            (kind, &*told),
            (Kind::Unimplemented, "Endpoint Nothing not found")
        );
        let (kind, told) = failed("Fail", json!({ "text": "kaputt" })).await;
        assert_eq!((kind, &*told), (Kind::Unknown, "kaputt"));
        let (kind, told) = failed("Fail", json!({ "text": "not-found: no user" })).await;
        assert_eq!((kind, &*told), (Kind::NotFound, "no user"));
        for body in [
            json!({ "a": 1 }),
            json!({ "a": 1, "b": 2, "c": 3 }),
            json!([1, 2]),
        ] {
            assert_eq!(failed("Add", body).await.0, Kind::InvalidArgument);
        }
        // A response may be any JSON here; only its own client cannot read that.
        for value in [
            json!(null),
            json!(7),
            json!([1, "error"]),
            json!("an error"),
        ] {
            let reply = asked("Odd", json!({ "value": value })).await;
            assert_eq!(parsed(&reply.expect("answered")), value);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_calls_hold_up_neither_each_other_nor_those_behind_them() {
    let _machine = share().await;
    let server = Server::start().await;
    let gateway = gateway(&server, "").await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let slow = {
        let handler = Arc::clone(&handler);
        tokio::spawn(async move { call(&*handler, "table/Slow", "{\"ms\":1500}").await })
    };
    // Its worker waits for it, and the other seven go on.
    let n_before = AtomicUsize::new(0);
    while !slow.is_finished() {
        call(&*handler, "table/Echo", "{}").await.expect("answered");
        n_before.fetch_add(1, SeqCst);
    }
    let reply = slow.await.expect("no panic").expect("answered");
    assert_eq!(parsed(&reply), json!({ "slept": 1500 }));
    assert!(n_before.load(SeqCst) > 5, "{n_before:?}");
    // A caller that gives up is told so, and what comes late finds nobody.
    let mut late = postern_core::Call::unary("table", "Slow", "{\"ms\":3000}");
    late.context.deadline = Some(Instant::now() + Duration::from_millis(200));
    let error = handler.call(late).await.expect_err("too slow");
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    call(&*handler, "table/Echo", "{}").await.expect("answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_and_started_again_is_called_again() {
    let _machine = share().await;
    let mut server = Server::start().await;
    let keys = "[services.table]\nvelithon.health-interval = \"200ms\"\n\
        breaker.enabled = false\noutlier.enabled = false\nretry.attempts = 1\n\
        [directory]\nprobe-down-interval = \"200ms\"\n";
    let gateway = gateway(&server, keys).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let is_down = async || {
        let directory = gateway.admin_json("/directory").await;
        let services = directory["services"].as_array().expect("a list").iter();
        let mut tables = services.filter(|service| service["service"] == "table");
        tables.any(|service| service["instances"][0]["health"] == "down")
    };
    assert!(!is_down().await);
    let load = Load::begin(&handler);
    patiently("it is under load", async || load.right.load(SeqCst) > 100).await;
    server.kill();
    patiently("the instance is seen to be down", async || is_down().await).await;
    assert!(load.failed.load(SeqCst) > 0);
    server.start_again().await;
    let listened = Instant::now();
    let before = load.right.load(SeqCst);
    patiently("calls are answered again", async || {
        load.right.load(SeqCst) > before
    })
    .await;
    let recovery = listened.elapsed();
    patiently("it is seen to be up", async || !is_down().await).await;
    let failed_before = load.failed.load(SeqCst);
    patiently("nothing fails", async || {
        load.right.load(SeqCst) > before + 500
    })
    .await;
    assert_eq!(load.failed.load(SeqCst), failed_before);
    figure(&format!(
        "velithon server killed and started again under ten callers: {failed_before} calls failed while it was away, \
         {} right; answered {:.2} s after it listened",
        load.right.load(SeqCst),
        recovery.as_secs_f64()
    ));
    load.end().await;
}

/// Ten callers, each with a call every 5 ms.
struct Load {
    right: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    callers: JoinSet<()>,
}

impl Load {
    fn begin(handler: &Arc<dyn Handler>) -> Self {
        let mut load = Self {
            right: Arc::default(),
            failed: Arc::default(),
            is_over: Arc::default(),
            callers: JoinSet::new(),
        };
        for _ in 0..10 {
            let handler = Arc::clone(handler);
            let (right, failed) = (Arc::clone(&load.right), Arc::clone(&load.failed));
            let is_over = Arc::clone(&load.is_over);
            load.callers.spawn(async move {
                while !is_over.load(SeqCst) {
                    let count = match call(&*handler, "table/Echo", "{\"a\":1}").await {
                        Ok(_) => &right,
                        Err(_) => &failed,
                    };
                    count.fetch_add(1, SeqCst);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            });
        }
        load
    }

    async fn end(mut self) {
        self.is_over.store(true, SeqCst);
        while let Some(ended) = self.callers.join_next().await {
            ended.expect("no panic");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_client_reaches_the_published_server_through_the_gateway() {
    let _machine = share().await;
    let server = Server::start().await;
    let config = server.instance();
    let config = config.replace("service = \"table\"", "service = \"other-name\"");
    let velithon = listening(&config, "").await;
    let told = super::client(velithon.address, "order", 1).await;
    assert_eq!(told, json!({ "last": "slow", "n": 21 }));
}
