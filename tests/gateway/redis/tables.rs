//! Key/value tables of plugins in a Redis: what they are in the gateway's own file, they are there.

use postern_core::Kind;
use postern_tests::{Gateway, RedisServer, Setup, patiently};
use serde_json::json;

use super::{ask, caller, gateway, get, set, setup};
use crate::share;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_the_same_in_a_redis_and_in_the_gateways_file() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let local = Gateway::start(Setup::default().plugin("probe")).await;
    let remote = gateway(&server, "").await;
    let mut answers = Vec::new();
    for gateway in [&local, &remote] {
        let caller = caller(gateway).await;
        let long = "k".repeat(1025);
        let mut told = Vec::new();
        for (method, message) in [
            ("KvGet", json!({"key": "a", "value": null})),
            ("KvSet", json!({"key": "a", "value": {"n": 1}})),
            ("KvGet", json!({"key": "a", "value": null})),
            ("KvSet", json!({"key": "a/1", "value": 1})),
            ("KvSet", json!({"key": "a/2", "value": 2})),
            ("KvSet", json!({"key": "b*", "value": 3})),
            (
                "KvKeys",
                json!({"prefix": "a/", "after": null, "limit": 10}),
            ),
            ("KvKeys", json!({"prefix": "", "after": "a/1", "limit": 1})),
            (
                "KvSwap",
                json!({"key": "a", "expected": {"n": 2}, "value": 0}),
            ),
            (
                "KvSwap",
                json!({"key": "a", "expected": {"n": 1}, "value": 7}),
            ),
            ("KvSwap", json!({"key": "a", "expected": 7, "value": null})),
            (
                "KvSwap",
                json!({"key": "new", "expected": null, "value": 1}),
            ),
            (
                "KvSwap",
                json!({"key": "new", "expected": null, "value": 2}),
            ),
            ("KvDelete", json!({"key": "new", "value": null})),
            ("KvDelete", json!({"key": "new", "value": null})),
            ("KvIncrement", json!({"key": "n", "value": null})),
            ("KvIncrement", json!({"key": "n", "value": null})),
            ("KvSet", json!({"key": "", "value": 1})),
            ("KvSet", json!({"key": long, "value": 1})),
            (
                "KvSet",
                json!({"key": "large", "value": "x".repeat(1 << 20)}),
            ),
        ] {
            let answer = ask(&*caller, method, &message).await;
            told.push(match answer {
                Ok(value) => value.to_string(),
                Err(error) => format!("{:?}: {}", error.kind, error.message),
            });
        }
        answers.push(told);
    }
    assert_eq!(answers[0], answers[1]);
    assert!(
        answers[0]
            .iter()
            .any(|answer| answer.contains("1025 octets")),
        "{answers:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_plugin_has_its_own_keys_and_shares_what_it_is_granted() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let setup = setup(&server.url(), "key-prefix = \"edge:\"")
        .plugin("web-wasmcloud")
        .file("web-wasmcloud.toml", "[grants]\nkv = \"team:a\"\n");
    let gateway = Gateway::start(setup).await;
    let caller = caller(&gateway).await;
    for (name, manifest) in [
        ("own", ""),
        ("team:a", "[grants]\nkv = \"team:a\"\n"),
        ("team", "[kv]\nstore = \"main\"\n[grants]\nkv = \"team\"\n"),
    ] {
        if !manifest.is_empty() {
            gateway.deploy("probe.toml", manifest.as_bytes());
        }
        patiently("its table is another one", async || {
            get(&*caller, "a:k")
                .await
                .is_ok_and(|value| value.is_null())
        })
        .await;
        set(&*caller, "a:k", name).await.expect("well");
        assert_eq!(get(&*caller, "a:k").await.expect("well"), name);
        let all = json!({"prefix": "", "after": null, "limit": 10});
        let keys = ask(&*caller, "KvKeys", &all).await.expect("well");
        assert_eq!(keys, json!(["a:k"]), "{name}");
    }
    let keys = server.run(&["keys", "*"]);
    let mut keys: Vec<_> = keys.lines().collect();
    keys.sort_unstable();
    let expected = [
        "edge:kv:plugin/probe:a:k",
        "edge:kv:shared/team%3Aa:a:k",
        "edge:kv:shared/team:a:k",
    ];
    assert_eq!(keys, expected);
    // Another plugin with the same grant has the same table.
    let listed = page(&gateway, "keys").await;
    assert!(listed.contains("\"a:k\""), "{listed}");
}

/// What the component of wasmCloud says.
async fn page(gateway: &Gateway, path: &str) -> String {
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<http_body_util::Empty<bytes::Bytes>>();
    let uri = format!("http://{}/web-wasmcloud/{path}", gateway.http);
    let reply = client
        .get(uri.parse().expect("a URI"))
        .await
        .expect("answered");
    let body = http_body_util::BodyExt::collect(reply.into_body()).await;
    String::from_utf8(body.expect("whole").to_bytes().to_vec()).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn values_expire_where_the_manifest_asks() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let manifest = "[kv]\nstore = \"main\"\nttl = \"300ms\"\n";
    let setup = setup(&server.url(), "").file("probe.toml", manifest);
    let gateway = Gateway::start(setup).await;
    let caller = caller(&gateway).await;
    set(&*caller, "k", 1).await.expect("well");
    let swap = json!({"key": "s", "expected": null, "value": 1});
    ask(&*caller, "KvSwap", &swap).await.expect("well");
    for key in ["k", "s"] {
        let left: i64 = server
            .run(&["pttl", &format!("postern:kv:plugin/probe:{key}")])
            .trim()
            .parse()
            .expect("a number");
        assert!(left <= 300 && left != -1, "{key}: {left}");
        patiently("it expires", async || {
            get(&*caller, key).await.expect("well").is_null()
        })
        .await;
    }
    // Without a store that keeps time there is none to ask for.
    gateway.deploy("probe.toml", b"[kv]\nttl = \"1h\"\nstore = \"none\"\n");
    patiently("the manifest is refused", async || {
        gateway.log().contains("kv.store: no store is called")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_of_many_callers_at_two_gateways_lose_nothing() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    // Each increment may lose to others many times.
    let patient = || setup(&server.url(), "").file("probe.toml", "limits = { time = \"20s\" }\n");
    let (one, other) = (
        Gateway::start(patient()).await,
        Gateway::start(patient()).await,
    );
    let mut callers = Vec::new();
    for gateway in [&one, &other] {
        let caller = caller(gateway).await;
        callers.extend((0..4).map(|_| {
            let caller = std::sync::Arc::clone(&caller);
            tokio::spawn(async move {
                let mut n_counted = 0;
                for _ in 0..25 {
                    let counted = ask(&*caller, "KvIncrement", &json!({"key": "n"})).await;
                    match counted {
                        Ok(_) => n_counted += 1,
                        // Others were faster each time.
                        Err(error) => assert_eq!(error.kind, Kind::Aborted, "{error}"),
                    }
                }
                n_counted
            })
        }));
    }
    let mut n_counted = 0;
    for caller in callers {
        n_counted += caller.await.expect("it ends");
    }
    let caller = caller(&one).await;
    assert!(n_counted > 0);
    assert_eq!(get(&*caller, "n").await.expect("well"), n_counted);
}

#[tokio::test(flavor = "multi_thread")]
async fn components_of_other_hosts_have_the_same_table() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let gateway = Gateway::start(setup(&server.url(), "").plugin("web-wasmcloud")).await;
    assert_eq!(page(&gateway, "count?n").await, "2");
    assert_eq!(page(&gateway, "count?n").await, "4");
    let value = server.run(&["get", "postern:kv:plugin/web-wasmcloud:n"]);
    assert_eq!(value.trim(), "4");
    let listed = page(&gateway, "keys").await;
    assert!(
        listed.contains("key-a") && listed.contains("\"n\""),
        "{listed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_call_writes_nothing_there() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let probe = postern_tests::component("probe");
    let terms = "limits = { time = \"20s\" }\n";
    let old = format!("config = {{ name = \"old\" }}\n{terms}");
    let config = setup(&server.url(), "").config;
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let setup = setup.file("probe@1.wasm", &probe).file("probe@1.toml", old);
    let gateway = Gateway::start(setup).await;
    let shadow = format!(
        "config = {{ name = \"new\" }}\n{terms}[canary]\nmode = \"shadow\"\nweight = \"0%\"\n\
         header = \"x-copy\"\nshadow-calls = 64\n"
    );
    gateway.deploy("probe@2.toml", shadow.as_bytes());
    gateway.deploy("probe@2.wasm", &probe);
    let caller = caller(&gateway).await;
    let copied = async |method: &'static str, message: serde_json::Value| {
        let mut call = postern_core::Call::unary("probe", method, message.to_string());
        call.headers.push("x-copy", "1").expect("short");
        caller.call(call).await.expect("answered");
    };
    let copies = async || {
        let (_, plugin) = gateway.admin("/plugins/probe@2").await.expect("answered");
        let plugin: serde_json::Value = serde_json::from_str(&plugin).expect("JSON");
        let copies = &plugin["trial"]["copies"];
        copies["same"].as_u64().unwrap_or(0) + copies["different"].as_u64().unwrap_or(0)
    };
    patiently("a call was copied", async || {
        copied("KvGet", json!({"key": "a", "value": null})).await;
        copies().await > 0
    })
    .await;
    let before = copies().await;
    // The copy alone writes.
    copied("KvFillWhereNew", json!({"key": "of a copy", "value": 1})).await;
    copied("KvSet", json!({"key": "k", "value": 1})).await;
    patiently("both were copied", async || copies().await >= before + 2).await;
    assert_eq!(
        server.run(&["keys", "*"]).trim(),
        "postern:kv:plugin/probe:k"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_calls_replay_without_the_server() {
    let _machine = share().await;
    let server = RedisServer::start(&[]).await;
    let gateway = gateway(&server, "").await;
    let caller = caller(&gateway).await;
    let file = gateway.folder().join("probe.calls");
    let mut command = postern_tests::command_in(gateway.folder());
    command
        .args(["record", "probe", "--calls", "3", "--out"])
        .arg(&file);
    let mut recording = command
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut told = std::io::BufReader::new(recording.stderr.take().expect("it is piped"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut told, &mut line).expect("text");
    assert!(line.contains("Ctrl-C ends it"), "{line}");
    set(&*caller, "k", 7).await.expect("well");
    assert_eq!(get(&*caller, "k").await.expect("well"), 7);
    ask(&*caller, "KvIncrement", &json!({"key": "k", "value": null}))
        .await
        .expect("well");
    assert!(recording.wait().expect("it ends").success());
    drop(server);
    let file = file.to_string_lossy().into_owned();
    let replayed = gateway.postern(&[
        "plugins", "shadow", "--output", "json", "--from", &file, "probe",
    ]);
    assert_eq!(replayed.code, Some(0), "{replayed:?}");
    let counts: serde_json::Value = serde_json::from_str(replayed.out.trim()).expect("JSON");
    assert_eq!(counts["counts"]["equal"], 3, "{counts}");
    let error = get(&*caller, "k").await.expect_err("the server is gone");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
}
