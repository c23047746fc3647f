//! Brokers that are away, killed in the middle, or forget; queues that are full.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use postern_core::testing::Rng;
use postern_tests::{Gateway, Mosquitto, Setup, patiently};
use tokio::time::sleep;

use super::{Listening, bridged, connected, numbers, publish, publisher, state};
use crate::{figure, share};

/// Of each quality of service.
const KILLS: usize = 25;
/// Comes back at once.
const HASTY: &str = "reconnect-min = \"20ms\"\nreconnect-max = \"100ms\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_broker_that_is_away_goes_out_in_order_once_it_is_back() {
    let _machine = share().await;
    let mut broker = Mosquitto::start().await;
    let keys = format!(
        "{HASTY}queue-messages-max = 5\nwhen-full = \"drop-oldest\"\n\
         [bridges.b.topics.out]\nfilter = \"out/#\"\ndirection = \"out\"\nqos = 1"
    );
    let gateway = bridged(&broker.url(), &keys).await;
    let mut told = Listening::to(&gateway, &["postern.bridge.>"]).await;
    broker.stop().await;
    assert_eq!(told.next().await.topic, "postern.bridge.b.lost");
    let handler = publisher(&gateway).await;
    for number in 0..8 {
        publish(&handler, "out.n", &number.to_string()).await;
    }
    patiently("three are dropped", async || {
        state(&gateway, "b").await["dropped"] == 3
    })
    .await;
    assert_eq!(state(&gateway, "b").await["queued"], 5);
    assert!(gateway.log().contains("the queue of the bridge is full"));
    broker.start_again().await;
    let reading = broker.read("#", &[]).await;
    // The subscriber may have come after the messages.
    patiently("all are acknowledged", async || {
        state(&gateway, "b").await["queued"] == 0
    })
    .await;
    assert_eq!(told.next().await.topic, "postern.bridge.b.connected");
    publish(&handler, "out.n", "last").await;
    reading.all_of(&["last".to_owned()].into()).await;
    let log = broker.log();
    assert_eq!(state(&gateway, "b").await["sent"], 6, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_may_lose_what_comes_instead() {
    let _machine = share().await;
    let mut broker = Mosquitto::start().await;
    // Each message is charged with 256 octets and more.
    let keys = format!(
        "{HASTY}queue-bytes-max = \"64KiB\"\nwhen-full = \"drop-newest\"\n\
         [bridges.b.topics.out]\nfilter = \"out/#\"\ndirection = \"out\""
    );
    let gateway = bridged(&broker.url(), &keys).await;
    broker.stop().await;
    patiently("it is away", async || {
        state(&gateway, "b").await["is_connected"] == false
    })
    .await;
    let handler = publisher(&gateway).await;
    let filler = "x".repeat(20 * 1024);
    for number in 0..5 {
        publish(&handler, "out.n", &format!("{number}{filler}")).await;
    }
    patiently("two are dropped", async || {
        state(&gateway, "b").await["dropped"] == 2
    })
    .await;
    broker.start_again().await;
    patiently("the rest is out", async || {
        state(&gateway, "b").await["sent"] == 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_and_nothing_goes_out_twice_while_connections_break_under_qos_2() {
    let _machine = share().await;
    for version in ["3.1.1", "5"] {
        let broker = Mosquitto::start().await;
        let relay = super::relay::Breaking::start(broker.address).await;
        let url = format!("mqtt://{}", relay.address());
        let keys = format!(
            "{HASTY}version = \"{version}\"\nclean-session = false\nclient-id = \"gw\"\n\
             session-expiry = \"1h\"\nin-flight-max = 8\n\
             [bridges.b.topics.out]\nfilter = \"out/#\"\ndirection = \"out\"\nqos = 2\n\
             [bridges.b.topics.in]\nfilter = \"in/#\"\nqos = 2"
        );
        let gateway = bridged(&url, &keys).await;
        let reading = broker.read("out/#", &["-q", "2"]).await;
        let mut heard = Listening::to(&gateway, &["in.>"]).await;
        let handler = publisher(&gateway).await;
        let n = 400;
        let breaking = async {
            for _ in 0..20 {
                sleep(Duration::from_millis(60)).await;
                relay.cut();
            }
        };
        let sending = async {
            for number in 0..n {
                publish(&handler, "out.n", &number.to_string()).await;
                if number % 40 == 0 {
                    broker.publish("in/n", &number.to_string(), &["-q", "2"]);
                }
                sleep(Duration::from_millis(3)).await;
            }
        };
        tokio::join!(breaking, sending);
        reading.all_of(&numbers(n)).await;
        assert_eq!(reading.messages().len(), n, "doubled over MQTT {version}");
        let (mut came, mut n_came) = (BTreeSet::new(), 0);
        while came.len() < n / 40 {
            came.insert(heard.next().await.payload);
            n_came += 1;
        }
        n_came += heard.all().len();
        // mosquitto 2.0 publishes again what was released, when two connections break one upon the
        // other.
        let n_doubled = n_came - came.len();
        let connects = state(&gateway, "b").await["connects"].clone();
        figure(&format!(
            "bridge, MQTT {version}, QoS 2: {n} out, {} in, over {connects} connections, lost 0, \
             doubled 0 out, {n_doubled} in",
            n / 40
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_killed_gets_everything_that_it_has_not_acknowledged() {
    let _machine = share().await;
    for (qos, seed) in [("1", 1), ("2", 2)] {
        let mut broker = Mosquitto::start().await;
        let keys = format!(
            "{HASTY}queue-messages-max = 1000000\nqueue-bytes-max = \"1GiB\"\nclean-session = false\nclient-id = \"gw\"\n\
             [bridges.b.topics.out]\nfilter = \"out/#\"\ndirection = \"out\"\nqos = {qos}"
        );
        let gateway = bridged(&broker.url(), &keys).await;
        let handler = publisher(&gateway).await;
        let is_over = AtomicBool::new(false);
        let publishing = async {
            let mut n = 0_usize;
            while !is_over.load(Relaxed) {
                publish(&handler, "out.n", &n.to_string()).await;
                n += 1;
            }
            n
        };
        let killing = async {
            let mut random = Rng::new(seed);
            for _ in 0..KILLS {
                sleep(Duration::from_millis(20 + random.below(100))).await;
                broker.kill();
                broker.start_again().await;
            }
            is_over.store(true, Relaxed);
        };
        let (n, ()) = tokio::join!(publishing, killing);
        patiently("everything is acknowledged", async || {
            state(&gateway, "b").await["sent"] == n
        })
        .await;
        assert_eq!(state(&gateway, "b").await["dropped"], 0);
        // What was acknowledged is what the broker has logged as received, killed or not.
        let log = broker.log();
        let received = log
            .lines()
            .filter(|line| line.contains("Received PUBLISH from gw"));
        let n_received = received.count();
        assert!(n_received >= n, "{n_received} of {n} reached the broker");
        figure(&format!(
            "bridge, QoS {qos}, mosquitto killed {KILLS} times: {n} acknowledged, {n_received} received"
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_durable_reaches_the_broker_whoever_is_killed() {
    let _machine = share().await;
    let mut broker = Mosquitto::start().await;
    let reading = broker.read("out/#", &["-q", "1", "-c"]).await;
    let keys = format!(
        "{HASTY}[bridges.b.topics.out]\nfilter = \"out/#\"\ndirection = \"out\"\nqos = 0\n\
         [topics.\"out.>\"]\ndelivery = \"at-least-once\"\n"
    );
    let mut gateway = bridged(&broker.url(), &keys).await;
    let (mut stored, mut next) = (BTreeSet::new(), 0);
    for round in 0..6 {
        if round % 2 == 1 {
            broker.stop().await;
        }
        let handler = publisher(&gateway).await;
        for _ in 0..50 {
            publish(&handler, "out.n", &next.to_string()).await;
            stored.insert(next.to_string());
            next += 1;
        }
        gateway.signal("KILL");
        gateway.ended().await;
        if round % 2 == 1 {
            broker.start_again().await;
        }
        gateway.start_again().await;
        connected(&gateway, "b").await;
    }
    reading.all_of(&stored).await;
    let n_messages = reading.messages().len();
    figure(&format!(
        "bridge, durable topic, gateway killed 6 times: {next} stored, 0 lost, {} doubled",
        n_messages - stored.len()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_to_a_durable_topic_is_kept_whenever_the_gateway_is_killed() {
    let _machine = share().await;
    let broker = Mosquitto::start().await;
    let keys = format!(
        "{HASTY}clean-session = false\nclient-id = \"gw\"\n\
         [bridges.b.topics.one]\nfilter = \"one/#\"\nqos = 1\n\
         [bridges.b.topics.two]\nfilter = \"two/#\"\nqos = 2\n\
         [topics.\">\"]\ndelivery = \"at-least-once\"\n"
    );
    let mut gateway = bridged(&broker.url(), &keys).await;
    let (mut random, mut n) = (Rng::new(3), 0);
    for _ in 0..10 {
        let lines = (n..n + 40).map(|number| format!("{number}\n"));
        let lines: String = lines.collect();
        n += 40;
        let (id, pause) = (gateway.id().to_string(), random.below(30));
        // Publishing takes its thread for itself.
        let killing = tokio::spawn(async move {
            sleep(Duration::from_millis(pause)).await;
            let killed = Command::new("kill").args(["-KILL", &id]).status();
            assert!(killed.expect("kill runs").success());
        });
        broker.publish_lines("one/n", &lines, "2");
        broker.publish_lines("two/n", &lines, "2");
        killing.await.expect("killed");
        gateway.ended().await;
        gateway.start_again().await;
        connected(&gateway, "b").await;
    }
    let wanted = numbers(n);
    for (topic, qos) in [("one.n", 1), ("two.n", 2)] {
        let (came, n_came) = super::kept(&gateway, topic, &wanted).await;
        assert_eq!(came, wanted, "{topic}");
        figure(&format!(
            "bridge in, QoS {qos}, durable topic, gateway killed 10 times: {n} acknowledged by \
             mosquitto, 0 lost, {} doubled",
            n_came - n
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_refuses_of_a_durable_topic_is_a_dead_letter() {
    let _machine = share().await;
    let acl = "topic write out/good\ntopic read #\n".to_owned();
    let lines = "allow_anonymous true\nacl_file ROOT/acl\n";
    let broker = Mosquitto::with(lines, &[("acl", acl)]).await;
    let keys = "[bridges.b.topics.out]\nfilter = \"out/#\"\ndirection = \"out\"\nqos = 1\n\
                [topics.\"out.>\"]\ndelivery = \"at-least-once\"\n";
    let gateway = bridged(&broker.url(), keys).await;
    let mut dead = Listening::to(&gateway, &["postern.>", ">"]).await;
    let handler = publisher(&gateway).await;
    publish(&handler, "out.bad", "no").await;
    publish(&handler, "out.good", "yes").await;
    patiently("both are settled", async || {
        let told = state(&gateway, "b").await;
        told["sent"] == 1 && told["unsent"] == 1
    })
    .await;
    patiently("the dead letter is told", async || {
        let all = dead.all();
        all.iter()
            .any(|one| one.topic.contains("dead") && one.payload == "no")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_kept_brings_what_came_while_the_gateway_was_away() {
    let _machine = share().await;
    for (version, is_clean) in [("3.1.1", false), ("5", false), ("5", true)] {
        let broker = Mosquitto::start().await;
        let session = match is_clean {
            true => "clean-session = true".to_owned(),
            false => "clean-session = false\nsession-expiry = \"1h\"".to_owned(),
        };
        let mut keys = format!("{HASTY}version = \"{version}\"\nclient-id = \"gw\"\n{session}\n");
        let _ = writeln!(keys, "[bridges.b.topics.in]\nfilter = \"in/#\"\nqos = 1");
        let mut gateway = bridged(&broker.url(), &keys).await;
        gateway.signal("KILL");
        gateway.ended().await;
        for number in 0..5 {
            broker.publish("in/n", &number.to_string(), &["-q", "1"]);
        }
        gateway.start_again().await;
        connected(&gateway, "b").await;
        broker.publish("in/n", "last", &["-q", "1"]);
        let expected = if is_clean { 1 } else { 6 };
        patiently("what is to come has come", async || {
            state(&gateway, "b").await["taken"] == expected
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_configuration_touches_the_bridge_that_changed_and_no_other() {
    let _machine = share().await;
    let broker = Mosquitto::start().await;
    let bridge = |name: &str, filter: &str| {
        format!(
            "[bridges.{name}]\nurl = \"{}\"\n[bridges.{name}.topics.t]\nfilter = \"{filter}\"\n\
             direction = \"out\"\n",
            broker.url()
        )
    };
    let gateway = Gateway::start(Setup {
        config: bridge("one", "one/#") + &bridge("two", "two/#"),
        ..Setup::default()
    })
    .await;
    connected(&gateway, "one").await;
    connected(&gateway, "two").await;
    let path = gateway.folder().join("postern.toml");
    let config = std::fs::read_to_string(&path).expect("readable");
    let config = config.replace("filter = \"two/#\"", "filter = \"second/#\"");
    std::fs::write(&path, config + &bridge("three", "three/#")).expect("writable");
    connected(&gateway, "three").await;
    connected(&gateway, "two").await;
    let reading = broker.read("#", &[]).await;
    let handler = publisher(&gateway).await;
    for topic in ["one.x", "two.x", "second.x", "three.x"] {
        publish(&handler, topic, topic).await;
    }
    let wanted = ["one.x", "second.x", "three.x"].map(str::to_owned);
    reading.all_of(&wanted.into()).await;
    assert_eq!(reading.messages().len(), 3);
    assert_eq!(state(&gateway, "one").await["connects"], 1);
    let metrics = gateway.admin("/metrics").await.expect("answers").1;
    let told = "postern_bridge_messages_total{bridge=\"one\",direction=\"out\",outcome=\"acknowledged\"} 1";
    assert!(metrics.contains(told), "{metrics}");
}
