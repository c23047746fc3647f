//! What callers are answered, by kind; and what watchers see.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use bytes::Bytes;
use futures_util::FutureExt;
use postern_core::{Body, BodyStream, Origin, Peer, Principal, Text, Transport};
use postern_system::clock;
use serde_json::Value as Json;

use super::*;
use crate::{config::Config, directory::LocalService};

struct Stage {
    directory: Arc<SharedDirectory>,
    service: Service,
}

impl Stage {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        config.directory.registration = RegistrationMode::Authenticated;
        change(&mut config);
        let directory = SharedDirectory::new(&config).expect("good settings");
        let service = Service::new(Arc::clone(&directory));
        Self { directory, service }
    }

    async fn ask(&self, who: &str, method: &str, body: Json) -> Result<Json, Error> {
        let call = call(who, method, &body.to_string());
        let reply = self.service.call(call).await?;
        let octets = reply.body.into_one(usize::MAX).await?;
        Ok(serde_json::from_slice(&octets).expect("JSON"))
    }

    #[track_caller]
    fn kind(&self, who: &str, method: &str, body: Json) -> Option<(Kind, String)> {
        let answered = self.ask(who, method, body).now_or_never().expect("at once");
        answered
            .err()
            .map(|error| (error.kind, error.message.into_owned()))
    }

    fn put(&self, instance: &str) {
        self.directory
            .set_local(instance, vec![LocalService::new("s")]);
    }
}

/// `name` or `name:role`; nobody when empty. From 10.0.0.9.
fn call(who: &str, method: &str, body: &str) -> Call {
    let mut call = Call::unary(SERVICE, method, Bytes::copy_from_slice(body.as_bytes()));
    let (name, role) = who.split_once(':').unwrap_or((who, ""));
    if !name.is_empty() {
        call.context.principal = Some(Arc::new(Principal {
            name: name.into(),
            roles: role.split(',').map(Text::from).collect(),
            claims: Vec::new(),
        }));
    }
    let address: SocketAddr = "10.0.0.9:4000".parse().expect("an address");
    call.context.peer = Arc::new(Peer::new(Transport::Tcp, Origin::Ip(address)));
    call
}

fn entry(instance: &str) -> Json {
    json!({ "instance": instance, "service": "users", "addresses": ["tcp://10.0.0.1:9090"] })
}

#[tokio::test]
async fn registration_is_off_unless_it_is_allowed() {
    let stage = Stage::new(|config| config.directory = crate::config::DirectorySettings::default());
    for method in ["register", "heartbeat", "unregister"] {
        let told = stage
            .kind("ann", method, entry("a"))
            .filter(|_| method == "register");
        let told = told.or_else(|| stage.kind("ann", method, json!({ "instance": "a" })));
        let (kind, message) = told.expect("refused");
        assert_eq!(kind, Kind::PermissionDenied);
        assert!(message.contains("directory.registration"), "{message}");
    }
}

#[tokio::test]
async fn a_provider_registers_renews_and_leaves_over_any_session() {
    let stage = Stage::new(|_| ());
    let added = stage
        .ask("ann", "register", entry("a"))
        .await
        .expect("taken");
    let expected = json!({ "ttl-ms": 60_000, "heartbeat-ms": 20_000, "change": "added" });
    assert_eq!(added, expected);
    let again = stage
        .ask("ann", "register", entry("a"))
        .await
        .expect("taken");
    assert_eq!(again["change"], "renewed");
    let held = json!({ "instance": "a" });
    let renewed = stage
        .ask("ann", "heartbeat", held.clone())
        .await
        .expect("renewed");
    assert_eq!(renewed, json!({ "ttl-ms": 60_000, "heartbeat-ms": 20_000 }));
    assert_eq!(stage.directory.numbers().registered, 1);
    stage
        .ask("ann", "unregister", held.clone())
        .await
        .expect("gone");
    assert_eq!(stage.directory.numbers().registered, 0);
    let (kind, message) = stage.kind("ann", "heartbeat", held).expect("refused");
    assert_eq!(kind, Kind::NotFound);
    assert!(message.contains("register again"), "{message}");
}

#[tokio::test]
async fn what_cannot_be_dialled_is_refused_by_the_name_of_its_transport() {
    let stage = Stage::new(|_| ());
    let refused = |addresses: Json| {
        let mut entry = entry("a");
        entry["addresses"] = addresses;
        stage.kind("ann", "register", entry)
    };
    let told = "this gateway dials tcp, tls, udp, quic, ws, wss, unix, not http".to_owned();
    let expected = Some((Kind::InvalidArgument, told));
    assert_eq!(refused(json!(["http://h:1"])), expected);
    assert_eq!(refused(json!(["http://h:1", "https://h:2"])), expected);
    let (kind, told) = refused(json!(["carrier://h:1"])).expect("refused");
    assert_eq!(kind, Kind::InvalidArgument);
    assert!(
        told.contains(
            "tcp, tls, udp, quic, ws, wss, http, https, grpc, grpcs, velithon, velithons, unix"
        ),
        "{told}"
    );
    // Others may dial what this gateway cannot.
    assert_eq!(refused(json!(["http://h:1", "udp://h:2"])), None);
}

#[tokio::test]
async fn nobody_registers_a_socket_of_this_machine() {
    let stage = Stage::new(|_| ());
    for addresses in [
        json!(["unix:///run/a.sock"]),
        json!(["tcp://h:1", "unix:///run/a.sock"]),
    ] {
        let mut entry = entry("a");
        entry["addresses"] = addresses;
        let (kind, told) = stage.kind("ann", "register", entry).expect("refused");
        assert_eq!(kind, Kind::InvalidArgument);
        assert!(told.starts_with("unix:///run/a.sock is a path"), "{told}");
    }
    assert_eq!(stage.directory.numbers().registered, 0);
}

#[tokio::test]
async fn what_is_refused_is_told_by_kind() {
    let stage = Stage::new(|config| config.directory.entries_per_owner_max = 1);
    assert_eq!(stage.kind("ann", "register", entry("a")), None);
    let check = |who: &str, instance: &str, kind: Kind, told: &str| {
        let (found, message) = stage
            .kind(who, "register", entry(instance))
            .expect("refused");
        assert_eq!(found, kind, "{message}");
        assert!(message.contains(told), "{message:?} does not say {told:?}");
    };
    check("", "b", Kind::Unauthenticated, "credentials");
    check("bob", "a", Kind::AlreadyExists, "instance `a`");
    check("ann", "b", Kind::ResourceExhausted, "has 1 entries");
    let mut own = entry("d");
    own["service"] = SERVICE.into();
    let (kind, _) = stage.kind("bob", "register", own).expect("refused");
    assert_eq!(kind, Kind::PermissionDenied);
    let held = json!({ "instance": "a" });
    let (kind, _) = stage.kind("bob", "heartbeat", held).expect("refused");
    assert_eq!(kind, Kind::NotFound);
    let (kind, message) = stage.kind("ann", "registr", entry("a")).expect("refused");
    assert_eq!(kind, Kind::NotFound);
    assert!(message.contains("did you mean register?"), "{message}");
}

#[tokio::test]
async fn a_life_that_should_have_ended_changes_nothing() {
    let stage = Stage::new(|_| ());
    let mut mine = entry("a");
    mine["incarnation"] = 5.into();
    assert_eq!(stage.kind("ann", "register", mine.clone()), None);
    mine["incarnation"] = 4.into();
    let old = json!({ "instance": "a", "incarnation": 4 });
    for (method, body) in [
        ("register", mine),
        ("heartbeat", old.clone()),
        ("unregister", old),
    ] {
        let (kind, message) = stage.kind("ann", method, body).expect("refused");
        assert_eq!(kind, Kind::FailedPrecondition, "{method}");
        assert!(message.contains("4 is older than 5"), "{message}");
    }
    let same = json!({ "instance": "a", "incarnation": 5 });
    assert_eq!(stage.kind("ann", "unregister", same), None);
}

#[tokio::test]
async fn what_is_no_entry_is_an_invalid_argument_that_names_the_value() {
    let stage = Stage::new(|_| ());
    let check = |key: &str, value: Json, told: &str| {
        let mut body = entry("a");
        body[key] = value;
        let (kind, message) = stage.kind("ann", "register", body).expect("refused");
        assert_eq!(kind, Kind::InvalidArgument, "{message}");
        assert!(message.contains(told), "{message:?} does not say {told:?}");
    };
    check("servce", "x".into(), "did you mean \"service\"?");
    check(
        "weight",
        10_001.into(),
        "weight 10001 exceeds the limit of 10000",
    );
    check("ttl-ms", 999.into(), "999 ms is not within 1 s and 24 h");
    check("addresses", json!([]), "addresses is empty");
    check(
        "addresses",
        json!(["tcp://h"]),
        "`tcp://h` is not of the form",
    );
    check("instance", 5.into(), "invalid type");
    check(
        "metadata",
        json!({ "k": "v".repeat(200_000) }),
        "exceeds the limit of 131072",
    );
    let (kind, _) = stage.kind("ann", "discover", json!([])).expect("refused");
    assert_eq!(kind, Kind::InvalidArgument);
}

#[tokio::test]
async fn leases_have_a_default_and_are_cut_to_a_limit() {
    let stage = Stage::new(|config| {
        config.directory.lease = Duration::from_secs(40);
        config.directory.lease_max = Duration::from_secs(90);
    });
    let taken = stage.ask("ann", "register", entry("b")).await;
    assert_eq!(taken.expect("taken")["ttl-ms"], 40_000);
    let ttl = async |ms: u64| {
        let mut body = entry("a");
        body["ttl-ms"] = ms.into();
        stage.ask("ann", "register", body).await.expect("taken")["ttl-ms"].clone()
    };
    assert_eq!(ttl(90_000).await, 90_000);
    assert_eq!(ttl(90_001).await, 90_000);
    assert_eq!(ttl(1_000).await, 1_000);
}

#[tokio::test]
async fn a_role_may_be_needed_and_open_registration_knows_the_host() {
    let stage = Stage::new(|config| config.directory.registration_roles = vec!["provider".into()]);
    let (kind, message) = stage
        .kind("ann:guest", "register", entry("a"))
        .expect("refused");
    assert_eq!(
        (kind, message.contains("provider")),
        (Kind::PermissionDenied, true)
    );
    assert_eq!(stage.kind("ann:provider", "register", entry("a")), None);

    let stage = Stage::new(|config| config.directory.registration = RegistrationMode::Open);
    let mut body = entry("a");
    body["addresses"] = json!(["tcp://0.0.0.0:9090", "udp://127.0.0.1:9090"]);
    assert_eq!(stage.kind("", "register", body), None);
    let view = stage.directory.view();
    let instance = &view.services[0].instances[0];
    assert_eq!(instance.owner, "provider address:10.0.0.9");
    assert_eq!(
        instance.entry.addresses,
        ["tcp://10.0.0.9:9090", "udp://10.0.0.9:9090"]
    );
    assert!(instance.expires_in_ms.is_some_and(|ms| ms <= 60_000));
}

#[tokio::test]
async fn a_caller_never_learns_of_what_it_may_not_use() {
    let stage = Stage::new(|_| ());
    let mut closed = entry("closed");
    closed["permissions"] = json!(["trade"]);
    closed["version"] = "2.1.0".into();
    closed["params"] = json!({ "ccy": "USD", "n": 1.0 });
    stage.ask("ann", "register", closed).await.expect("taken");
    stage
        .ask("ann", "register", entry("open"))
        .await
        .expect("taken");
    let seen = async |who: &str, body: Json| {
        let found = stage.ask(who, "discover", body).await.expect("an answer");
        let found = found["instances"].as_array().expect("a list").clone();
        let names = found
            .iter()
            .map(|found| found["instance"].as_str().unwrap_or("").to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(seen("", json!({})).await, ["open"]);
    assert_eq!(
        seen("bob:other", json!({ "service": "users" })).await,
        ["open"]
    );
    assert_eq!(seen("bob:trade", json!({})).await, ["closed", "open"]);
    assert_eq!(seen("west:peer", json!({})).await, ["closed", "open"]);
    let asked = json!({ "version": "^2", "params": { "n": 1 } });
    assert_eq!(seen("bob:trade", asked.clone()).await, ["closed"]);
    assert_eq!(seen("", asked).await, [""; 0]);
    let picture = stage
        .ask("", "picture", json!({}))
        .await
        .expect("a picture");
    assert_eq!(picture["picture"].as_array().map(Vec::len), Some(1));
    assert!(!picture.to_string().contains("ann"), "{picture}");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_gives_a_picture_then_each_change_then_patience() {
    let stage = Stage::new(|_| ());
    stage.put("a");
    let first = stage
        .ask("", "watch", json!({ "wait-ms": 1000 }))
        .await
        .expect("a picture");
    assert_eq!(first["picture"][0]["instance"], "a/s");
    let cursor = first["cursor"].clone();
    let body = json!({ "cursor": cursor, "wait-ms": 5000 });
    let waiting = stage.ask("", "watch", body.clone());
    let later = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        stage.put("b");
    };
    let (told, ()) = tokio::join!(waiting, later);
    let told = told.expect("a change");
    assert_eq!(told["changes"][0]["put"]["instance"], "b/s");
    // The same question gives the same answer at once.
    assert_eq!(stage.ask("", "watch", body).await.expect("a change"), told);
    let started = clock::now();
    let body = json!({ "cursor": told["cursor"], "wait-ms": 3000 });
    let nothing = stage.ask("", "watch", body).await.expect("patience");
    assert_eq!(nothing, json!({ "changes": [], "cursor": told["cursor"] }));
    assert_eq!(clock::since(started).as_secs(), 3);
}

#[tokio::test]
async fn who_was_away_too_long_gets_a_fresh_picture_and_is_told() {
    let stage = Stage::new(|config| config.directory.history_max = 2);
    stage.put("a");
    let first = stage.ask("", "watch", json!({})).await.expect("a picture");
    assert_eq!(first["too-old"], Json::Null);
    let body = json!({ "cursor": first["cursor"] });
    stage.put("b");
    stage.put("c");
    let told = stage.ask("", "watch", body.clone()).await.expect("changes");
    assert_eq!(told["changes"].as_array().map(Vec::len), Some(2));
    stage.put("d");
    let told = stage.ask("", "watch", body).await.expect("a picture");
    assert_eq!(told["too-old"], true);
    assert_eq!(told["picture"].as_array().map(Vec::len), Some(4));
    let strange = json!({ "cursor": "00c0ffee00c0ffee-1" });
    assert_eq!(
        stage.ask("", "watch", strange).await.expect("a picture")["too-old"],
        true
    );
    let (kind, _) = stage
        .kind("", "watch", json!({ "cursor": "1" }))
        .expect("refused");
    assert_eq!(kind, Kind::InvalidArgument);
}

#[tokio::test]
async fn a_stream_misses_no_change_and_ends_with_the_gateway() {
    let stage = Stage::new(|_| ());
    stage.put("first");
    let mut call = call("", "watch", "");
    let one = futures_util::stream::iter([Ok(Bytes::from_static(b"{}"))]);
    call.body = Body::Messages(BodyStream::new(one));
    let Body::Messages(mut stream) = stage.service.call(call).await.expect("a stream").body else {
        panic!("no stream");
    };
    assert_eq!(stage.directory.numbers().watchers, 1);
    let mut mirror = BTreeMap::new();
    for n in 0..300 {
        stage.put(&format!("p{n}"));
        if n % 3 == 0 {
            stage.directory.remove_local(&format!("p{}", n / 2));
        }
        if n % 50 == 0 {
            take(&mut mirror, &mut stream);
        }
    }
    take(&mut mirror, &mut stream);
    let picture = stage
        .ask("", "picture", json!({}))
        .await
        .expect("a picture");
    let expected = picture["picture"].as_array().expect("a list").iter();
    let expected: BTreeMap<String, Json> = expected.map(named).collect();
    assert_eq!(mirror, expected);
    stage.directory.closing.drain();
    assert!(stream.next().await.is_none());
    drop(stream);
    assert_eq!(stage.directory.numbers().watchers, 0);
    let (kind, _) = stage.kind("", "watch", json!({})).expect("refused");
    assert_eq!(kind, Kind::Unavailable);
}

/// Applies what is there.
fn take(mirror: &mut BTreeMap<String, Json>, stream: &mut BodyStream) {
    while let Some(Some(Ok(octets))) = stream.next().now_or_never() {
        let batch: Json = serde_json::from_slice(&octets).expect("JSON");
        for step in batch["changes"].as_array().into_iter().flatten() {
            if step["put"].is_object() {
                mirror.extend([named(&step["put"])]);
            } else {
                let name = step["removed"]["instance"].as_str().expect("a name");
                assert!(mirror.remove(name).is_some(), "{name} goes and never came");
            }
        }
        mirror.extend(batch["picture"].as_array().into_iter().flatten().map(named));
    }
}

fn named(listing: &Json) -> (String, Json) {
    let name = listing["instance"].as_str().expect("a name");
    (name.to_owned(), listing.clone())
}

#[tokio::test(start_paused = true)]
async fn watchers_are_bounded() {
    let stage = Stage::new(|config| config.directory.watchers_max = 1);
    let first = stage.ask("", "watch", json!({})).await.expect("a picture");
    let body = json!({ "cursor": first["cursor"], "wait-ms": 1000 });
    let (one, other) = tokio::join!(
        stage.ask("", "watch", body.clone()),
        stage.ask("", "watch", body.clone())
    );
    assert!(one.is_ok());
    assert_eq!(other.expect_err("refused").kind, Kind::ResourceExhausted);
    assert!(stage.ask("", "watch", body).await.is_ok());
}
