//! What a component of another host may ask of this one: nothing but clocks and chance unless its manifest
//! grants it.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

/// A server that says what it was asked, and the address that it has.
async fn server() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let serving = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(octet) = stream.read_u8().await else {
                        return;
                    };
                    head.push(octet);
                }
                let head = String::from_utf8(head).expect("text").to_lowercase();
                if head.starts_with("get /silent") {
                    tokio::time::sleep(PATIENCE).await;
                }
                let said = format!("asked: {head}");
                let length = said.len();
                let response = format!(
                    "HTTP/1.1 203 Fine\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{said}"
                );
                // Whoever is gone reads nothing.
                let _ = stream.write_all(response.as_bytes()).await;
            });
        }
    });
    (port, serving)
}

async fn fetch(gateway: &Gateway, name: &str, url: &str) -> Answer {
    let request = Request::get(format!("/{name}/fetch"));
    let request = request.header("x-url", url).header("x-timeout-ms", "5000");
    send(gateway, request.body(nothing()).expect("a request")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_sent_where_the_manifest_grants_it() {
    let _machine = share().await;
    let (port, serving) = server().await;
    let manifest =
        format!("[grants]\nhttp = [\"127.0.0.1:{port}\", \"*:*\"]\n[limits]\ntime = \"30s\"\n");
    let setup = Setup::default().plugin("web-p2").plugin("web-p3");
    let setup = setup
        .file("web-p2.toml", &manifest)
        .file("web-p3.toml", &manifest);
    let gateway = Gateway::start(setup).await;
    for name in GUESTS {
        let answer = fetch(&gateway, name, &format!("http://127.0.0.1:{port}/a?b=c")).await;
        assert_eq!(answer.status, 203, "{}", answer.text());
        let said = answer.text();
        assert!(said.starts_with("asked: get /a?b=c http/1.1\r\n"), "{said}");
        assert!(
            said.contains(&format!("\r\nhost: 127.0.0.1:{port}\r\n")),
            "{said}"
        );
        assert!(said.contains("\r\nx-own: 1\r\n"), "{said}");
        // It is part of the trace of the request that it was sent for.
        assert!(said.contains("\r\ntraceparent: 00-"), "{said}");
        // Neither an address nor a name of this machine is meant by a star.
        for host in ["127.0.0.2", "[::1]", "localhost", "x.localhost"] {
            let answer = fetch(&gateway, name, &format!("http://{host}:{port}/")).await;
            answer.check(502, "ErrorCode::HttpRequestDenied");
        }
    }
    patiently("the grant that is missing is named", async || {
        let log = gateway.log().replace('\\', "");
        let grant = format!("`http = [\"localhost:{port}\"]` below [grants] in web-p2.toml");
        log.contains(&grant)
    })
    .await;
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_is_given_up_and_the_component_told() {
    let _machine = share().await;
    let (port, serving) = server().await;
    let manifest = format!("[grants]\nhttp = [\"127.0.0.1:{port}\"]\n[limits]\ntime = \"60s\"\n");
    let gateway = gateway(&["web-p2"], &manifest).await;
    let request = Request::get("/web-p2/fetch").header("x-timeout-ms", "200");
    let request = request.header("x-url", format!("http://127.0.0.1:{port}/silent"));
    let answer = send(&gateway, request.body(nothing()).expect("a request")).await;
    answer.check(502, "ErrorCode::HttpResponseTimeout");
    serving.abort();
    // Nobody listens there any more.
    let answer = fetch(&gateway, "web-p2", "http://127.0.0.1:1/").await;
    answer.check(502, "ErrorCode::HttpRequestDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_and_folders_are_there_by_grant() {
    let _machine = share().await;
    let bare = gateway(&GUESTS, "").await;
    for name in GUESTS {
        get(&bare, &format!("/{name}/env?HOME"))
            .await
            .check(200, "");
    }
    let answer = get(&bare, "/web-p2/read?/data/a.txt").await;
    assert!(
        !answer.text().contains("of the folder"),
        "{}",
        answer.text()
    );
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a.txt"), "of the folder").expect("written");
    let manifest = format!(
        "[grants]\nenv = {{ GREETING = \"hi\" }}\nfiles = [\"{}:/data\"]\n",
        folder.path().display()
    );
    let setup = Setup::default().plugin("web-p2").plugin("web-p3");
    let setup = setup
        .file("web-p2.toml", &manifest)
        .file("web-p3.toml", &manifest);
    let granted = Gateway::start(setup).await;
    for name in GUESTS {
        get(&granted, &format!("/{name}/env?GREETING"))
            .await
            .check(200, "hi");
    }
    get(&granted, "/web-p2/read?/data/a.txt")
        .await
        .check(200, "of the folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_of_the_sdk_of_wasmcloud_has_store_configuration_and_log() {
    let _machine = share().await;
    let manifest = "config = { greeting = \"hi\", number = 7 }\n";
    let mut gateway = gateway(&["web-wasmcloud"], manifest).await;
    let said = async |gateway: &Gateway, path: &str| {
        let answer = get(gateway, &format!("/web-wasmcloud/{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text().to_owned()
    };
    assert_eq!(said(&gateway, "hello").await, "Hello from wasmCloud");
    assert_eq!(said(&gateway, "config?greeting").await, "Some(\"hi\")");
    assert_eq!(said(&gateway, "config?absent").await, "None");
    let all = "[(\"greeting\", \"hi\"), (\"number\", \"7\")]";
    assert_eq!(said(&gateway, "config-all").await, all);
    said(&gateway, "log?from-the-component").await;
    patiently("the line is in the log", async || {
        let log = gateway.log();
        log.lines()
            .any(|line| line.contains("from-the-component") && line.contains("context=web"))
    })
    .await;
    let keys = said(&gateway, "keys").await;
    assert!(
        keys.starts_with("(Some([49]), true) (None, false) [\"key-a\"] None "),
        "{keys}"
    );
    assert!(
        keys.contains("key of 0 octets is not within 1 to 1024"),
        "{keys}"
    );
    let batch = "[Some((\"many-a\", [1])), None, Some((\"many-b\", [2]))] false";
    assert_eq!(said(&gateway, "batch").await, batch);
    assert_eq!(said(&gateway, "count?visits").await, "2");
    assert_eq!(
        said(&gateway, "other?else").await,
        "Some(Error::NoSuchStore)"
    );
    // What was counted outlives the gateway.
    gateway.restart().await;
    assert_eq!(said(&gateway, "count?visits").await, "4");
}

/// What a plugin writes by `wasi:logging` is held to the same bounds as what it writes by `log`.
#[tokio::test(flavor = "multi_thread")]
async fn lines_of_the_interface_of_wasi_have_the_bounds_of_all_lines() {
    let _machine = share().await;
    let line = format!("/web-wasmcloud/log?{}", "x".repeat(1500));
    // Whatever is logged counts, also what is dropped.
    let limits = "[limits]\nlog = 1\nlog-burst = 1\nlog-call-bytes = \"1KiB\"\n";
    let small = gateway(&["web-wasmcloud"], limits).await;
    for _ in 0..5 {
        assert_eq!(get(&small, &line).await.status, 500);
    }
    drop(small);
    // Many lines a second, and few octets.
    let limits = "[limits]\nlog = 100000\nlog-burst = 100000\nlog-bytes = \"1KiB\"\n";
    let slow = gateway(&["web-wasmcloud"], limits).await;
    patiently("lines over the rate of octets are dropped", async || {
        assert_eq!(get(&slow, &line).await.status, 200);
        let (_, metrics) = slow.admin("/metrics").await.expect("it answers");
        let dropped = metrics.lines().find_map(|sample| {
            let head = "postern_plugin_log_lines_dropped_total{plugin=\"web-wasmcloud\"";
            sample.strip_prefix(head)?.rsplit_once(' ')
        });
        dropped.is_some_and(|(_, count)| count != "0")
    })
    .await;
}
