//! The operators' listener as operators use it.

use std::time::Duration;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::fixture::{GatewayFixture, folders};

#[tokio::test(flavor = "multi_thread")]
async fn shows_plugins_services_numbers_and_configuration() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    let plugins = fixture.admin("GET", "/plugins").await.json();
    assert_eq!(plugins["plugins"][0]["name"], "greeter");
    assert_eq!(plugins["plugins"][0]["state"], "active");
    assert_eq!(
        fixture.admin("GET", "/plugins/greeter").await.json()["generation"],
        1
    );
    let services = fixture.admin("GET", "/services").await.json();
    let services = services["services"].as_array().expect("a list");
    let named = |name: &str| services.iter().find(|service| service["name"] == name);
    let greeter = named("greeter").expect("it is deployed");
    assert_eq!(greeter["is_live"], true);
    assert_eq!(
        greeter["cluster"]["instances"][0]["owner"],
        "plugin greeter"
    );
    assert!(named("directory").is_some(), "it is built in");
    let metrics = fixture.admin("GET", "/metrics").await;
    assert!(
        metrics
            .head
            .contains("content-type: application/openmetrics-text")
    );
    // It tells no version.
    let digest = plugins["plugins"][0]["digest"].as_str().expect("a digest");
    let version = digest.get(..12).expect("64 digits");
    let counted = format!(
        r#"postern_plugin_calls_total{{plugin="greeter",version="{version}",outcome="ok"}} 1"#
    );
    for line in [
        r#"postern_calls_total{service="greeter",transport="tcp",outcome="success"} 1"#,
        &*counted,
        r#"postern_plugin_active{plugin="greeter"} 1"#,
        "postern_ready 1",
    ] {
        assert!(
            metrics.body.contains(line),
            "{line} not in\n{}",
            metrics.body
        );
    }
    let config = fixture.admin("GET", "/config").await;
    assert_eq!(config.status, 200);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn is_alive_and_ready_and_says_when_it_is_not() {
    let fixture = GatewayFixture::start().await;
    assert_eq!(fixture.admin("GET", "/livez").await.status, 200);
    assert_eq!(fixture.admin("GET", "/readyz").await.json()["ready"], true);
    // The operators' listener stays open while the others drain.
    let busy = half_a_call(&fixture).await;
    assert_eq!(fixture.admin("POST", "/drain").await.status, 202);
    let ready = fixture.admin("GET", "/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["reasons"][0]["name"], "draining");
    drop(busy);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_calls_in_flight_and_an_end_does_not() {
    let mut fixture = GatewayFixture::start().await;
    let _busy = half_a_call(&fixture).await;
    fixture.shutdown.drain();
    assert!(!fixture.has_ended_within(Duration::from_millis(500)).await);
    fixture.shutdown.end();
    assert!(fixture.has_ended_within(Duration::from_secs(5)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_something_by_post_only() {
    let fixture = GatewayFixture::start().await;
    let refused = fixture.admin("GET", "/drain").await;
    assert_eq!(refused.status, 405);
    assert_eq!(
        refused.json()["hint"],
        "it changes something: use POST /drain"
    );
    assert!(refused.head.contains("allow: post"), "{}", refused.head);
    assert!(!fixture.shutdown.is_draining());
    assert_eq!(fixture.admin("POST", "/plugins").await.status, 405);
    let foreign = fixture
        .admin_with("POST", "/drain", "origin: https://evil.example\r\n")
        .await;
    assert_eq!(foreign.status, 403);
    assert!(!fixture.shutdown.is_draining());
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asks_for_the_token_before_it_changes_something() {
    let fixture = GatewayFixture::start_in(folders(), "token = \"secret\"")
        .await
        .expect("starts");
    assert_eq!(fixture.admin("POST", "/drain").await.status, 401);
    assert!(
        !fixture
            .admin("GET", "/config")
            .await
            .body
            .contains("secret\"")
    );
    let answer = fixture
        .admin_with("POST", "/drain", "authorization: Bearer secret\r\n")
        .await;
    assert_eq!(answer.status, 202);
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_what_was_probably_meant() {
    let fixture = GatewayFixture::start().await;
    let answer = fixture.admin("GET", "/plugin").await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.json()["hint"],
        "did you mean /plugins? GET /help lists everything"
    );
    let answer = fixture.admin("GET", "/plugins/nobody").await;
    assert_eq!(
        (answer.status, &answer.json()["error"]),
        (404, &"no plugin nobody".into())
    );
    let help = fixture.admin("GET", "/").await.json();
    assert_eq!(help, fixture.admin("GET", "/help").await.json());
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rolls_back_and_says_when_there_is_nothing_to_go_back_to() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "old");
    fixture.until_answered("greeter", "old").await;
    let answer = fixture.admin("POST", "/plugins/greeter/rollback").await;
    assert_eq!(answer.status, 409);
    assert_eq!(
        answer.json()["error"],
        "plugin greeter has no generation before this one"
    );
    fixture.drop_answering("greeter.wasm", "new");
    fixture.until_answered("greeter", "new").await;
    let answer = fixture.admin("POST", "/plugins/greeter/rollback").await;
    assert_eq!(
        (answer.status, &answer.json()["source"]),
        (200, &"rollback".into())
    );
    fixture.until_answered("greeter", "old").await;
    assert_eq!(
        fixture
            .admin("POST", "/plugins/nobody/rollback")
            .await
            .status,
        404
    );
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_is_a_plugins_and_no_other_file() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    let own = fixture.admin("GET", "/plugins/greeter/log").await.json();
    assert_eq!(own["log"][0]["event"], "deployed", "{own}");
    // The folder of histories is two below this one.
    let foreign = fixture.folder.path().join("foreign.log");
    std::fs::write(&foreign, "{\"secret\":1}\n").expect("written");
    let absolute = format!("{}/foreign", fixture.folder.path().display());
    for name in ["../../foreign", &absolute, "greeter@../../foreign"] {
        let path = format!("/plugins/{}/log", name.replace('/', "%2F"));
        let answer = fixture.admin("GET", &path).await;
        assert_eq!(answer.status, 404, "{name}: {}", answer.body);
        assert!(!answer.body.contains("secret"), "{}", answer.body);
    }
    fixture.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_names_enough_of_a_digest_or_none() {
    let fixture = GatewayFixture::start().await;
    fixture.drop_answering("greeter.wasm", "hello");
    fixture.until_answered("greeter", "hello").await;
    let digest = "a".repeat(64);
    let ask = async |query: &str| {
        let path = format!("/plugins/greeter/approve{query}");
        fixture.admin("POST", &path).await
    };
    // Every digest begins with nothing at all.
    for wrong in ["", "aaaaaaa", "AAAAAAAA", &format!("{digest}a")] {
        let answer = ask(&format!("?digest={wrong}")).await;
        assert_eq!(answer.status, 400, "{wrong}: {}", answer.body);
        let told = answer.json()["error"].to_string();
        assert!(told.contains("8 to 64 of the digits 0-9 and a-f"), "{told}");
    }
    for good in ["", "?digest=aaaaaaaa", &format!("?digest={digest}")] {
        let answer = ask(good).await;
        assert_eq!(answer.status, 409, "{good}: {}", answer.body);
        assert_eq!(
            answer.json()["error"],
            "nothing of plugin greeter is held",
            "{good}"
        );
    }
    fixture.end().await;
}

/// A request over HTTP whose body has not come yet.
async fn half_a_call(fixture: &GatewayFixture) -> TcpStream {
    let mut stream = TcpStream::connect(fixture.address("http", "http"))
        .await
        .expect("connects");
    let head = "POST /v1/services/x/Y HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(100)).await;
    stream
}
