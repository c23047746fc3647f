//! Redis behind the gateway: key/value tables over the gateway's client, beside a bare client
//! (`redis-benchmark`, in C) at the same server, and a plugin whose table lies there, beside one whose
//! table is the gateway's own file.
//!
//! The client of the gateway puts what waits at one time on one connection; `redis-benchmark` opens one
//! for each request under way, as pools of bare clients do.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use postern_core::{
    Handler,
    key_value::{KeyChange, KeyValueStore},
};
use postern_net::redis::{RedisConfig, RedisKeyValues, RedisStore};
use postern_tests::{CallerTransport, Gateway, RedisServer, Setup, call, connect, system_tool};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    passes::Passes,
    table::{Goal, Table},
};

const PASSES: usize = 5;
const ROUND: Duration = Duration::from_millis(1000);
const VALUE_BYTES: usize = 64;
/// Requests under way at one time, and what is asked of the ratio there. Alone, a request costs this client
/// two hops between tasks, which a program that waits for its socket has not.
const UNDER_WAY: [(usize, Goal); 3] = [
    (1, Goal::None),
    (50, Goal::AtLeast(1.0)),
    (256, Goal::AtLeast(1.0)),
];

/// What is asked.
#[derive(Debug, Clone, Copy)]
enum Ask {
    Get,
    Set,
}

pub(crate) async fn run(table: &mut Table) {
    let server = RedisServer::start(&[]).await;
    let location = server.url().parse().expect("an address");
    let store = RedisStore::open(RedisConfig::new("bench", location), Arc::default());
    let key_values = store.key_values();
    ask(&key_values, Ask::Set).await;
    for (n_under_way, goal) in UNDER_WAY {
        for what in [Ask::Get, Ask::Set] {
            let mut passes = Vec::new();
            for _ in 0..PASSES {
                let ours = asking(&key_values, what, n_under_way).await;
                passes.push([ours, bare(&server, what, n_under_way)]);
            }
            let passes = Passes(passes);
            table.compare(
                format!("redis kv {what:?}, {n_under_way} under way: requests/s (redis-benchmark)"),
                format!("{:.0}", passes.median(|[ours, _]| *ours)),
                format!("{:.0}", passes.median(|[_, bare]| *bare)),
                passes.median(|[ours, bare]| ours / bare),
                goal,
            );
        }
    }
    plugins(table, &server).await;
}

/// Calls of a plugin that reads its table.
async fn plugins(table: &mut Table, server: &RedisServer) {
    let config = format!(
        "[stores.main]\nurl = \"{}\"\n[plugins.kv]\nstore = \"main\"\n",
        server.url()
    );
    let with_redis = Setup {
        config,
        ..Setup::default()
    };
    let with_redis = Gateway::start(with_redis.plugin("probe")).await;
    let with_file = Gateway::start(Setup::default().plugin("probe")).await;
    let mut callers = Vec::new();
    for gateway in [&with_redis, &with_file] {
        let caller = connect(gateway, CallerTransport::Tcp).await;
        let message = json!({ "key": "k", "value": "x".repeat(VALUE_BYTES) });
        let set = call(&*caller, "probe/KvSet", message.to_string()).await;
        set.expect("set");
        callers.push(caller);
    }
    let mut passes = Vec::new();
    for _ in 0..PASSES {
        let mut figures = Vec::new();
        for caller in &callers {
            figures.push(calling(caller, 50).await);
        }
        passes.push(figures);
    }
    let passes = Passes(passes);
    let of = |figures: &Vec<f64>, idx: usize| figures.get(idx).copied().unwrap_or_default();
    table.compare(
        "redis kv.get of a plugin, 50 calls under way: calls/s (table in the gateway's file)",
        format!("{:.0}", passes.median(|figures| of(figures, 0))),
        format!("{:.0}", passes.median(|figures| of(figures, 1))),
        passes.median(|figures| of(figures, 0) / of(figures, 1)),
        Goal::None,
    );
}

async fn ask(key_values: &RedisKeyValues, what: Ask) {
    let answered = match what {
        Ask::Get => key_values.get("bench", "key").await.map(drop),
        Ask::Set => {
            let change = KeyChange::Set {
                key: "key".to_owned(),
                value: vec![b'x'; VALUE_BYTES],
            };
            key_values.write("bench", change, None).await.map(drop)
        }
    };
    answered.expect("the server answers");
}

/// Requests a second of the gateway's client.
async fn asking(key_values: &RedisKeyValues, what: Ask, n_under_way: usize) -> f64 {
    let key_values = key_values.clone();
    per_second(n_under_way, move || {
        let key_values = key_values.clone();
        async move { ask(&key_values, what).await }
    })
    .await
}

async fn calling(caller: &Arc<dyn Handler>, n_under_way: usize) -> f64 {
    let caller = Arc::clone(caller);
    per_second(n_under_way, move || {
        let caller = Arc::clone(&caller);
        async move {
            let got = call(&*caller, "probe/KvGet", r#"{"key":"k","value":null}"#).await;
            got.expect("answered");
        }
    })
    .await
}

/// How often `once` ends in a second, so many at a time.
async fn per_second<F>(n_under_way: usize, once: impl Fn() -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = ()> + Send,
{
    let answered = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let begin = Instant::now();
    for _ in 0..n_under_way {
        let (once, answered) = (once.clone(), Arc::clone(&answered));
        tasks.spawn(async move {
            loop {
                once().await;
                answered.fetch_add(1, Relaxed);
            }
        });
    }
    tokio::time::sleep_until((begin + ROUND).into()).await;
    let n_answered = answered.load(Relaxed) as f64;
    let per_second = n_answered / begin.elapsed().as_secs_f64();
    tasks.shutdown().await;
    per_second
}

/// Requests a second of `redis-benchmark`, with a connection for each under way.
fn bare(server: &RedisServer, what: Ask, n_under_way: usize) -> f64 {
    let name = match what {
        Ask::Get => "get",
        Ask::Set => "set",
    };
    // About a second of work.
    let n_requests = if n_under_way == 1 { 20_000 } else { 80_000 };
    let mut command = Command::new(system_tool("redis-benchmark"));
    command.args([
        "-h",
        "127.0.0.1",
        "-p",
        &server.port.to_string(),
        "--csv",
        "-t",
        name,
    ]);
    command.args([
        "-c",
        &n_under_way.to_string(),
        "-n",
        &n_requests.to_string(),
    ]);
    command.args(["-d", &VALUE_BYTES.to_string()]);
    let said = command.output().expect("redis-benchmark runs").stdout;
    let said = String::from_utf8_lossy(&said).into_owned();
    let figure = said.lines().find_map(|line| {
        let mut columns = line.split(',').map(|column| column.trim_matches('"'));
        let is_it = columns.next()?.eq_ignore_ascii_case(name);
        is_it.then(|| columns.next()?.parse().ok()).flatten()
    });
    figure.expect("redis-benchmark gives a figure")
}
