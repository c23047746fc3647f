//! Roles `authenticator`, `authorizer` and `event-handler`, and the import `events`.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use postern_core::{
    Call, Error, Headers, Kind, Principal,
    event::TopicPattern,
    event::{Event, EventSink, Published, Publisher},
    extension::{Asked, AuthFault, Credentials, Identity, Step},
};
use postern_wasm::{Grants, Plugin, PluginSpec, Role};

use crate::guest::{Fixture, identity, with_kv};

fn asked(method: &str) -> Arc<Asked> {
    Asked::of(&Call::unary("test", method, ""), Instant::now())
}

fn authenticate(plugin: &Arc<Plugin>, token: &str) -> Step<Result<Option<Identity>, AuthFault>> {
    let credentials = Credentials {
        scheme: "bearer".into(),
        token: token.into(),
    };
    plugin
        .authenticator()
        .unwrap()
        .authenticate(&asked("m"), &credentials)
}

fn known(name: &str) -> Identity {
    Identity {
        principal: Principal {
            name: name.into(),
            roles: vec!["admin".into()],
            claims: vec![("tenant".into(), "blue".into())],
        },
        valid: Some(Duration::from_secs(60)),
    }
}

#[tokio::test]
async fn credentials_become_an_identity_nobody_or_a_refusal() {
    let fixture = Fixture::new();
    let direct = fixture
        .shared("id", &identity(), PluginSpec::default())
        .await;
    let pooled = with_kv(include_str!("guest/identity.wat"));
    let pooled = fixture.shared("id", &pooled, PluginSpec::default()).await;
    for plugin in [direct, pooled] {
        let all = [Role::Authenticator, Role::Authorizer, Role::EventHandler];
        assert_eq!(plugin.status().roles, all);
        let answer = async |token| authenticate(&plugin, token).finish().await;
        assert_eq!(answer("good").await.unwrap(), Some(known("good")));
        assert_eq!(answer("nobody").await.unwrap(), None);
        let Err(AuthFault::Refused(error)) = answer("bad").await else {
            panic!("it is refused");
        };
        assert_eq!(error.kind, Kind::Unauthenticated);
        assert!(matches!(answer("trap").await, Err(AuthFault::Broken(_))));
        assert_eq!(answer("good").await.unwrap(), Some(known("good")));
    }
}

#[tokio::test]
async fn an_endless_authenticator_ends_by_its_budget() {
    let fixture = Fixture::new();
    let plugin = fixture
        .shared("id", &identity(), PluginSpec::default())
        .await;
    let Step::Done(Err(AuthFault::Broken(error))) = authenticate(&plugin, "loop") else {
        panic!("it is broken at once");
    };
    assert_eq!(error.message, "plugin id exceeded its budget of 5 ms");
}

#[tokio::test]
async fn an_authorizer_asks_for_claims() {
    let fixture = Fixture::new();
    let direct = fixture
        .shared("id", &identity(), PluginSpec::default())
        .await;
    let pooled = with_kv(include_str!("guest/identity.wat"));
    let pooled = fixture.shared("id", &pooled, PluginSpec::default()).await;
    for plugin in [direct, pooled] {
        let authorizer = plugin.authorizer().unwrap();
        let mut call = Call::unary("test", "m", "");
        let asked = async |call: &Call| {
            let asked = Asked::of(call, Instant::now());
            authorizer.authorize(&asked).finish().await
        };
        let Err(AuthFault::Refused(error)) = asked(&call).await else {
            panic!("a stranger is refused");
        };
        assert_eq!(error.kind, Kind::PermissionDenied);
        call.context.principal = Some(Arc::new(known("ann").principal));
        assert!(asked(&call).await.is_ok());
        call.method = "trap".into();
        let broken = asked(&call).await;
        assert!(matches!(broken, Err(AuthFault::Broken(_))));
    }
}

/// Takes events and keeps them.
#[derive(Default)]
struct Sink(Mutex<Vec<Event>>);

impl EventSink for Sink {
    fn publish(&self, event: Event) -> Result<Published, Error> {
        self.0.lock().unwrap().push(event);
        Ok(Published::Told(1))
    }
}

fn event(topic: &str, again: &str) -> Event {
    let mut headers = Headers::new();
    headers.push("content-type", again).unwrap();
    Event {
        topic: topic.into(),
        headers,
        payload: "payload".into(),
        publisher: Publisher::default(),
    }
}

#[tokio::test]
async fn events_come_and_go_within_the_grant() {
    let fixture = Fixture::new();
    let spec = PluginSpec {
        grants: Grants {
            events: vec![TopicPattern::new("orders.*").unwrap()],
            ..Grants::default()
        },
        ..PluginSpec::default()
    };
    let plugin = fixture.shared("id", &identity(), spec).await;
    let handler = plugin.event_handler().unwrap();
    let error = handler
        .on_event(event("t", "orders.new"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable, "nobody takes events yet");
    let sink = Arc::new(Sink::default());
    fixture.runtime.set_events(Arc::clone(&sink) as _);
    handler.on_event(event("t", "orders.new")).await.unwrap();
    {
        let events = sink.0.lock().unwrap();
        let [published] = &events[..] else {
            panic!("one event");
        };
        assert_eq!(&*published.topic, "orders.new");
        assert_eq!(published.payload, "payload");
        assert_eq!(published.publisher.depth, 1);
    }
    let error = handler.on_event(event("t", "users.new")).await.unwrap_err();
    assert_eq!(error.kind, Kind::PermissionDenied);
    assert_eq!(
        error.message,
        "plugin id has no grant for topic users.new; `events = [\"users.new\"]` below [grants] in id.toml \
         would allow it"
    );
    for (length, kind) in [(255, None), (256, Some(Kind::InvalidArgument))] {
        let topic = format!("orders.{}", "x".repeat(length - 7));
        let said = handler.on_event(event("t", &topic)).await;
        assert_eq!(said.err().map(|error| error.kind), kind);
    }
    fixture.runtime.shutdown();
}
