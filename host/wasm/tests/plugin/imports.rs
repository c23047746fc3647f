//! What a guest asks of the host: configuration, the store, other services.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use postern_core::{BoxFuture, Call, Error, Handler, Kind, Reply, Transport};
use postern_wasm::{Grants, Plugin, PluginSpec};

use crate::guest::{Fixture, all, answer, call, runtime_in};

#[tokio::test]
async fn the_manifests_configuration_is_read_by_key() {
    let fixture = Fixture::new();
    let config = [("colour".to_owned(), "blue".to_owned())].into();
    let plugin = fixture
        .plugin(
            "all",
            &all(),
            PluginSpec {
                config,
                ..PluginSpec::default()
            },
        )
        .await;
    assert_eq!(answer(&plugin, "v", b"colour").await, "blue");
    assert_eq!(
        call(&plugin, "v", b"size").await.unwrap_err().kind,
        Kind::NotFound
    );
}

#[tokio::test]
async fn what_was_set_is_there_after_a_restart() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    assert_eq!(
        call(&plugin, "r", b"key").await.unwrap_err().kind,
        Kind::NotFound
    );
    answer(&plugin, "p", b"key").await;
    assert_eq!(answer(&plugin, "r", b"key").await, "key");
    plugin.remove().await;
    fixture.runtime.shutdown();
    drop(plugin);
    let Fixture { folder, runtime } = fixture;
    drop(runtime);

    let runtime = runtime_in(&folder);
    let plugin = Plugin::new(&runtime, "all");
    plugin
        .deploy(all().into(), PluginSpec::default())
        .await
        .unwrap();
    assert_eq!(answer(&plugin, "r", b"key").await, "key");
}

#[tokio::test]
async fn stores_are_private_unless_shared_by_grant() {
    let fixture = Fixture::new();
    let shared = |kv: Option<&str>| PluginSpec {
        grants: Grants {
            kv: kv.map(str::to_owned),
            ..Grants::default()
        },
        ..PluginSpec::default()
    };
    let one = fixture.plugin("one", &all(), shared(None)).await;
    let two = fixture.plugin("two", &all(), shared(None)).await;
    answer(&one, "p", b"key").await;
    assert_eq!(
        call(&two, "r", b"key").await.unwrap_err().kind,
        Kind::NotFound
    );
    let three = fixture
        .plugin("three", &all(), shared(Some("common")))
        .await;
    let four = fixture.plugin("four", &all(), shared(Some("common"))).await;
    answer(&three, "p", b"key").await;
    assert_eq!(answer(&four, "r", b"key").await, "key");
}

#[tokio::test]
async fn keys_are_1_to_1024_octets() {
    let fixture = Fixture::new();
    let plugin = fixture.plugin("all", &all(), PluginSpec::default()).await;
    answer(&plugin, "p", &[b'k'; 1024]).await;
    for length in [0, 1025] {
        let error = call(&plugin, "p", &vec![b'k'; length]).await.unwrap_err();
        assert_eq!(error.kind, Kind::InvalidArgument);
        assert_eq!(
            error.message,
            format!("key of {length} octets is not within 1 to 1024")
        );
    }
}

/// A pipeline that remembers the last call and answers it in its own way.
struct Pipeline {
    last: Mutex<Option<Call>>,
    answer: fn() -> Result<Reply, Error>,
}

impl Handler for Pipeline {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        *self.last.lock().unwrap() = Some(call);
        let answer = (self.answer)();
        Box::pin(async move { answer })
    }
}

fn granted(service: &str) -> PluginSpec {
    let grants = Grants {
        services: vec![service.to_owned()],
        ..Grants::default()
    };
    PluginSpec {
        grants,
        ..PluginSpec::default()
    }
}

#[tokio::test]
async fn a_granted_call_goes_through_the_pipeline_with_what_is_left_of_the_time() {
    let fixture = Fixture::new();
    let pipeline = Arc::new(Pipeline {
        last: Mutex::default(),
        answer: || Ok(Reply::one("42")),
    });
    fixture.runtime.set_client(Arc::clone(&pipeline) as _);
    let plugin = fixture.plugin("all", &all(), granted("users")).await;
    let mut request = Call::unary("test", "x", "users");
    let deadline = Instant::now() + Duration::from_millis(700);
    request.context.deadline = Some(deadline);
    request.context.depth = 2;
    let reply = plugin.call(request).await.unwrap();
    assert_eq!(reply.body.into_one(100).await.unwrap(), "42");
    let call = pipeline.last.lock().unwrap().take().unwrap();
    assert_eq!((&*call.service, &*call.method), ("users", "x"));
    assert_eq!(call.context.deadline, Some(deadline));
    assert_eq!(
        (call.context.depth, call.context.peer.transport),
        (3, Transport::Plugin)
    );
    fixture.runtime.shutdown();
}

#[tokio::test]
async fn a_failure_of_the_other_service_passes_through() {
    let fixture = Fixture::new();
    let answer = || Err(Error::not_found("no user 9").with_details("[9]"));
    fixture.runtime.set_client(Arc::new(Pipeline {
        last: Mutex::default(),
        answer,
    }));
    let plugin = fixture.plugin("all", &all(), granted("*")).await;
    let error = call(&plugin, "x", b"users").await.unwrap_err();
    assert_eq!(
        error.to_json(),
        r#"{"error":"no user 9","code":404,"details":[9]}"#
    );
}

#[tokio::test]
async fn a_call_needs_a_grant_and_a_depth_within_the_bound() {
    let fixture = Fixture::new();
    let answer = || Ok(Reply::one(""));
    fixture.runtime.set_client(Arc::new(Pipeline {
        last: Mutex::default(),
        answer,
    }));
    let plugin = fixture.plugin("all", &all(), granted("users")).await;
    let error = call(&plugin, "x", b"orders").await.unwrap_err();
    assert_eq!(error.kind, Kind::PermissionDenied);
    assert_eq!(
        error.message,
        "plugin all has no grant for service orders; `services = [\"orders\"]` below [grants] in \
         all.toml would allow it"
    );
    let denied = plugin.sandbox().denied;
    assert!(denied.contains(&("services", 1)), "{denied:?}");
    let at_depth = |depth| {
        let mut request = Call::unary("test", "x", "users");
        request.context.depth = depth;
        plugin.call(request)
    };
    assert!(at_depth(7).await.is_ok());
    let error = at_depth(8).await.unwrap_err();
    assert_eq!(error.message, "8 plugins call one another, the limit is 8");
}
