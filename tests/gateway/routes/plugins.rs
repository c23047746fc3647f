//! Routes that plugins bring, and that go with them.

use postern_tests::{component, patiently};

use super::*;

const MANIFEST: &str = "[routes.get]\npath = \"/people/{id}\"\nmethods = [\"GET\"]\nmethod = \"GetUser\"\n\
                        service = \"users\"\n[routes.hello]\npath = \"/hello\"\nfixed = { status = 200, body = \"hello\" }\n";

/// What `GET PATH` comes to.
async fn status(gateway: &Gateway, path: &str) -> u16 {
    ask(gateway.http, &format!("GET {path}"), "", "")
        .await
        .status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugins_routes_come_and_go_with_its_generation() {
    let _machine = share().await;
    let setup = Setup::default()
        .plugin("users")
        .file("users.toml", MANIFEST);
    let gateway = Gateway::start(setup).await;
    let told = ask(gateway.http, "GET /people/nobody", "", "").await;
    assert_eq!(told.json(404)["error"], "no user has id `nobody`");
    ask(gateway.http, "GET /hello", "", "")
        .await
        .check(200, "hello");
    // Another manifest is another generation.
    gateway.deploy(
        "users.toml",
        MANIFEST.replace("/hello", "/hallo").as_bytes(),
    );
    patiently("the new route is there", async || {
        status(&gateway, "/hallo").await == 200
    })
    .await;
    assert_eq!(status(&gateway, "/hello").await, 404);
    // One that cannot serve leaves the one before, with its routes.
    gateway.deploy(
        "users.toml",
        MANIFEST.replace("\"users\"", "\"echo\"").as_bytes(),
    );
    patiently("it is refused", async || {
        let plugin = gateway.admin_json("/plugins/users").await;
        plugin["refusal"]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("not one of the plugin's own"))
    })
    .await;
    assert_eq!(status(&gateway, "/hallo").await, 200);
    gateway.remove("users.wasm");
    gateway.remove("users.toml");
    patiently("the routes are gone", async || {
        status(&gateway, "/hallo").await == 404
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_that_somebody_has_is_refused_until_it_is_free() {
    let _machine = share().await;
    let config = "[routes.mine]\npath = \"/hello\"\nfixed = { status = 203, body = \"mine\" }\n";
    let setup = Setup {
        config: config.to_owned(),
        ..Setup::default()
    };
    let setup = setup
        .plugin("echo")
        .plugin("users")
        .file("users.toml", MANIFEST);
    let gateway = Gateway::start(setup).await;
    let reason = async || {
        let plugin = gateway.admin_json("/plugins/users").await;
        plugin["refusal"]["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let told = "route users.hello takes the same requests as route mine; let path, methods or hosts differ";
    assert_eq!(reason().await, told);
    ask(gateway.http, "GET /hello", "", "")
        .await
        .check(203, "mine");
    let text = configuration(&gateway).replace("\"/hello\"", "\"/mine\"");
    configure(&gateway, &text).await;
    patiently("the plugin has its route", async || {
        status(&gateway, "/hello").await == 200
    })
    .await;
    // Of two plugins the first has it.
    let manifest = "[routes.x]\npath = \"/hello\"\nfixed = { status = 204 }\n";
    gateway.deploy("zebra.toml", manifest.as_bytes());
    gateway.deploy("zebra.wasm", &component("probe"));
    patiently("the second is refused", async || {
        let (_, told) = gateway.admin("/plugins/zebra").await.expect("answered");
        told.contains("zebra.x takes the same requests as route users.hello")
    })
    .await;
    ask(gateway.http, "GET /hello", "", "")
        .await
        .check(200, "hello");
}
