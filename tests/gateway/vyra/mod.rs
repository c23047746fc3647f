//! VYRA from outside: a module that is not ours, by the conventions of revision J, asks the gateway and is
//! asked by it, over a real Redis and over Unix sockets. `peer.py` is that module.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use postern_core::{Body, BodyStream, Call, Error, Handler, Kind};
use postern_tests::{Gateway, RedisServer, Setup, ask_events, patiently, python, session};
use serde_json::{Value, json};

use crate::share;

/// A module of others.
struct Peer {
    child: Child,
    input: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Peer {
    fn start(role: &str, place: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("gateway/vyra/peer.py");
        let mut child = Command::new(python())
            .arg(script)
            .args([role, place])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let input = child.stdin.take().expect("piped");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, input, said }
    }

    /// The next line that it says.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        let n_octets = self.said.read_line(&mut line).expect("readable");
        assert_ne!(n_octets, 0, "the peer has ended");
        serde_json::from_str(&line).expect("a line of JSON")
    }

    fn ready(mut self) -> Self {
        assert_eq!(self.next(), json!({ "ready": true }));
        self
    }

    fn publish(&mut self, event: &Value) {
        writeln!(self.input, "{event}").expect("it reads");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // An error means that it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Module edge, id gw01, with the functions that `peer.py` asks and the peer robot, id 1.
fn config(over: &str, more: &str) -> String {
    let mut config = format!("{more}\n[vyra]\nmodule = \"edge\"\nid = \"gw01\"\n");
    if over == "redis" {
        config.push_str("store = \"main\"\n");
    }
    let list = format!("[\"{over}\"]");
    for (name, keys) in [
        ("calculate", "service = \"echo\"\nmethod = \"Echo\""),
        ("fails", "service = \"nobody\""),
        ("events", "kind = \"publish\"\ntopics = [\"orders.>\"]"),
    ] {
        let _ = writeln!(config, "[vyra.functions.{name}]\nover = {list}\n{keys}");
    }
    let _ = writeln!(
        config,
        "[vyra.peers.robot]\nmodule = \"robot\"\nid = \"1\"\nover = \"{over}\"\n\
         functions = [\"calculate\", \"fails\"]\nevents = [\"moved\"]\ntopic = \"fleet.robot\"\ntimeout = \"2s\""
    );
    config
}

async fn start(config: String) -> Gateway {
    let manifest = std::fs::read(repository().join("plugins/users/users.toml"));
    let manifest = manifest.expect("its manifest");
    let schema = std::fs::read(repository().join("plugins/users/user.proto"));
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let setup = setup.plugin("echo").plugin("users");
    let setup = setup.file("users.toml", manifest);
    Gateway::start(setup.file("user.proto", schema.expect("its schema"))).await
}

fn repository() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests is a folder of it").to_owned()
}

async fn call(
    gateway: &Gateway,
    service: &str,
    method: &str,
    message: &str,
) -> Result<Value, Error> {
    let client = session(gateway).await;
    let call = Call::unary(service.to_owned(), method.to_owned(), message.to_owned());
    let reply = client.call(call).await?.body.into_one(1 << 20).await?;
    Ok(serde_json::from_slice(&reply).expect("JSON"))
}

/// Events that the gateway publishes under `topic`.
async fn events(gateway: &Gateway, topic: &str) -> postern_net::client::Events {
    let client = session(gateway).await;
    let events = client.events();
    let subscribed = ask_events(&client, "subscribe", &json!({ "topics": [topic] })).await;
    subscribed.expect("subscribed");
    events
}

async fn publish_order(gateway: &Gateway) {
    let event = json!({ "topic": "orders.created", "payload": { "unit": "°C" } }).to_string();
    call(gateway, "events", "publish", &event)
        .await
        .expect("published");
}

async fn ask(gateway: &Gateway, method: &str, message: &str) -> Result<Value, Error> {
    call(gateway, "robot", method, message).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_on_redis_has_every_pattern_in_both_directions() {
    let _machine = share().await;
    let redis = RedisServer::start(&[]).await;
    let port = redis.port.to_string();
    let store = format!("[stores.main]\nurl = \"{}\"", redis.url());
    let goals = "\n[vyra.functions.list-users]\nkind = \"goal\"\nservice = \"user.UserService\"\nmethod = \"ListUsersStream\"\n\
                 [vyra.functions.fails-late]\nkind = \"goal\"\nservice = \"nobody\"\n";
    let config = config("redis", &store).replace(
        "timeout = \"2s\"",
        "timeout = \"2s\"\ngoals = [\"run_task\"]",
    );
    let gateway = start(config + goals).await;
    for number in 0..5 {
        let user = json!({ "name": "A", "email": format!("{number}@example.org") });
        call(&gateway, "users", "CreateUser", &user.to_string())
            .await
            .expect("created");
    }
    asked_over_redis(&gateway, &port).await;
    asks_over_redis(&gateway, &port).await;
    let seen = gateway.admin_json("/vyra").await;
    let taken = |name: &str| {
        let functions = seen["functions"].as_array().expect("a list").iter();
        let function = functions.clone().find(|function| function["name"] == name);
        function.expect("it is there").clone()
    };
    assert_eq!(taken("calculate")["taken"], 2);
    assert_eq!(taken("calculate")["passed-over"], 2);
    assert_eq!(taken("fails")["failed"], 1);
    assert_eq!(taken("events")["taken"], 1);
    assert_eq!(seen["peers"][0]["prefix"], "robot_1");
}

/// The peer asks the gateway.
async fn asked_over_redis(gateway: &Gateway, port: &str) {
    let mut peer = Peer::start("ask-redis", port);
    let echoed =
        json!({ "function": "calculate", "data": { "x": 10, "unit": "°C" }, "exact": true });
    assert_eq!(peer.next(), echoed, "{}", gateway.log());
    let silent = json!({ "function": "fails", "data": null, "exact": true });
    assert_eq!(peer.next(), silent);
    let listed = peer.next();
    assert_eq!(
        (&listed["accepted"], &listed["status"]),
        (&json!(true), &json!("SUCCEEDED")),
        "{listed}"
    );
    assert_eq!(
        (&listed["exact"], &listed["expires"]),
        (&json!(true), &json!(true)),
        "{listed}"
    );
    // Notices may come while the key has a later value; each is one of feedback.
    assert_eq!(listed["feedback"], 4, "{listed}");
    assert!(listed["result"].is_object(), "{listed}");
    let cancelled = peer.next();
    assert_eq!(
        (&cancelled["canceled"], &cancelled["status"]),
        (&json!(true), &json!("CANCELED")),
        "{cancelled}"
    );
    let aborted = peer.next();
    assert_eq!(
        (&aborted["accepted"], &aborted["status"]),
        (&json!(true), &json!("ABORTED")),
        "{aborted}"
    );
    assert_eq!(
        (&aborted["result"], &aborted["feedback"]),
        (&Value::Null, &json!(0))
    );
    let unknown = json!({ "canceled": false, "has_error": true, "exact": true });
    assert_eq!(peer.next(), unknown);
    assert_eq!(peer.next()["data"], json!({ "again": true }));
    let mut peer = peer.ready();
    publish_order(gateway).await;
    assert_eq!(
        peer.next(),
        json!({ "event": { "unit": "°C" }, "exact": true })
    );
}

/// The gateway asks the peer.
async fn asks_over_redis(gateway: &Gateway, port: &str) {
    let mut peer = Peer::start("serve-redis", port).ready();
    let reply = ask(gateway, "calculate", r#"{"x":10,"y":32}"#)
        .await
        .expect("answered");
    assert_eq!(reply, json!({ "result": 42, "unit": "°C" }));
    let asked = json!({ "channel": "srv:robot_1/calculate:requests", "exact": true });
    assert_eq!(peer.next(), asked);
    let silent = ask(gateway, "fails", "{}").await.expect_err("silence");
    assert_eq!(silent.kind, Kind::DeadlineExceeded, "{silent}");
    assert_eq!(peer.next()["exact"], true);

    let client = session(gateway).await;
    let goal = async |goal: &str| {
        let mut call = Call::unary("robot", "run_task", "");
        call.body = Body::Messages(BodyStream::once(goal.to_owned().into(), None));
        let reply = client.call(call).await?;
        Ok::<_, Error>(reply.body.into_messages(1 << 20))
    };
    let mut items = goal("{\"steps\": 3}").await.expect("accepted");
    let mut found = Vec::new();
    while let Some(item) = items.next().await {
        found.push(serde_json::from_slice::<Value>(&item.expect("sound")).expect("JSON"));
    }
    let steps = [1, 2, 3].map(|step| json!({ "step": step }));
    assert_eq!(
        found.split_last(),
        Some((&json!({ "done": true }), &steps[..]))
    );
    let mut items = goal("{\"abort\": true}").await.expect("accepted");
    assert!(items.next().await.expect("feedback").is_ok());
    let aborted = items.next().await.expect("an end").expect_err("aborted");
    assert_eq!(aborted.kind, Kind::Aborted, "{aborted}");
    let refused = goal("{\"refuse\": true}")
        .await
        .map(drop)
        .expect_err("refused");
    assert_eq!(refused.kind, Kind::FailedPrecondition, "{refused}");
    // A caller that leaves cancels its goal there.
    let mut items = goal("{\"steps\": 1000}").await.expect("accepted");
    assert!(items.next().await.expect("feedback").is_ok());
    drop(items);
    let mut cancelled = Value::Null;
    while cancelled.is_null() {
        cancelled = peer.next()["cancelled"].clone();
    }
    let mut events = events(gateway, "fleet.>").await;
    peer.publish(&json!({ "x": 1.5 }));
    let event = events.next().await.expect("an event").event;
    assert_eq!(
        (event.topic.as_str(), &event.payload[..]),
        ("fleet.robot.moved", &b"{\"x\": 1.5}"[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_on_sockets_asks_and_answers_publishes_and_subscribes() {
    let _machine = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("text").to_owned();
    let keys =
        format!("id = \"gw01\"\nsocket-folder = \"{path}\"\nmessage-bytes-max = \"64KiB\"\n");
    let config = config("sockets", "").replacen("id = \"gw01\"\n", &keys, 1);
    let gateway = start(config).await;
    patiently("its sockets are bound", async || {
        folder.path().join("srv_edge_edge_gw01_fails.sock").exists()
    })
    .await;

    let mut peer = Peer::start("ask-sockets", &path);
    let echoed = json!({ "function": "calculate", "data": { "x": 10, "unit": "°C" }, "exact": true, "closed": true });
    assert_eq!(peer.next(), echoed, "{}", gateway.log());
    let silent = json!({ "function": "fails", "data": null, "exact": true, "closed": true });
    assert_eq!(peer.next(), silent);
    let mut peer = peer.ready();
    publish_order(&gateway).await;
    assert_eq!(
        peer.next(),
        json!({ "event": { "unit": "°C" }, "exact": true })
    );

    let mut peer = Peer::start("serve-sockets", &path).ready();
    let reply = ask(&gateway, "calculate", r#"{"x":10,"y":32}"#)
        .await
        .expect("answered");
    assert_eq!(reply, json!({ "result": 42, "unit": "°C" }));
    assert_eq!(
        peer.next(),
        json!({ "request": { "x": 10, "y": 32 }, "exact": true })
    );
    let silent = ask(&gateway, "fails", "{}")
        .await
        .expect_err("closed without an answer");
    assert_eq!(silent.kind, Kind::Unknown, "{silent}");
    let long = format!("{{\"x\": \"{}\"}}", "x".repeat(70_000));
    let refused = ask(&gateway, "calculate", &long)
        .await
        .expect_err("too long");
    assert_eq!(refused.kind, Kind::ResourceExhausted, "{refused}");
    let mut events = events(&gateway, "fleet.>").await;
    peer.publish(&json!({ "x": 1.5 }));
    let event = events.next().await.expect("an event").event;
    assert_eq!(
        (event.topic.as_str(), &event.payload[..]),
        ("fleet.robot.moved", &b"{\"x\": 1.5}"[..])
    );
    // Its files go with it.
    drop(peer);
    let mut gateway = gateway;
    gateway.terminate().await;
    let of_gateway = |name: &String| name.starts_with("srv_edge") || name.starts_with("sub_edge");
    let left = std::fs::read_dir(&path)
        .expect("a folder")
        .map(|entry| entry.expect("an entry"));
    let left = left.map(|entry| entry.file_name().to_string_lossy().into_owned());
    assert_eq!(left.filter(of_gateway).collect::<Vec<_>>(), [""; 0]);
}
