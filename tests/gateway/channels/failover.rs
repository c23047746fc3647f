//! Redis is killed, then mosquitto, then both come back, while somebody publishes all the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant},
};

use postern_core::{Call, Handler};
use postern_tests::{Gateway, Mosquitto, RedisServer, Setup, next_event, patiently, session};
use serde_json::Value;

use super::{Observer, carries, pause, publish};
use crate::{figure, share};

/// The brokers of the channel.
struct Brokers {
    redis: RedisServer,
    mosquitto: Mosquitto,
}

impl Brokers {
    /// Neither runs yet.
    fn new() -> Self {
        // What mosquitto has acknowledged for a session that is away it has again after a kill.
        let lines = "allow_anonymous true\nautosave_interval 1\nautosave_on_changes true\n";
        Self {
            redis: RedisServer::prepare(&[]),
            mosquitto: Mosquitto::prepare(lines, &[]),
        }
    }
}

fn setup(brokers: &Brokers, delivery: &str) -> Setup {
    let config = format!(
        "[stores.main]\nurl = \"{}\"\n[bridges.plant]\nurl = \"{}\"\n\
         [channels.orders]\ntopics = [\"orders.>\"]\nprotocols = [\"redis\", \"mqtt\"]\ndirection = \"out\"\n\
         delivery = \"{delivery}\"\nfailover-after = \"500ms\"\nreturn-after = \"3s\"\npublish-timeout = \"30s\"\n",
        brokers.redis.url(),
        brokers.mosquitto.url()
    );
    Setup {
        config,
        ..Setup::default()
    }
}

/// What was published, when, and what became of it.
#[derive(Debug, Default)]
struct Published {
    acknowledged: BTreeMap<u64, Instant>,
    refused: Vec<String>,
    /// The longest time between two acknowledgements.
    longest: Duration,
}

/// Publishes until it is told to stop.
async fn publish_all(gateway: &Gateway, stop: &AtomicBool) -> Published {
    let client = session(gateway).await;
    let (mut published, mut last) = (Published::default(), Instant::now());
    let mut number = 0;
    while !stop.load(Relaxed) {
        match publish(&client, "orders.created", None, number.to_string()).await {
            Ok(()) => {
                let now = Instant::now();
                published.acknowledged.insert(number, now);
                published.longest = published.longest.max(now - last);
                last = now;
            }
            Err(error) => published.refused.push(error.to_string()),
        }
        number += 1;
        pause(2).await;
    }
    published
}

/// Numbers that came, with how often.
fn arrived(observer: &Observer) -> BTreeMap<u64, usize> {
    let mut numbers = BTreeMap::new();
    for (_, line) in observer.lines() {
        if let Some(number) = line["payload"]
            .as_str()
            .and_then(|payload| payload.parse().ok())
        {
            *numbers.entry(number).or_insert(0) += 1;
        }
    }
    numbers
}

/// Kills and revives the brokers in turn; says when each change was.
async fn kill_and_revive(gateway: &Gateway, brokers: &mut Brokers) {
    pause(2000).await;
    brokers.redis.kill();
    carries(gateway, "orders", "bridge plant").await;
    pause(2000).await;
    brokers.mosquitto.kill();
    // Both are away: events wait.
    pause(1500).await;
    brokers.mosquitto.start_again().await;
    carries(gateway, "orders", "bridge plant").await;
    pause(1000).await;
    brokers.redis.start_again().await;
    carries(gateway, "orders", "store main").await;
    pause(2000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_that_works_carries_and_nothing_is_lost_when_brokers_die() {
    let _machine = share().await;
    let mut brokers = Brokers::new();
    brokers.redis.start_again().await;
    brokers.mosquitto.start_again().await;
    let over_redis = Observer::start(&["redis", &brokers.redis.port.to_string()]);
    let over_mqtt = Observer::start(&["mqtt", &brokers.mosquitto.address.port().to_string()]);
    over_redis.first("ready").await;
    over_mqtt.first("ready").await;
    let gateway = Gateway::start(setup(&brokers, "at-least-once")).await;
    let client = session(&gateway).await;
    let mut switches = client.events();
    let subscribe = Call::unary("events", "subscribe", r#"{"topics":["postern.channel.>"]}"#);
    client.call(subscribe).await.expect("subscribed");
    carries(&gateway, "orders", "store main").await;
    let stop = AtomicBool::new(false);
    let publishing = publish_all(&gateway, &stop);
    let changing = async {
        kill_and_revive(&gateway, &mut brokers).await;
        stop.store(true, Relaxed);
    };
    let (published, ()) = tokio::join!(publishing, changing);
    assert_eq!(published.refused, [""; 0], "{}", gateway.log());
    check_course(&published, (&over_redis, &over_mqtt)).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        let event = next_event(&mut switches).await.event;
        assert_eq!(event.topic, "postern.channel.orders.switched");
        let payload: Value = serde_json::from_slice(&event.payload).expect("JSON");
        // The first is that of the start.
        if !payload["from"].is_null() {
            told.push((payload["to"].clone(), payload["lost"].clone()));
        }
    }
    let expected = [("bridge plant", 0), ("store main", 0)];
    let expected = expected.map(|(to, lost)| (Value::from(to), Value::from(lost)));
    assert_eq!(told, expected);
    let metrics = gateway.admin("/metrics").await.expect("answered").1;
    let lost = "postern_channel_events_total{channel=\"orders\",outcome=\"lost\"} 0";
    assert!(metrics.contains(lost), "{lost}");
}

/// Everything arrives, over Redis, then over mosquitto, then over Redis again.
async fn check_course(published: &Published, (over_redis, over_mqtt): (&Observer, &Observer)) {
    let wanted: BTreeSet<_> = published.acknowledged.keys().copied().collect();
    let missing = || {
        let found = [over_redis, over_mqtt].map(arrived);
        let found: BTreeSet<_> = found
            .iter()
            .flat_map(|numbers| numbers.keys().copied())
            .collect();
        wanted.difference(&found).copied().collect::<Vec<_>>()
    };
    patiently("everything arrives", async || missing().is_empty()).await;
    let [redis, mqtt] = [over_redis, over_mqtt].map(arrived);
    let is_twice = |n: &&usize| **n > 1;
    let n_twice = redis.values().chain(mqtt.values()).filter(is_twice).count()
        + redis
            .keys()
            .filter(|number| mqtt.contains_key(number))
            .count();
    // How many there are is the machine's.
    assert!(!redis.is_empty() && !mqtt.is_empty());
    let first = mqtt.keys().next().copied().unwrap_or_default();
    let last = mqtt.keys().last().copied().unwrap_or_default();
    assert!(redis.keys().any(|number| *number < first));
    let n_after = redis.keys().filter(|number| **number > last).count();
    assert!(n_after > 0, "none over Redis again");
    figure(&format!(
        "fallback, at-least-once: {} published while Redis and mosquitto were killed and revived, 0 lost, {n_twice} twice; \
         {} over Redis, {} over mosquitto ({first} to {last}), {n_after} over Redis again; \
         longest wait of a publisher {:.1} s, of which both were away for 1.5 s",
        wanted.len(),
        redis.len(),
        mqtt.len(),
        published.longest.as_secs_f64(),
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_topic_waits_for_its_brokers_over_a_kill_of_the_gateway() {
    let _machine = share().await;
    let mut brokers = Brokers::new();
    brokers.redis.start_again().await;
    let over_mqtt = Observer::start(&["mqtt", &brokers.mosquitto.address.port().to_string()]);
    let mut setup = setup(&brokers, "at-least-once");
    setup
        .config
        .push_str("[topics.\"orders.>\"]\ndelivery = \"at-least-once\"\n");
    let mut gateway = Gateway::start(setup).await;
    carries(&gateway, "orders", "store main").await;
    let client = session(&gateway).await;
    publish(&client, "orders.created", None, "0".to_owned())
        .await
        .expect("stored");
    patiently("it is acknowledged", async || {
        let channels = gateway.admin_json("/channels").await;
        channels["channels"][0]["acknowledged"] == 1
    })
    .await;
    brokers.redis.kill();
    // Both are away: the log has them, and their publisher is answered.
    for number in 1..=50 {
        let stored = publish(&client, "orders.created", None, number.to_string()).await;
        stored.expect("stored");
    }
    gateway.signal("KILL");
    gateway.ended().await;
    brokers.mosquitto.start_again().await;
    over_mqtt.first("ready").await;
    gateway.start_again().await;
    let wanted: BTreeSet<u64> = (1..=50).collect();
    patiently("everything arrives", async || {
        let found: BTreeSet<_> = arrived(&over_mqtt).into_keys().collect();
        wanted.is_subset(&found)
    })
    .await;
    let n_twice = arrived(&over_mqtt).values().filter(|n| **n > 1).count();
    figure(&format!(
        "a channel of a durable topic: 50 published while all brokers were away and the gateway was killed, 0 lost, \
         {n_twice} twice"
    ));
}
