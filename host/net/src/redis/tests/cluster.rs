//! A cluster of three masters, of which one dies under load.

use std::collections::BTreeSet;

use postern_core::{
    Text,
    event::{
        Event, Publisher, TopicPattern,
        broker::EventBroker as _,
        durable::{ConsumerSettings, ConsumerStart, EventLog as _},
    },
};

use super::*;

/// Three masters with a replica each.
struct Cluster(Vec<Server>);

impl Cluster {
    async fn start() -> Self {
        let mut servers = Vec::new();
        for _ in 0..6 {
            let arguments = [
                "--cluster-enabled",
                "yes",
                "--cluster-node-timeout",
                "1000",
                "--appendonly",
                "no",
                "--cluster-replica-validity-factor",
                "0",
            ];
            servers.push(Server::start(&arguments).await);
        }
        let nodes: Vec<_> = servers
            .iter()
            .map(|one| format!("127.0.0.1:{}", one.port))
            .collect();
        let mut command = vec!["--cluster", "create"];
        command.extend(nodes.iter().map(String::as_str));
        command.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        let said = servers[0].run(&command);
        assert!(said.contains("All 16384 slots covered"), "{said}");
        let cluster = Self(servers);
        patiently("every node knows the cluster", async || {
            cluster.0.iter().all(|one| {
                let info = one.run(&["cluster", "info"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")
            })
        })
        .await;
        patiently("every master has its replica", async || {
            let nodes = cluster.0[0].run(&["cluster", "nodes"]);
            nodes.lines().filter(|line| line.contains("slave")).count() == 3
        })
        .await;
        cluster
    }

    fn store(&self, change: impl FnOnce(&mut RedisConfig)) -> Arc<RedisStore> {
        let url = format!(
            "redis+cluster://127.0.0.1:{},127.0.0.1:{}",
            self.0[0].port, self.0[1].port
        );
        store_at(&url, change)
    }

    /// The first that is a master.
    fn master(&mut self) -> &mut Server {
        let is_master = |one: &Server| one.run(&["role"]).starts_with("master");
        let idx = self.0.iter().rposition(is_master).expect("a master");
        &mut self.0[idx]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_lie_on_all_masters_and_one_of_them_may_die() {
    let mut cluster = Cluster::start().await;
    let store = cluster.store(|_| {});
    let keys: Vec<_> = (0..300).map(|n| format!("key{n:03}")).collect();
    for key in &keys {
        put(&store, key, key).await.expect("well");
    }
    assert_eq!(store.snapshot().nodes.len(), 3);
    let listed = store
        .key_values()
        .keys("t", "key", None, 1000)
        .await
        .expect("well");
    assert_eq!(listed, keys);
    // Replicas have them as well before a master dies.
    for server in &cluster.0 {
        server.run(&["wait", "1", "1000"]);
    }
    let (begun, ends) = (clock::now(), Duration::from_secs(20));
    let loads = (0..8).map(|idx: usize| {
        let (store, keys) = (Arc::clone(&store), keys.clone());
        tokio::spawn(async move {
            let (mut n_ok, mut n_failed, mut last_failure) = (0, 0, Duration::ZERO);
            for key in keys.iter().cycle().skip(idx * 37) {
                if clock::since(begun) > ends {
                    break;
                }
                match put(&store, key, key).await {
                    Ok(_) => n_ok += 1,
                    Err(_) => {
                        n_failed += 1;
                        last_failure = clock::since(begun);
                    }
                }
            }
            (n_ok, n_failed, last_failure)
        })
    });
    let loads: Vec<_> = loads.collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let killed = clock::since(begun);
    cluster.master().kill();
    let (mut n_ok, mut n_failed, mut last_failure) = (0, 0, killed);
    for load in loads {
        let (ok, failed, last) = load.await.expect("it ends");
        n_ok += ok;
        n_failed += failed;
        last_failure = last_failure.max(last);
    }
    eprintln!(
        "a master of a cluster dies under load: {n_ok} operations succeeded, {n_failed} failed, the last {:?} \
         after its death",
        last_failure - killed
    );
    for key in &keys {
        assert_eq!(value(&store, key).await.expect("well").as_ref(), Some(key));
    }
}

#[tokio::test]
async fn channels_and_streams_work_over_a_cluster() {
    let cluster = Cluster::start().await;
    let (one, other) = (cluster.store(|_| {}), cluster.store(|_| {}));
    let pattern = TopicPattern::new("a.>").expect("a pattern");
    let mut source = one
        .channels()
        .subscribe(vec![pattern.clone()])
        .await
        .expect("connected");
    let event = |payload: &str| Event {
        topic: Text::from("a.b"),
        headers: postern_core::Headers::new(),
        payload: payload.to_owned().into(),
        publisher: Publisher::default(),
    };
    other.channels().publish(event("told")).await.expect("well");
    assert_eq!(source.next().await.expect("it comes").payload, "told");
    for name in ["x", "y", "z"] {
        let log = one.log(RedisLogConfig::new(name, vec![pattern.clone()]), None);
        log.append(event("kept")).await.expect("well");
        let settings = ConsumerSettings {
            name: "c".into(),
            patterns: vec![pattern.clone()],
            start: ConsumerStart::First,
            ack_wait: Duration::ZERO,
            back_off: Vec::new(),
            deliveries_max: 0,
            in_flight_max: 10,
            is_ordered: true,
        };
        let consumer = log.consumer(settings).await.expect("connected");
        let taken = tokio::time::timeout(PATIENCE, consumer.take(1)).await;
        let taken = taken.expect("it comes").expect("well");
        assert_eq!(
            consumer
                .acknowledge(vec![taken[0].position])
                .await
                .expect("well"),
            1
        );
    }
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let cluster = Cluster::start().await;
    let store = cluster.store(|_| {});
    let keys: Vec<_> = (0..50).map(|n| format!("key{n}")).collect();
    for key in &keys {
        put(&store, key, key).await.expect("well");
    }
    let before: BTreeSet<_> = store.snapshot().nodes.into_iter().collect();
    let first = format!("127.0.0.1:{}", cluster.0[0].port);
    let id = |port: u16| {
        let nodes = cluster.0[0].run(&["cluster", "nodes"]);
        let line = nodes
            .lines()
            .find(|line| line.contains(&format!(":{port}@")))
            .expect("a node");
        line.split(' ').next().expect("an id").to_owned()
    };
    let (from, to) = (id(cluster.0[0].port), id(cluster.0[1].port));
    let said = cluster.0[0].run(&[
        "--cluster",
        "reshard",
        &first,
        "--cluster-from",
        &from,
        "--cluster-to",
        &to,
        "--cluster-slots",
        "4000",
        "--cluster-yes",
    ]);
    for key in &keys {
        assert_eq!(value(&store, key).await.expect(&said).as_ref(), Some(key));
        put(&store, key, key).await.expect("well");
    }
    assert_eq!(before.len(), 3);
    assert!(store.snapshot().counts.repeated > 0);
}
