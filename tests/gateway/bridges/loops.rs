//! Events that could go round for ever, and do not.

use std::time::Duration;

use postern_tests::{Gateway, Mosquitto, Setup, patiently};
use tokio::time::sleep;

use super::{Listening, connected, publish, publisher, state};
use crate::share;

/// Long enough for a loop to show itself a hundred times.
const WHILE: Duration = Duration::from_millis(800);

fn both_ways(name: &str, url: &str, version: &str) -> String {
    format!(
        "[bridges.{name}]\nurl = \"{url}\"\nversion = \"{version}\"\n\
         [bridges.{name}.topics.all]\nfilter = \"t/#\"\ndirection = \"both\"\nqos = 1\n"
    )
}

async fn gateway(config: String, bridges: &[&str]) -> Gateway {
    let gateway = Gateway::start(Setup {
        config,
        ..Setup::default()
    })
    .await;
    for bridge in bridges {
        connected(&gateway, bridge).await;
    }
    gateway
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_that_exchange_everything_over_one_broker_hear_each_event_once() {
    let _machine = share().await;
    for versions in [["5", "5"], ["3.1.1", "3.1.1"], ["5", "3.1.1"]] {
        let broker = Mosquitto::start().await;
        let url = broker.url();
        let first = gateway(both_ways("b", &url, versions[0]), &["b"]).await;
        let second = gateway(both_ways("b", &url, versions[1]), &["b"]).await;
        let mut heard = [
            Listening::to(&first, &["t.>"]).await,
            Listening::to(&second, &["t.>"]).await,
        ];
        let reading = broker.read("t/#", &[]).await;
        publish(&publisher(&first).await, "t.x", "from the first").await;
        publish(&publisher(&second).await, "t.x", "from the second").await;
        broker.publish("t/x", "from a device", &[]);
        reading.at_least(3).await;
        sleep(WHILE).await;
        let expected = ["from a device", "from the first", "from the second"];
        for heard in &mut heard {
            let mut payloads: Vec<_> = heard.all().into_iter().map(|one| one.payload).collect();
            payloads.sort_unstable();
            assert_eq!(payloads, expected, "{versions:?}");
        }
        assert_eq!(reading.messages().len(), 3, "{versions:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_goes_round_a_ring_of_brokers_and_gateways_once() {
    let _machine = share().await;
    let (one, other) = (Mosquitto::start().await, Mosquitto::start().await);
    let ring = || both_ways("one", &one.url(), "5") + &both_ways("other", &other.url(), "5");
    let first = gateway(ring(), &["one", "other"]).await;
    let _second = gateway(ring(), &["one", "other"]).await;
    let mut heard = Listening::to(&first, &["t.>"]).await;
    let (at_one, at_other) = (one.read("t/#", &[]).await, other.read("t/#", &[]).await);
    publish(&publisher(&first).await, "t.x", "once").await;
    at_one.at_least(1).await;
    at_other.at_least(1).await;
    sleep(WHILE).await;
    let n_heard = heard.all().len();
    assert_eq!(n_heard, 1, "its own event came back");
    // From the first gateway, and from the second, which had it over the other broker.
    for reading in [&at_one, &at_other] {
        let n = reading.messages().len();
        assert!(n <= 2, "{n} copies");
    }
    let looped = async |bridge| state(&first, bridge).await["looped"].as_u64();
    let n_looped = looped("one").await.unwrap_or(0) + looped("other").await.unwrap_or(0);
    assert!(n_looped > 0, "nothing was kept out");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_crosses_no_more_bridges_than_hops_max() {
    let _machine = share().await;
    let broker = Mosquitto::start().await;
    let config = format!(
        "[bridges.b]\nurl = \"{}\"\nhops-max = 2\n[bridges.b.topics.in]\nfilter = \"t/#\"\n",
        broker.url()
    );
    let gateway = gateway(config, &["b"]).await;
    let mut heard = Listening::to(&gateway, &["t.>"]).await;
    let via = |list: &'static str| {
        [
            "-V",
            "5",
            "-D",
            "publish",
            "user-property",
            "event-via",
            list,
        ]
    };
    broker.publish("t/x", "far", &via("1/a,2/b"));
    broker.publish("t/x", "near", &via("1/a"));
    assert_eq!(heard.next().await.payload, "near");
    patiently("the other is counted", async || {
        state(&gateway, "b").await["looped"] == 1
    })
    .await;
}
