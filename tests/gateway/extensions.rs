//! Plugins that stand in the way of calls and frames, and the guard beside them.

use bytes::Bytes;
use postern_core::{Body, Call, Headers, Kind, Reply, Retry};
use postern_tests::{CallerTransport, Gateway, Load, Setup, call, component, connect, patiently};
use serde_json::{Value, json};
use std::time::Duration;

use crate::share;

async fn answered(
    gateway: &Gateway,
    transport: CallerTransport,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Reply, postern_core::Error> {
    let handler = connect(gateway, transport).await;
    let (service, method) = target.split_once('/').expect("service/method");
    let mut sent = Headers::new();
    for (name, value) in headers {
        sent.push(name, value).expect("it fits");
    }
    let call = Call {
        headers: sent,
        body: Body::One(Bytes::from(body.to_owned())),
        ..Call::unary(service, method, "")
    };
    handler.call(call).await
}

async fn text(reply: Reply) -> Value {
    let octets = reply.body.into_one(1 << 20).await.expect("one message");
    serde_json::from_slice(&octets).expect("json")
}

#[tokio::test(flavor = "multi_thread")]
async fn redact_hides_fields_on_every_door_and_is_replaced_without_a_failed_call() {
    let _machine = share().await;
    let setup = Setup {
        config: "[extensions.redact]\ncalls = [\"users/*\"]\n".to_owned(),
        ..Setup::default()
    };
    let setup = setup.file("redact.toml", "[config]\nfields = [\"email\"]\n");
    let gateway = Gateway::start(setup.plugin("users").plugin("redact")).await;
    let ada = json!({"name": "Ada", "email": "ada@example.org"}).to_string();
    let created = answered(
        &gateway,
        CallerTransport::Tcp,
        "users/CreateUser",
        &[],
        &ada,
    )
    .await;
    let created = text(created.expect("made")).await;
    assert_eq!(
        (&created["name"], &created["email"]),
        (&json!("Ada"), &json!("***"))
    );
    let id = json!({"id": created["id"]}).to_string();
    for transport in CallerTransport::ALL {
        let user = answered(&gateway, transport, "users/GetUser", &[], &id).await;
        let user = text(user.unwrap_or_else(|error| panic!("{transport}: {error}"))).await;
        assert_eq!(user["email"], "***", "{transport}");
    }
    let tcp = connect(&gateway, CallerTransport::Tcp).await;
    let load = Load::start(
        &tcp,
        "users/GetUser",
        &Bytes::from(id),
        4,
        Duration::from_millis(2),
    );
    let redact = component("redact");
    for n in 0..5_u8 {
        // Another digest each time: an empty custom section is ignored by the component.
        let mut other = redact.to_vec();
        other.extend_from_slice(&[0, 2, 1, b'a' + n]);
        gateway.deploy("redact.wasm", &other);
        patiently("the next generation stands in the way", async || {
            let plugin = gateway.admin_json("/plugins/redact").await;
            plugin["generation"].as_u64() >= Some(u64::from(n) + 2)
        })
        .await;
    }
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    let chain = gateway.admin_json("/extensions").await;
    assert_eq!(chain["extensions"][0]["plugin"], "redact");
    assert_eq!(chain["extensions"][0]["failed_closed"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_is_not_there_refuses_unless_it_is_open() {
    let _machine = share().await;
    for (fail, kind) in [("closed", Some(Kind::Unavailable)), ("open", None)] {
        let setup = Setup {
            config: format!("[extensions.absent]\nfail = \"{fail}\"\n"),
            // Every call would fail.
            unready: kind.map(|_| "extension"),
            ..Setup::default()
        };
        let gateway = Gateway::start(setup.plugin("echo")).await;
        let http = answered(&gateway, CallerTransport::Http, "echo/Echo", &[], "{}").await;
        assert_eq!(http.err().map(|error| error.kind), kind, "{fail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_are_known_by_their_keys_and_kept_to_their_services() {
    let _machine = share().await;
    // SHA-256 of `secret`.
    let hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let manifest = format!(
        "[extension]\nenabled = true\n[config.tenants.acme]\nkeys = [\"{hash}\"]\nservices = [\"echo\"]\n"
    );
    let setup = Setup::default()
        .plugin("echo")
        .plugin("users")
        .file("tenant-auth.toml", &manifest)
        .plugin("tenant-auth");
    let gateway = Gateway::start(setup).await;
    for transport in CallerTransport::ALL {
        let of = async |target: &str, key: &str| {
            let headers = [("x-vsp-api-key", key)];
            let answered = answered(&gateway, transport, target, &headers, "{}").await;
            answered.err().map(|error| error.kind)
        };
        assert_eq!(of("echo/Echo", "acme.secret").await, None, "{transport}");
        let wrong = of("echo/Echo", "acme.guess").await;
        assert_eq!(wrong, Some(Kind::Unauthenticated), "{transport}");
        let foreign = of("users/ListUsers", "acme.secret").await;
        assert_eq!(foreign, Some(Kind::PermissionDenied), "{transport}");
    }
    // What the plugin said of a key falls with the generation that said it.
    let revoked =
        "[extension]\nenabled = true\n[config.tenants.acme]\nkeys = []\nservices = [\"echo\"]\n";
    gateway.deploy("tenant-auth.toml", revoked.as_bytes());
    patiently("the key is revoked", async || {
        let plugin = gateway.admin_json("/plugins/tenant-auth").await;
        plugin["generation"].as_u64() >= Some(2)
    })
    .await;
    for transport in CallerTransport::ALL {
        let headers = [("x-vsp-api-key", "acme.secret")];
        let answered = answered(&gateway, transport, "echo/Echo", &headers, "{}").await;
        let kind = answered.err().map(|error| error.kind);
        assert_eq!(kind, Some(Kind::Unauthenticated), "{transport}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tag_marks_frames_and_audit_log_tells_of_every_call() {
    let _machine = share().await;
    let config = "[extensions.tag]\n[extensions.audit-log]\norder = 1\n".to_owned();
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let setup = setup.plugin("echo").plugin("tag").plugin("audit-log");
    let gateway = Gateway::start(setup).await;
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        let answer = call(&*handler, "echo/Echo", "{}").await;
        assert_eq!(
            answer.unwrap_or_else(|error| panic!("{transport}: {error}")),
            "{}"
        );
    }
    let chain = gateway.admin_json("/extensions").await;
    for link in chain["extensions"].as_array().expect("a list") {
        assert!(link["seen"].as_u64() >= Some(3), "{link}");
        assert_eq!(link["failed_closed"], 0, "{link}");
    }
    patiently("every call has left its line", async || {
        let log = gateway.log();
        let of_calls = |line: &&str| line.contains("audit-log") && line.contains("Echo");
        log.lines().filter(of_calls).count() >= 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_and_rates_of_the_configuration_hold_on_every_door() {
    let _machine = share().await;
    let setup = Setup {
        config: "[authorization.rules.no-list]\neffect = \"deny\"\ncalls = [\"users/List*\"]\n\
                 [limits.few]\nby = \"service\"\nrate = 1\nper = \"1h\"\nburst = 3\ncalls = [\"echo/*\"]\n"
            .to_owned(),
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("users").plugin("echo")).await;
    for transport in CallerTransport::ALL {
        let refused = answered(&gateway, transport, "users/ListUsers", &[], "{}").await;
        let kind = refused.expect_err("denied").kind;
        // Nobody is known, so that to show who one is might help.
        assert!(
            matches!(kind, Kind::PermissionDenied | Kind::Unauthenticated),
            "{transport}: {kind}"
        );
        answered(&gateway, transport, "echo/Echo", &[], "{}")
            .await
            .unwrap_or_else(|error| panic!("{transport}: {error}"));
    }
    for transport in CallerTransport::ALL {
        let refused = answered(&gateway, transport, "echo/Echo", &[], "{}").await;
        let error = refused.expect_err("over the limit");
        assert_eq!(error.kind, Kind::ResourceExhausted, "{transport}");
        assert!(
            matches!(error.retry, Retry::After(_)),
            "{transport}: {:?}",
            error.retry
        );
    }
}
