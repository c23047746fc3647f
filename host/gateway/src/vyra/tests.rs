//! Functions and peers over a Redis in memory, in virtual time.

mod memory_redis;

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use bytes::Bytes;
use postern_core::{
    Body, BodyStream, BoxFuture, Call, Error, Headers, Kind, Reply,
    event::{Event, Hub, HubConfig, Publisher, TopicPattern, durable::EventLog},
    vyra::{VyraCancel, VyraGoal, VyraRequest},
};
use postern_system::clock;
use tokio::sync::mpsc;

use self::memory_redis::MemoryRedis;
use super::*;
use crate::config::parse;

/// Answers by method.
struct Service;

impl Handler for Service {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        Box::pin(async move {
            match call.method.as_str() {
                "calculate" => {
                    assert_eq!(call.service, "math");
                    let body = call.body.into_one(1024).await?;
                    Ok(Reply::one(
                        [b"{\"result\":".as_slice(), &body, b"}"].concat(),
                    ))
                }
                "number" => Ok(Reply::one("42")),
                "run_task" => {
                    let items = ["{\"step\":1}", "7", "{\"done\":true}"];
                    let items = items.map(|item| Ok(Bytes::from_static(item.as_bytes())));
                    let stream = futures_util::stream::iter(items);
                    Ok(Reply::new(
                        Headers::new(),
                        Body::Messages(BodyStream::new(stream)),
                    ))
                }
                "wait" | "silent" => std::future::pending().await,
                _ => Err(Error::internal("it fails")),
            }
        })
    }
}

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

    fn changes(&self) -> tokio::sync::watch::Receiver<()> {
        tokio::sync::watch::channel(()).1
    }
}

struct NoStores;

impl VyraStores for NoStores {
    fn redis(&self, _: &str) -> Option<Arc<dyn VyraRedis>> {
        None
    }
}

struct Fixture {
    redis: Arc<MemoryRedis>,
    hub: Hub,
    running: Running,
    _gateway: VyraGateway,
}

/// As configured, with a Redis in memory in the place of a store.
fn begin(text: &str) -> Fixture {
    // Without a store in the configuration, sockets are named where Redis is meant.
    let text = text.replace("REDIS", "sockets");
    let (mut config, _) = parse("f", &text, &BTreeMap::new()).expect("a configuration");
    for function in config.vyra.functions.values_mut() {
        function.over = vec![VyraTransport::Redis];
        if function.function.as_deref() == Some("run_task")
            || function.method.as_deref() == Some("wait")
        {
            function.kind = VyraKind::Goal;
        }
    }
    for peer in config.vyra.peers.values_mut() {
        peer.over = VyraTransport::Redis;
        peer.goals = vec!["run_task".to_owned()];
    }
    let redis = Arc::<MemoryRedis>::default();
    let hub = Hub::new(HubConfig::default());
    let gateway = VyraGateway::new(
        Arc::new(HubEvents(hub.clone())),
        Arc::new(Service),
        Arc::new(NoStores),
    );
    let running = gateway
        .begin(&config, Some(Arc::clone(&redis) as _))
        .expect("it is on");
    Fixture {
        redis,
        hub,
        running,
        _gateway: gateway,
    }
}

const MODULE: &str = "[vyra]\nmodule = \"v2_mod\"\nid = \"abc123\"\n";

fn function(name: &str, keys: &str) -> String {
    format!("{MODULE}[vyra.functions.{name}]\nover = [\"REDIS\"]\nservice = \"math\"\n{keys}")
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn request(data: &str, channel: &str) -> Bytes {
    let request = VyraRequest {
        request_id: "1".into(),
        data: data.to_owned().into(),
        response_channel: channel.into(),
    };
    request.write()
}

async fn next(receiver: &mut mpsc::UnboundedReceiver<Event>) -> String {
    let event = tokio::time::timeout(Duration::from_secs(60), receiver.recv()).await;
    let event = event.expect("in time").expect("an event");
    String::from_utf8(event.payload.to_vec()).expect("text")
}

#[tokio::test(start_paused = true)]
async fn a_request_is_a_call_and_its_reply_the_response() {
    let fixture = begin(&function("calculate", ""));
    let channel = "srv:v2_mod_abc123/calculate:response:490cd3c3";
    let mut responses = fixture.redis.listen(&[channel]);
    settle().await;
    let requests = "srv:v2_mod_abc123/calculate:requests";
    fixture.redis.say(requests, request(r#"{"x":10}"#, channel));
    let expected = r#"{"request_id": "1", "data": {"result": {"x": 10}}}"#;
    assert_eq!(next(&mut responses).await, expected);
    // What is no request, or names a channel that is not one of responses, is passed over.
    fixture.redis.say(requests, "plain");
    fixture
        .redis
        .say(requests, request("{}", "v2_mod_abc123/events"));
    settle().await;
    let counts = fixture.running.module.counts("calculate").expect("there");
    assert_eq!(counts.taken.load(Relaxed), 1);
    assert_eq!(counts.passed_over.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_object_is_a_member_and_a_failure_no_response() {
    let fixture = begin(&function("number", ""));
    let channel = "srv:v2_mod_abc123/number:response:490cd3c3";
    let mut responses = fixture.redis.listen(&[channel]);
    settle().await;
    let requests = "srv:v2_mod_abc123/number:requests";
    fixture.redis.say(requests, request("{}", channel));
    let expected = r#"{"request_id": "1", "data": {"result": "42"}}"#;
    assert_eq!(next(&mut responses).await, expected);

    let fixture = begin(&function("number", "method = \"fails\""));
    let mut responses = fixture.redis.listen(&[channel]);
    settle().await;
    fixture.redis.say(requests, request("{}", channel));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(responses.try_recv().is_err());
    let counts = fixture.running.module.counts("number").expect("there");
    assert_eq!(counts.failed.load(Relaxed), 1);
}

fn goal(id: &str) -> Bytes {
    let goal = VyraGoal {
        goal_id: id.into(),
        goal: "{}".into(),
        response_channel: "v2_mod_abc123/run_task/response/aaab5e30".into(),
    };
    goal.write()
}

#[tokio::test(start_paused = true)]
async fn a_goal_is_a_stream_of_feedback_and_a_result() {
    let fixture = begin(&function("run-task", "function = \"run_task\""));
    let topic = "v2_mod_abc123/run_task";
    let answers = format!("{topic}/response/aaab5e30");
    let mut told = fixture
        .redis
        .listen(&[&answers, &format!("{topic}/g1/updates")]);
    settle().await;
    fixture.redis.say(&format!("{topic}/goal"), goal("g1"));
    assert_eq!(
        next(&mut told).await,
        r#"{"goal_id": "g1", "accepted": true}"#
    );
    for _ in 0..2 {
        assert_eq!(
            next(&mut told).await,
            r#"{"type": "feedback", "goal_id": "g1"}"#
        );
    }
    assert_eq!(
        next(&mut told).await,
        r#"{"type": "result", "goal_id": "g1"}"#
    );
    let key = |kind: &str| fixture.redis.key(&format!("{topic}/g1/{kind}"));
    assert_eq!(key("feedback").as_deref(), Some(r#"{"feedback": "7"}"#));
    assert_eq!(key("result").as_deref(), Some(r#"{"done": true}"#));
    let state = key("state").expect("kept");
    assert!(
        state.starts_with(r#"{"status": "SUCCEEDED", "timestamp": "#),
        "{state}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_goal_is_cancelled_and_an_unknown_one_is_said_so() {
    let keys = "function = \"run_task\"\nmethod = \"wait\"";
    let fixture = begin(&function("run-task", keys));
    let topic = "v2_mod_abc123/run_task";
    let answers = format!("{topic}/response/aaab5e30");
    let mut told = fixture.redis.listen(&[&answers]);
    settle().await;
    fixture.redis.say(&format!("{topic}/goal"), goal("g1"));
    assert_eq!(
        next(&mut told).await,
        r#"{"goal_id": "g1", "accepted": true}"#
    );
    let cancel = VyraCancel {
        goal_id: "g1".into(),
        response_channel: answers.as_str().into(),
    };
    for expected in [
        r#"{"goal_id": "g1", "canceled": true}"#,
        r#"{"goal_id": "g1", "canceled": false, "error": "Goal not found"}"#,
    ] {
        fixture
            .redis
            .say(&format!("{topic}/cancel"), cancel.write());
        assert_eq!(next(&mut told).await, expected);
    }
    let state = fixture
        .redis
        .key(&format!("{topic}/g1/state"))
        .expect("kept");
    assert!(state.starts_with(r#"{"status": "CANCELED""#), "{state}");
}

const ROBOT: &str = "[vyra.peers.robot]\nmodule = \"robot\"\nid = \"1\"\nover = \"REDIS\"\n\
                     functions = [\"find\"]\n";

fn peer(fixture: &Fixture) -> Arc<PeerService> {
    Arc::clone(fixture.running.peers.get("robot").expect("there"))
}

#[tokio::test(start_paused = true)]
async fn a_function_of_a_peer_is_a_method_and_silence_ends_with_the_timeout() {
    let fixture = begin(&format!("{MODULE}{ROBOT}"));
    let robot = peer(&fixture);
    let mut requests = fixture.redis.listen(&["srv:robot_1/find:requests"]);
    let calling = tokio::spawn(robot.call(Call::unary("robot", "find", r#"{"id":"°"}"#)));
    let asked = next(&mut requests).await;
    assert!(asked.contains(r#""data": {"id": "\u00b0"}"#), "{asked}");
    let asked = VyraRequest::read(&asked.into()).expect("a request");
    let response = format!(
        r#"{{"request_id": "{}", "data": {{"n": 1}}}}"#,
        asked.request_id
    );
    fixture.redis.say(&asked.response_channel, response);
    let reply = calling.await.expect("ends").expect("answered");
    let reply = reply.body.into_one(1024).await.expect("one");
    assert_eq!(reply, r#"{"n": 1}"#);
    // Nobody answers.
    let begun = clock::now();
    let error = robot
        .call(Call::unary("robot", "find", "{}"))
        .await
        .expect_err("silence");
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    let waited = clock::since(begun);
    assert!(
        waited >= Duration::from_secs(5) && waited < Duration::from_millis(5100),
        "{waited:?}"
    );
    let error = robot
        .call(Call::unary("robot", "other", "{}"))
        .await
        .expect_err("no method");
    assert_eq!(error.kind, Kind::Unimplemented);
    let error = robot
        .call(Call::unary("robot", "find", "[]"))
        .await
        .expect_err("no object");
    assert_eq!(error.kind, Kind::InvalidArgument);
}

/// Begins a goal with the robot, which accepts it.
async fn begin_goal(fixture: &Fixture) -> (VyraGoal, BodyStream) {
    let mut goals = fixture.redis.listen(&["robot_1/run_task/goal"]);
    let calling = tokio::spawn(peer(fixture).call(Call::unary("robot", "run_task", "{}")));
    let goal = VyraGoal::read(&next(&mut goals).await.into()).expect("a goal");
    let accepted = format!(r#"{{"goal_id": "{}", "accepted": true}}"#, goal.goal_id);
    fixture.redis.say(&goal.response_channel, accepted);
    let reply = calling.await.expect("ends").expect("accepted");
    let Body::Messages(items) = reply.body else {
        panic!("a stream");
    };
    (goal, items)
}

#[tokio::test(start_paused = true)]
async fn a_goal_of_a_peer_is_a_stream_that_its_caller_may_leave() {
    let fixture = begin(&format!("{MODULE}{ROBOT}"));
    let (goal, mut items) = begin_goal(&fixture).await;
    let key = |kind: &str| format!("robot_1/run_task/{}/{kind}", goal.goal_id);
    let hour = Duration::from_secs(3600);
    for (kind, value) in [("feedback", r#"{"n": 1}"#), ("result", r#"{"n": 2}"#)] {
        fixture
            .redis
            .set(key(kind), value.into(), hour)
            .await
            .expect("set");
        let notice = format!(r#"{{"type": "{kind}", "goal_id": "{}"}}"#, goal.goal_id);
        fixture.redis.say(&key("updates"), notice);
        let item = items.next().await.expect("an item").expect("sound");
        assert_eq!(item, value);
    }
    assert!(items.next().await.is_none());

    let (goal, items) = begin_goal(&fixture).await;
    let mut cancelled = fixture.redis.listen(&["robot_1/run_task/cancel"]);
    drop(items);
    let cancel = VyraCancel::read(&next(&mut cancelled).await.into()).expect("a cancellation");
    assert_eq!(cancel.goal_id, goal.goal_id);
}

#[tokio::test(start_paused = true)]
async fn a_goal_that_is_aborted_is_told_by_its_state_alone() {
    let fixture = begin(&format!("{MODULE}state-interval = \"200ms\"\n{ROBOT}"));
    let (goal, mut items) = begin_goal(&fixture).await;
    let key = format!("robot_1/run_task/{}/state", goal.goal_id);
    let state = r#"{"status": "ABORTED", "timestamp": 1.5}"#;
    let hour = Duration::from_secs(3600);
    fixture
        .redis
        .set(key, state.into(), hour)
        .await
        .expect("set");
    let begun = clock::now();
    let error = items.next().await.expect("an end").expect_err("aborted");
    assert_eq!(error.kind, Kind::Aborted);
    assert!(clock::since(begun) <= Duration::from_millis(210));
}

#[tokio::test(start_paused = true)]
async fn events_go_out_and_come_in_and_not_out_again() {
    let out = format!(
        "{MODULE}[vyra.functions.events]\nover = [\"REDIS\"]\nkind = \"publish\"\ntopics = [\"orders.>\", \"robot_1.>\"]\n"
    );
    let fixture = begin(&format!("{out}{ROBOT}events = [\"moved\"]\n"));
    let mut published = fixture.redis.listen(&["v2_mod_abc123/events"]);
    let pattern = TopicPattern::new("robot_1.>").expect("a pattern");
    let mut subscription = fixture
        .hub
        .subscribe(&"test".into(), vec![pattern], None)
        .expect("subscribed");
    settle().await;
    let event = Event {
        topic: "orders.created".into(),
        headers: Headers::new(),
        payload: r#"{"unit":"°C"}"#.into(),
        publisher: Publisher::default(),
    };
    fixture.hub.publish(event).expect("published");
    assert_eq!(next(&mut published).await, r#"{"unit": "\u00b0C"}"#);
    fixture.redis.say("robot_1/moved", r#"{"x": 1}"#);
    fixture.redis.say("robot_1/moved", "no JSON");
    let event = subscription.next().await.expect("an event").event;
    assert_eq!(
        (event.topic.as_str(), &event.payload[..]),
        ("robot_1.moved", &br#"{"x": 1}"#[..])
    );
    settle().await;
    assert!(published.try_recv().is_err(), "it came in over VYRA");
}

#[tokio::test(start_paused = true)]
async fn namespaces_and_subsections_are_parts_of_topics() {
    let text = format!(
        "{MODULE}[vyra.functions.moved]\nover = [\"REDIS\"]\nkind = \"subscribe\"\nnamespace = \"arm\"\n\
         subsection = \"left-1\"\ntopic = \"fleet.moved\"\n{ROBOT}namespace = \"lift\"\nevents = [\"risen\"]\n"
    );
    let fixture = begin(&text);
    let pattern = TopicPattern::new(">").expect("a pattern");
    let mut subscription = fixture
        .hub
        .subscribe(&"test".into(), vec![pattern], None)
        .expect("subscribed");
    settle().await;
    for (channel, topic) in [
        ("v2_mod_abc123/arm/moved/left-1", "fleet.moved"),
        ("robot_1/lift/risen", "robot_1.lift.risen"),
    ] {
        fixture.redis.say(channel, "{}");
        assert_eq!(
            subscription.next().await.expect("an event").event.topic,
            topic
        );
    }
    let mut requests = fixture.redis.listen(&["srv:robot_1/lift/find:requests"]);
    let calling = tokio::spawn(peer(&fixture).call(Call::unary("robot", "find", "{}")));
    assert!(VyraRequest::read(&next(&mut requests).await.into()).is_some());
    calling.abort();
}

#[tokio::test(start_paused = true)]
async fn calls_of_peers_show_the_token_and_no_more_than_calls_max_run_at_one_time() {
    let keys = "method = \"silent\"";
    let text = function("calculate", keys).replace(
        "id = \"abc123\"\n",
        "id = \"abc123\"\ntoken = \"t0p\"\ncalls-max = 2\n",
    );
    let fixture = begin(&text);
    let channel = "srv:v2_mod_abc123/calculate:response:490cd3c3";
    settle().await;
    for _ in 0..3 {
        fixture.redis.say(
            "srv:v2_mod_abc123/calculate:requests",
            request("{}", channel),
        );
    }
    settle().await;
    let counts = fixture.running.module.counts("calculate").expect("there");
    assert_eq!(counts.taken.load(Relaxed), 2);
    assert_eq!(counts.passed_over.load(Relaxed), 1);
    let call = fixture
        .running
        .module
        .call("calculate", "{}".into(), None)
        .expect("a call");
    assert_eq!(
        call.headers.get_str("authorization").as_deref(),
        Some("Bearer t0p")
    );
    assert_eq!(
        call.headers.get_str("content-type").as_deref(),
        Some("application/json")
    );
}
