//! A Redis that is away, and one that comes back; nodes of a cluster and masters of sentinels that die.

use postern_core::Kind;
use postern_tests::{Gateway, RedisServer, patiently};

use super::{caller, gateway, get, set, setup, shown};
use crate::{figure, share};

const HASTY: &str =
    "connect-timeout = \"300ms\"\nresponse-timeout = \"300ms\"\nreconnect-max = \"200ms\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_told_and_goes_on_when_its_store_comes_back() {
    let _machine = share().await;
    let mut server = RedisServer::start(&[]).await;
    let gateway = gateway(&server, HASTY).await;
    let caller = caller(&gateway).await;
    set(&*caller, "k", 1).await.expect("well");
    server.kill();
    let error = get(&*caller, "k").await.expect_err("it is away");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    patiently("the readiness says so", async || {
        let (_, body) = gateway.admin("/readyz").await.expect("answered");
        body.contains("\"named-store\"") && body.contains("\"ready\":true")
    })
    .await;
    let listed = gateway.postern(&["stores", "list"]);
    assert!(listed.out.contains("away: "), "{listed:?}");
    server.start_again().await;
    patiently("it works again", async || get(&*caller, "k").await.is_ok()).await;
    patiently("that is told, too", async || {
        let (_, body) = gateway.admin("/readyz").await.expect("answered");
        !body.contains("named-store")
    })
    .await;
    // One that stalls holds nobody up either.
    server.signal("STOP");
    let error = get(&*caller, "k").await.expect_err("it stalls");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    server.signal("CONT");
    patiently("it works again", async || get(&*caller, "k").await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_without_its_store_and_finds_it_later() {
    let _machine = share().await;
    let mut server = RedisServer::prepare(&[]);
    let gateway = Gateway::start(setup(&server.url(), HASTY)).await;
    let caller = caller(&gateway).await;
    let error = get(&*caller, "k").await.expect_err("nobody listens");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert_eq!(shown(&gateway).await["connected"], false);
    server.start_again().await;
    patiently("it is found", async || set(&*caller, "k", 1).await.is_ok()).await;
    assert_eq!(shown(&gateway).await["connected"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugins_table_lies_on_all_masters_of_a_cluster_and_one_of_them_may_die() {
    let _machine = share().await;
    let mut servers = Vec::new();
    for _ in 0..6 {
        let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
        servers.push(RedisServer::start(&arguments).await);
    }
    let nodes: Vec<_> = servers
        .iter()
        .map(|one| format!("127.0.0.1:{}", one.port))
        .collect();
    let mut create = vec!["--cluster", "create"];
    create.extend(nodes.iter().map(String::as_str));
    create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
    let said = servers[0].run(&create);
    assert!(said.contains("All 16384 slots covered"), "{said}");
    patiently("the cluster stands", async || {
        let has_replicas = servers[0]
            .run(&["cluster", "nodes"])
            .matches("slave")
            .count()
            == 3;
        has_replicas
            && servers
                .iter()
                .all(|one| one.run(&["cluster", "info"]).contains("cluster_state:ok"))
    })
    .await;
    let url = format!("redis+cluster://{},{}", nodes[0], nodes[1]);
    let gateway = Gateway::start(setup(&url, "")).await;
    let caller = caller(&gateway).await;
    for n in 0..60 {
        set(&*caller, &format!("k{n:02}"), n).await.expect("well");
    }
    assert_eq!(
        shown(&gateway).await["nodes"].as_array().map(Vec::len),
        Some(3)
    );
    for server in &servers {
        server.run(&["wait", "1", "1000"]);
    }
    servers[0].kill();
    let mut n_failed = 0;
    for n in 0..60 {
        patiently("its key is found again", async || {
            let got = get(&*caller, &format!("k{n:02}")).await;
            n_failed += u32::from(got.is_err());
            got.is_ok_and(|value| value == n)
        })
        .await;
    }
    figure(&format!(
        "a master of a cluster died: {n_failed} calls of a plugin failed until all keys were found"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_name_the_master() {
    let _machine = share().await;
    let mut master = RedisServer::start(&[]).await;
    let port = master.port.to_string();
    let _replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]).await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        let mut sentinel = RedisServer::prepare(&["sentinel.conf", "--sentinel"]);
        sentinel.write(
            "sentinel.conf",
            &format!(
                "port {}\nbind 127.0.0.1\nrequirepass watch\nsentinel monitor main 127.0.0.1 {port} 2\n\
                 sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n\
                 sentinel sentinel-pass watch\n",
                sentinel.port
            ),
        );
        sentinel.cli = ["-a", "watch"].map(str::to_owned).into();
        sentinel.start_again().await;
        sentinels.push(sentinel);
    }
    patiently("the sentinels know all", async || {
        sentinels.iter().all(|one| {
            let said = one.run(&["sentinel", "master", "main"]);
            said.contains("num-other-sentinels\n2") && said.contains("num-slaves\n1")
        })
    })
    .await;
    let nodes: Vec<_> = sentinels
        .iter()
        .map(|one| format!("127.0.0.1:{}", one.port))
        .collect();
    let url = format!("redis+sentinel://{}/main", nodes.join(","));
    let keys =
        "sentinel-username = \"default\"\nsentinel-password = \"watch\"\nreconnect-max = \"200ms\"";
    let gateway = Gateway::start(setup(&url, keys)).await;
    let caller = caller(&gateway).await;
    set(&*caller, "k", 1).await.expect("well");
    master.run(&["wait", "1", "1000"]);
    master.kill();
    let mut n_failed = 0;
    patiently("another master takes writes", async || {
        let is_set = set(&*caller, "k", 2).await.is_ok();
        n_failed += u32::from(!is_set);
        is_set
    })
    .await;
    assert_eq!(get(&*caller, "k").await.expect("well"), 2);
    figure(&format!(
        "a master that sentinels watch died: {n_failed} calls of a plugin failed"
    ));
}
