//! Channels over brokers that do as they are told, in virtual time.

mod double;

use std::{collections::BTreeMap, time::Duration};

use postern_core::{
    Call, Headers, Kind, Retry,
    channel::EVENT_CHANNEL,
    event::{Hub, HubConfig, Publisher, TopicPattern, broker::EventBroker, durable::EventLog},
};
use tokio::sync::watch;

use self::double::{Behaviour, Double};
use super::*;
use crate::config::{ChannelDeliveryWord, ChannelMember, parse};

/// A hub alone.
struct HubEvents(Hub);

impl ChannelEvents for HubEvents {
    fn publish(&self, event: Event) -> BoxFuture<Result<u32, Error>> {
        Box::pin(std::future::ready(self.0.publish(event)))
    }

    fn publish_own(&self, event: Event) {
        self.0.publish_own(event).expect("published");
    }

    fn hub(&self) -> &Hub {
        &self.0
    }

    fn logs(&self, _: &[TopicPattern]) -> Vec<(String, Arc<dyn EventLog>)> {
        Vec::new()
    }

    fn changes(&self) -> watch::Receiver<()> {
        watch::channel(()).1
    }
}

/// A channel over two brokers.
struct Fixture {
    brokers: [Arc<Double>; 2],
    running: Running,
    hub: Hub,
}

impl Fixture {
    fn new(delivery: ChannelDeliveryWord) -> Self {
        Self::with("", delivery)
    }

    /// With further keys.
    fn with(keys: &str, delivery: ChannelDeliveryWord) -> Self {
        let text = format!(
            "[channels.orders]\nvia = [{{ url = \"vstp://h:1\" }}]\ntopics = [\"orders.>\"]\n\
             failover-after = \"1s\"\nreturn-after = \"10s\"\npublish-timeout = \"30s\"\n{keys}"
        );
        let (config, _) = parse("f", &text, &BTreeMap::new()).expect("a configuration");
        let mut settings = config.channels.get("orders").expect("there").clone();
        settings.delivery = delivery;
        let brokers = [Double::new(), Double::new()];
        let members = brokers.iter().enumerate().map(|(index, broker)| {
            let source = ChannelMember::Store(format!("s{index}"));
            Member::new(&source, Arc::clone(broker) as Arc<dyn EventBroker>)
        });
        let hub = Hub::new(HubConfig::default());
        let events = Arc::new(HubEvents(hub.clone()));
        let channels = Channels::new(events, Arc::new(NoBrokers), Arc::default());
        let running = channels.begin("orders", &settings, members.collect());
        Self {
            brokers,
            running,
            hub,
        }
    }

    fn channel(&self) -> Arc<EventChannel> {
        Arc::clone(&self.running.channel)
    }

    fn publish(&self, n: u32) -> tokio::task::JoinHandle<Result<(), Error>> {
        let channel = self.channel();
        tokio::spawn(async move {
            channel
                .publish(event("orders.created", &n.to_string()))
                .await
        })
    }

    fn payloads(&self) -> [Vec<String>; 2] {
        self.brokers.each_ref().map(|broker| broker.payloads())
    }
}

struct NoBrokers;

impl BrokerSource for NoBrokers {
    fn store(&self, _: &str) -> Option<Arc<dyn EventBroker>> {
        None
    }

    fn bridge(&self, _: &str) -> Option<Arc<dyn EventBroker>> {
        None
    }
}

fn event(topic: &str, payload: &str) -> Event {
    Event {
        topic: topic.into(),
        headers: Headers::new(),
        payload: payload.to_owned().into(),
        publisher: Publisher::default(),
    }
}

fn text(octets: &[u8]) -> String {
    String::from_utf8(octets.to_vec()).expect("text")
}

async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[tokio::test(start_paused = true)]
async fn at_least_once_what_broke_is_sent_again_over_the_next_in_order() {
    let fixture = Fixture::new(ChannelDeliveryWord::AtLeastOnce);
    pass(100).await;
    fixture
        .publish(1)
        .await
        .expect("ends")
        .expect("acknowledged");
    fixture.brokers[0].behave(Behaviour::Breaks);
    let published = [2, 3, 4].map(|n| fixture.publish(n));
    pass(900).await;
    assert!(published.iter().all(|publishing| !publishing.is_finished()));
    pass(300).await;
    for publishing in published {
        publishing
            .await
            .expect("ends")
            .expect("acknowledged by the next");
    }
    let [first, second] = fixture.payloads();
    assert_eq!(first.first().map(String::as_str), Some("1"));
    assert_eq!(second, ["2", "3", "4"]);
    let view = fixture.channel().view();
    assert_eq!((view.counts.switches, view.counts.lost), (2, 0));
    assert_eq!(view.current.as_deref(), Some("store s1"));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_silent_is_left_and_the_better_one_carries_again_when_it_is_well() {
    let fixture = Fixture::new(ChannelDeliveryWord::AtLeastOnce);
    pass(100).await;
    fixture.brokers[0].behave(Behaviour::Hangs);
    let publishing = fixture.publish(1);
    pass(1900).await;
    assert_eq!(fixture.payloads(), [vec!["1"], vec![]]);
    pass(200).await;
    publishing.await.expect("ends").expect("acknowledged");
    assert_eq!(fixture.payloads(), [vec!["1"], vec!["1"]]);
    fixture.brokers[0].behave(Behaviour::Acknowledges);
    // Well when nothing has failed for 10 s, and back after 10 s more.
    pass(18_000).await;
    assert_eq!(
        fixture.channel().view().current.as_deref(),
        Some("store s1")
    );
    pass(1100).await;
    assert_eq!(
        fixture.channel().view().current.as_deref(),
        Some("store s0")
    );
}

#[tokio::test(start_paused = true)]
async fn at_most_once_nothing_is_sent_twice_and_what_was_lost_is_counted() {
    let fixture = Fixture::new(ChannelDeliveryWord::AtMostOnce);
    pass(100).await;
    fixture.brokers[0].behave(Behaviour::Breaks);
    for n in 1..=3 {
        fixture
            .hub
            .publish(event("orders.created", &n.to_string()))
            .expect("published");
        pass(10).await;
    }
    pass(1200).await;
    // The first broke with its connection; the others had not left.
    assert_eq!(fixture.payloads(), [vec!["1"], vec!["2", "3"]]);
    let counts = fixture.channel().view().counts;
    assert_eq!((counts.lost, counts.acknowledged), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_publisher_is_told_when_no_broker_takes_its_event_in_time() {
    let fixture = Fixture::new(ChannelDeliveryWord::AtLeastOnce);
    for broker in &fixture.brokers {
        broker.connect(false);
    }
    let publishing = fixture.publish(1);
    pass(29_900).await;
    assert!(!publishing.is_finished());
    pass(200).await;
    let error = publishing.await.expect("ends").expect_err("no broker");
    assert_eq!(error.kind, Kind::Unavailable);
    assert_eq!(
        error.message,
        "no broker of channel orders took the event within 30s (publish-timeout)"
    );
    // One that came in time is sent when a broker is there.
    let publishing = fixture.publish(2);
    pass(5000).await;
    fixture.brokers[1].connect(true);
    pass(100).await;
    publishing.await.expect("ends").expect("acknowledged");
}

#[tokio::test(start_paused = true)]
async fn what_a_broker_refuses_for_what_it_is_goes_to_no_other() {
    let fixture = Fixture::new(ChannelDeliveryWord::AtLeastOnce);
    pass(100).await;
    fixture.brokers[0].behave(Behaviour::Refuses);
    let error = fixture
        .publish(1)
        .await
        .expect("ends")
        .expect_err("refused");
    assert_eq!(error.kind, Kind::InvalidArgument);
    pass(2000).await;
    assert_eq!(fixture.payloads(), [vec!["1"], vec![]]);
    assert_eq!(
        fixture.channel().view().current.as_deref(),
        Some("store s0")
    );
}

#[tokio::test(start_paused = true)]
async fn events_come_in_over_all_brokers_once_and_do_not_go_out_again() {
    let fixture = Fixture::new(ChannelDeliveryWord::AtMostOnce);
    let pattern = TopicPattern::new("orders.>").expect("a pattern");
    let mut subscription = fixture
        .hub
        .subscribe(&"test".into(), vec![pattern], None)
        .expect("subscribed");
    pass(100).await;
    let mut known = event("orders.created", "a");
    known.headers.push("event-id", "7").expect("short");
    fixture.brokers[1].bring(&known);
    fixture.brokers[0].bring(&known);
    fixture.brokers[1].bring(&event("orders.created", "b"));
    // Of the gateway's own topics and of others nothing is taken.
    fixture.brokers[1].bring(&event("postern.channel.orders.switched", "c"));
    fixture.brokers[1].bring(&event("users.created", "d"));
    pass(100).await;
    for expected in ["a", "b"] {
        let event = subscription.next().await.expect("an event").event;
        assert_eq!(text(&event.payload), expected);
        let channel = event.headers.get_str(EVENT_CHANNEL);
        assert_eq!(channel.as_deref(), Some("orders"));
    }
    assert_eq!(fixture.payloads(), [vec![""; 0], vec![""; 0]]);
    let counts = fixture.channel().view().counts;
    assert_eq!((counts.received, counts.duplicates), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_does_not_come_back_though_the_broker_gives_it_back() {
    let fixture = Fixture::new(ChannelDeliveryWord::AtMostOnce);
    pass(200).await;
    let published = event("orders.created", "1");
    fixture.hub.publish(published.clone()).expect("published");
    pass(100).await;
    // The same payload of somebody else is not ours.
    fixture.brokers[0].bring(&published);
    pass(100).await;
    let counts = fixture.channel().view().counts;
    assert_eq!(
        (counts.acknowledged, counts.duplicates, counts.received),
        (1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_change_of_brokers_is_told_as_an_event() {
    let fixture = Fixture::new(ChannelDeliveryWord::AtMostOnce);
    let pattern = TopicPattern::new("postern.channel.*.switched").expect("a pattern");
    let mut subscription = fixture
        .hub
        .subscribe(&"test".into(), vec![pattern], None)
        .expect("subscribed");
    pass(100).await;
    fixture.brokers[0].connect(false);
    pass(1100).await;
    for (from, to) in [(None, "store s0"), (Some("store s0"), "store s1")] {
        let event = subscription.next().await.expect("told").event;
        assert_eq!(event.topic, "postern.channel.orders.switched");
        let told: serde_json::Value = serde_json::from_slice(&event.payload).expect("JSON");
        assert_eq!(told["channel"], "orders");
        assert_eq!(told["from"].as_str(), from);
        assert_eq!(told["to"], to);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_goes_on_to_the_next_only_where_nothing_began() {
    let fixture = Fixture::new(ChannelDeliveryWord::AtMostOnce);
    pass(100).await;
    let service = ChannelService::new(fixture.channel());
    let call = || postern_core::Handler::call(&service, Call::unary("s", "m", "{}"));
    call().await.expect("answered");
    // Lost before the next look at it.
    fixture.brokers[0].connect(false);
    call().await.expect("answered by the next");
    fixture.brokers[0].connect(true);
    fixture.brokers[1].behave(Behaviour::Breaks);
    fixture.brokers[0].behave(Behaviour::Breaks);
    pass(100).await;
    let error = call().await.expect_err("it may have begun");
    assert_eq!(error.retry, Retry::IfIdempotent);
    let n_calls = fixture
        .brokers
        .each_ref()
        .map(|broker| broker.state.lock().n_calls);
    assert_eq!(n_calls, [3, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_and_what_waits_is_bounded() {
    let keys = "in-flight-max = 2\nqueue-max = 3";
    let fixture = Fixture::with(keys, ChannelDeliveryWord::AtLeastOnce);
    pass(100).await;
    fixture.brokers[0].behave(Behaviour::Hangs);
    fixture.brokers[1].connect(false);
    let mut published = Vec::new();
    for n in 1..=9 {
        published.push(fixture.publish(n));
        pass(1).await;
    }
    pass(500).await;
    assert_eq!(fixture.payloads()[0], ["1", "2"], "two are in flight");
    // Two in flight, three that wait, three on their way to the task: one more is refused.
    let refused = published
        .into_iter()
        .filter(tokio::task::JoinHandle::is_finished);
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 1);
    for refused in refused {
        let error = refused.await.expect("ends").expect_err("refused");
        assert_eq!(error.kind, Kind::ResourceExhausted);
        assert_eq!(
            error.message,
            "3 events wait in channel orders, which is its limit (queue-max)"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_direction_alone_neither_sends_nor_takes_the_other() {
    let keys = "direction = \"in\"";
    let fixture = Fixture::with(keys, ChannelDeliveryWord::AtMostOnce);
    pass(100).await;
    fixture
        .hub
        .publish(event("orders.created", "1"))
        .expect("published");
    fixture.brokers[1].bring(&event("orders.created", "2"));
    pass(100).await;
    let counts = fixture.channel().view().counts;
    assert_eq!((counts.acknowledged, counts.received), (0, 1));
    let keys = "direction = \"out\"";
    let fixture = Fixture::with(keys, ChannelDeliveryWord::AtMostOnce);
    pass(100).await;
    fixture
        .hub
        .publish(event("orders.created", "1"))
        .expect("published");
    pass(100).await;
    assert_eq!(fixture.payloads()[0], ["1"]);
    assert!(
        fixture
            .brokers
            .iter()
            .all(|broker| broker.state.lock().sources.is_empty())
    );
}

#[tokio::test(start_paused = true)]
async fn ids_are_kept_as_many_and_as_long_as_the_keys_say() {
    let came_in = async |keys: &str, pause_ms: u64| {
        let fixture = Fixture::with(keys, ChannelDeliveryWord::AtMostOnce);
        pass(100).await;
        for id in ["1", "2", "1"] {
            let mut event = event("orders.created", "a");
            event.headers.push("event-id", id).expect("short");
            fixture.brokers[0].bring(&event);
            pass(pause_ms).await;
        }
        fixture.channel().view().counts.received
    };
    assert_eq!(came_in("", 10).await, 2);
    assert_eq!(came_in("duplicates-max = 1", 10).await, 3);
    assert_eq!(came_in("duplicates-max = 0", 10).await, 3);
    assert_eq!(came_in("duplicates-age = \"1s\"", 600).await, 3);
}
