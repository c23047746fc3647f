//! Claims about the service as its callers see it, and about handlers of plugins.

use std::time::{Duration, Instant};

use postern_core::{
    Origin,
    event::{Outbox, Push},
};
use postern_system::clock;
use tokio::sync::mpsc;

use super::*;

/// A session that keeps what is attached to it.
#[derive(Default)]
struct Session(Mutex<Vec<Subscription>>);

impl Push for Session {
    fn attach(&self, subscription: Subscription) -> Result<(), Error> {
        self.0.lock().push(subscription);
        Ok(())
    }
}

/// Tells its test what it is told, and fails on topic `bad`.
struct Told(mpsc::UnboundedSender<(String, u8)>);

impl EventHandler for Told {
    fn on_event(&self, event: Event) -> BoxFuture<Result<(), Error>> {
        let is_bad = event.topic == "bad";
        let _ = self
            .0
            .send((event.topic.to_string(), event.publisher.depth));
        Box::pin(async move {
            if is_bad {
                return Err(Error::internal("as asked"));
            }
            Ok(())
        })
    }
}

fn events() -> EventService {
    EventService::new(HubConfig::default(), Path::new("."))
}

/// A caller of the name `session`, whose events go to `outbox`.
fn caller(session: &str, outbox: Outbox) -> Context {
    let peer = Peer::new(Transport::Memory, Origin::Local);
    Context {
        peer: Arc::new(peer.with_session(session)),
        outbox,
        ..Context::default()
    }
}

fn call(method: &str, body: &str, caller: &Context) -> Call {
    let mut call = Call::unary("events", method.to_owned(), body.to_owned());
    call.context = caller.clone();
    call
}

async fn answered(events: &EventService, call: Call) -> Result<String, Kind> {
    let reply = events.call(call).await.map_err(|error| error.kind)?;
    let body = reply.body.into_one(usize::MAX).await.expect("one message");
    Ok(String::from_utf8(body.into()).expect("text"))
}

fn nobody() -> Context {
    caller("", Outbox::closed())
}

fn patterns(texts: &[&str]) -> Vec<TopicPattern> {
    let pattern = |text: &&str| TopicPattern::new(text).expect("a pattern");
    texts.iter().map(pattern).collect()
}

#[tokio::test]
async fn a_session_subscribes_gets_events_and_unsubscribes() {
    let events = events();
    let session = Arc::new(Session::default());
    let subscriber = caller("s1", Outbox::new(Arc::clone(&session) as _));
    let message = r#"{"topics":["user.*","order.>"]}"#;
    let reply = answered(&events, call("subscribe", message, &subscriber)).await;
    assert_eq!(reply, Ok(r#"{"subscription":"1"}"#.to_owned()));
    let event = r#"{"topic":"order.paid.late","payload":{"id":1}}"#;
    let reply = answered(&events, call("publish", event, &nobody())).await;
    assert_eq!(reply, Ok(r#"{"subscribers":1}"#.to_owned()));
    let mut subscription = session.0.lock().pop().expect("attached");
    let delivery = subscription.next().await.expect("an event");
    assert_eq!(delivery.event.payload, r#"{"id":1}"#);
    let ending = r#"{"subscription":"1"}"#;
    let other = caller("s2", Outbox::closed());
    let others = answered(&events, call("unsubscribe", ending, &other)).await;
    assert_eq!(others, Err(Kind::NotFound));
    let own = answered(&events, call("unsubscribe", ending, &subscriber)).await;
    assert_eq!(own, Ok("{}".to_owned()));
    assert!(subscription.next().await.is_none());
}

#[tokio::test]
async fn a_call_with_a_topic_in_its_header_publishes_its_message_as_it_is() {
    let events = events();
    let owner = Text::from("o");
    let mut subscription = events
        .hub()
        .subscribe(&owner, patterns(&[">"]), None)
        .expect("room");
    let mut call = call("publish", "no JSON", &nobody());
    for (key, value) in [("event-type", "a.b"), ("content-type", "text/plain")] {
        call.headers.push(key, value).expect("short");
    }
    assert_eq!(
        answered(&events, call).await,
        Ok(r#"{"subscribers":1}"#.to_owned())
    );
    let delivery = subscription.next().await.expect("an event");
    assert_eq!(
        (&*delivery.event.topic, &delivery.event.payload[..]),
        ("a.b", &b"no JSON"[..])
    );
    let line = r#"{"topic":"a.b","content-type":"text/plain","payload":"no JSON"}"#;
    assert_eq!(to_line(&delivery), line);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_session_the_reply_is_a_stream_that_ends_with_the_deadline() {
    let events = events();
    let mut call = call("subscribe", r#"{"topics":["a"]}"#, &nobody());
    let now: Instant = clock::now();
    call.context.deadline = Some(now + Duration::from_secs(3));
    let reply = events.call(call).await.expect("subscribed");
    let Body::Messages(mut lines) = reply.body else {
        panic!("not a stream")
    };
    let publisher = nobody();
    let published = self::call("publish", r#"{"topic":"a","payload":1}"#, &publisher);
    assert!(answered(&events, published).await.is_ok());
    let line = lines.next().await.expect("a line").expect("no error");
    assert_eq!(
        line,
        r#"{"topic":"a","content-type":"application/json","payload":1}"#
    );
    assert!(lines.next().await.is_none());
    assert_eq!(now + Duration::from_secs(3), clock::now());
    drop(lines);
    assert_eq!(events.view().subscriptions.len(), 0);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let events = events();
    let check = async |method: &str, body: &str, expected: Kind| {
        let found = answered(&events, call(method, body, &nobody())).await;
        assert_eq!(found, Err(expected), "{method} {body}");
    };
    check("subscribe", "{}", Kind::InvalidArgument).await;
    check("subscribe", r#"{"topics":[]}"#, Kind::InvalidArgument).await;
    check("subscribe", r#"{"topics":["a..b"]}"#, Kind::InvalidArgument).await;
    check(
        "subscribe",
        r#"{"topics":["a"],"x":1}"#,
        Kind::InvalidArgument,
    )
    .await;
    check(
        "publish",
        r#"{"topic":"a.*","payload":1}"#,
        Kind::InvalidArgument,
    )
    .await;
    check("unsubscribe", r#"{"subscription":"1"}"#, Kind::NotFound).await;
    check("peek", "{}", Kind::Unimplemented).await;
}

#[tokio::test]
async fn a_plugin_is_told_by_its_handler_and_not_by_a_call() {
    let events = events();
    let peer = Peer::new(Transport::Plugin, Origin::Local).with_session("users");
    let caller = Context {
        peer: Arc::new(peer),
        ..Context::default()
    };
    let refused = answered(&events, call("subscribe", r#"{"topics":["a"]}"#, &caller)).await;
    assert_eq!(refused, Err(Kind::FailedPrecondition));

    let (told, mut heard) = mpsc::unbounded_channel();
    let handler = Arc::new(Told(told));
    let name = Text::from("users");
    let listener = events.subscribe_handler(&name, patterns(&["*"]), handler, None);
    let listener = listener.expect("room");
    for topic in ["a", "bad", "b"] {
        let event = format!(r#"{{"topic":"{topic}","payload":1}}"#);
        assert!(
            answered(&events, call("publish", &event, &nobody()))
                .await
                .is_ok()
        );
    }
    for topic in ["a", "bad", "b"] {
        assert_eq!(heard.recv().await, Some((topic.to_owned(), 0)));
    }
    drop(listener);
    assert_eq!(heard.recv().await, None);
    let totals = events.numbers().totals;
    assert_eq!((totals.delivered, totals.subscriptions), (3, 0));
    assert!(events.numbers().plugins.is_empty());
}

#[tokio::test]
async fn a_handlers_failures_are_counted() {
    let events = events();
    let (told, mut heard) = mpsc::unbounded_channel();
    let name = Text::from("users");
    let listener = events
        .subscribe_handler(&name, patterns(&[">"]), Arc::new(Told(told)), None)
        .expect("room");
    for topic in ["bad", "a"] {
        let event = format!(r#"{{"topic":"{topic}","payload":1}}"#);
        assert!(
            answered(&events, call("publish", &event, &nobody()))
                .await
                .is_ok()
        );
        heard.recv().await.expect("told");
    }
    // The second was told, so the first is over.
    let numbers = events.numbers();
    let [(plugin, of_plugin)] = &numbers.plugins[..] else {
        panic!("{numbers:?}")
    };
    assert_eq!(
        (&**plugin, of_plugin.failed, of_plugin.counts.delivered),
        ("users", 1, 2)
    );
    drop(listener);
}

#[tokio::test]
async fn ending_all_ends_streams() {
    let events = events();
    let subscribing = call("subscribe", r#"{"topics":["a"]}"#, &nobody());
    let reply = events.call(subscribing).await.expect("subscribed");
    let Body::Messages(mut lines) = reply.body else {
        panic!("not a stream")
    };
    events.end_all();
    assert!(lines.next().await.is_none());
}

/// Keeps the events of `t.>` in a folder of its own.
async fn durable_events() -> (tempfile::TempDir, EventService) {
    let folder = tempfile::TempDir::new().expect("a folder");
    let text = "[topics.\"t.>\"]\ndelivery = \"at-least-once\"\nback-off = [\"0s\"]\n";
    let parsed = crate::config::parse("postern.toml", text, &std::collections::BTreeMap::new());
    let (config, _) = parsed.expect("a configuration");
    let events = EventService::new(HubConfig::default(), folder.path());
    let logs = events.topics().prepare(&config).await.expect("opened");
    events.topics().apply(logs);
    (folder, events)
}

/// Fails on the first delivery of each event, and tells all of them.
struct FailsFirst(mpsc::UnboundedSender<(Bytes, String)>);

impl EventHandler for FailsFirst {
    fn on_event(&self, event: Event) -> BoxFuture<Result<(), Error>> {
        let deliveries = event.headers.get_str("deliveries").map(|n| n.into_owned());
        let deliveries = deliveries.unwrap_or_default();
        let is_first = deliveries == "1";
        let _ = self.0.send((event.payload, deliveries));
        Box::pin(async move {
            match is_first {
                true => Err(Error::internal("as asked")),
                false => Ok(()),
            }
        })
    }
}

#[tokio::test]
async fn a_handler_of_a_durable_topic_gets_again_what_it_failed_at_and_nothing_twice() {
    let (_folder, events) = durable_events().await;
    let (told, mut heard) = mpsc::unbounded_channel();
    let name = Text::from("users");
    let handler = Arc::new(FailsFirst(told));
    let listener = events.subscribe_handler(&name, patterns(&["t.*"]), handler, None);
    let listener = listener.expect("room");
    for n in ["1", "2"] {
        let event = format!(r#"{{"topic":"t.a","payload":{n}}}"#);
        let stored = answered(&events, call("publish", &event, &nobody())).await;
        assert_eq!(stored, Ok(r#"{"subscribers":1}"#.to_owned()));
    }
    for (payload, deliveries) in [("1", "1"), ("1", "2"), ("2", "1"), ("2", "2")] {
        let (found, n) = heard.recv().await.expect("told");
        assert_eq!((&found[..], &*n), (payload.as_bytes(), deliveries));
    }
    assert_eq!(events.numbers().plugins.len(), 1);
    drop(listener);
    assert!(heard.recv().await.is_none());
    events.topics().close().await;
}

#[tokio::test]
async fn a_session_acknowledges_what_it_got_under_its_durable_name() {
    let (_folder, events) = durable_events().await;
    let session = Arc::new(Session::default());
    let subscriber = caller("s1", Outbox::new(Arc::clone(&session) as _));
    let wish = r#"{"topics":["t.*"],"durable":"billing"}"#;
    let reply = answered(&events, call("subscribe", wish, &subscriber)).await;
    assert_eq!(reply, Ok(r#"{"subscription":"1"}"#.to_owned()));
    let mut subscription = session.0.lock().pop().expect("attached");
    let event = r#"{"topic":"t.a","payload":1}"#;
    assert!(
        answered(&events, call("publish", event, &nobody()))
            .await
            .is_ok()
    );
    let delivery = subscription.next().await.expect("an event");
    let id = delivery.event.headers.get_str("delivery");
    assert_eq!(id.as_deref(), Some("1-0-1"));
    let message = r#"{"deliveries":["1-0-1"]}"#;
    let stolen = call("acknowledge", message, &caller("s2", Outbox::closed()));
    assert_eq!(answered(&events, stolen).await, Err(Kind::NotFound));
    let own = call("acknowledge", message, &subscriber);
    assert_eq!(
        answered(&events, own).await,
        Ok(r#"{"acknowledged":1}"#.to_owned())
    );
    drop(subscription);
    let mut infos = events.topics().infos().await;
    let info = infos.remove(0).1.expect("there");
    assert_eq!(info.consumers[0].name, "billing");
    assert_eq!(info.consumers[0].acknowledged.0, 1);
    events.topics().close().await;
}
