//! Servers of gRPC as instances of services, through the real gateway: whoever calls the service, by whatever
//! protocol, reaches them.

mod server;

use std::{fs, sync::atomic::Ordering::SeqCst, time::Duration};

use bytes::Bytes;
use postern_core::{Body, BodyStream, Call, Error, Handler, Headers, Kind};
use postern_tests::{CallerTransport, Gateway, Setup, call, connect, patiently};
use serde_json::{Value, json};

use self::server::{PROTO, STATUSES, Server, field};
use crate::share;

const GET: &str = "user.UserService/GetUser";

async fn gateway(config: String) -> Gateway {
    let setup = Setup {
        config,
        ..Setup::default()
    };
    Gateway::start(setup).await
}

fn parsed(octets: &[u8]) -> Value {
    serde_json::from_slice(octets).expect("json")
}

/// A call of `method` whose message is protobuf.
fn protobuf(method: &'static str, body: Body) -> Call {
    let mut call = Call::unary("user.UserService", method, "");
    let mut headers = Headers::new();
    let pushed = headers.push("content-type", "application/protobuf");
    pushed.expect("short");
    call.headers = headers;
    call.body = body;
    call
}

async fn messages(body: Body) -> (Vec<Bytes>, Option<Headers>) {
    let mut stream = body.into_messages(1 << 20);
    let mut messages = Vec::new();
    while let Some(message) = stream.next().await {
        messages.push(message.expect("a message"));
    }
    (messages, stream.trailers())
}

#[tokio::test]
async fn callers_with_json_reach_an_instance_through_its_reflection() {
    let _shared = share().await;
    let server = Server::start().await;
    let gateway = gateway(server.instance("one")).await;
    for transport in CallerTransport::ALL {
        let handler = connect(&gateway, transport).await;
        let reply = call(&*handler, GET, "{\"id\":\"7\"}").await;
        let expected = json!({ "id": "7", "name": "Ada" });
        assert_eq!(parsed(&reply.expect("answered")), expected, "{transport}");
        let error = call(&*handler, "user.UserService/DeleteUser", "{}").await;
        let error = error.expect_err("no such user");
        assert_eq!(
            (error.kind, &*error.message),
            (Kind::NotFound, "no such user")
        );
        let error = call(&*handler, GET, "{\"id\":7,\"no\":1}")
            .await
            .expect_err("no such field");
        assert_eq!(error.kind, Kind::InvalidArgument, "{error}");
        let error = call(&*handler, "user.UserService/Nothing", "{}").await;
        assert_eq!(error.expect_err("no method").kind, Kind::Unimplemented);
    }
    assert_eq!(
        server.shared.n_reflections.load(SeqCst),
        1,
        "it is asked once"
    );
    let stream = Call::unary("user.UserService", "ListUsersStream", "{\"id\":\"8\"}");
    let handler = connect(&gateway, CallerTransport::Http).await;
    let reply = handler.call(stream).await.expect("answered");
    let (messages, _) = messages(reply.body).await;
    let expected = json!({ "id": "8", "name": "Ada" });
    assert_eq!(messages.len(), 3);
    assert!(
        messages.iter().all(|one| parsed(one) == expected),
        "{messages:?}"
    );
}

#[tokio::test]
async fn callers_with_json_reach_an_instance_through_files() {
    let _shared = share().await;
    let server = Server::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("user.proto");
    fs::write(&file, PROTO).expect("written");
    let service = format!(
        "[services.\"user.UserService\"]\nproto = [{:?}]\n",
        file.display().to_string()
    );
    let gateway = gateway(format!("{}{service}", server.instance("one"))).await;
    let handler = connect(&gateway, CallerTransport::Http).await;
    let reply = call(&*handler, GET, "{\"id\":\"7\"}")
        .await
        .expect("answered");
    assert_eq!(parsed(&reply), json!({ "id": "7", "name": "Ada" }));
    assert_eq!(server.shared.n_reflections.load(SeqCst), 0);
    fs::write(
        &file,
        "syntax = \"proto3\";\nmessage User { Strin id = 1; }",
    )
    .expect("written");
    let checked = gateway.postern(&["check"]);
    assert_ne!(checked.code, Some(0));
    assert!(checked.err.contains("Strin"), "{}", checked.err);
}

#[tokio::test]
async fn a_service_without_a_schema_is_passed_on_as_octets() {
    let _shared = share().await;
    let server = Server::start().await;
    let service = "[services.\"user.UserService\"]\ngrpc.reflection = false\n";
    let gateway = gateway(format!("{}{service}", server.instance("one"))).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let sent: Vec<_> = [&b"\x01\x02"[..], b"", b"\xff"]
        .map(Bytes::from_static)
        .into();
    let stream = futures_util::stream::iter(sent.clone().into_iter().map(Ok::<_, Error>));
    let body = Body::Messages(BodyStream::new(stream));
    let reply = handler
        .call(protobuf("Echo", body))
        .await
        .expect("answered");
    let (back, trailers) = messages(reply.body).await;
    assert_eq!(back, sent);
    assert_eq!(
        trailers.expect("trailers").get_str("x-served").as_deref(),
        Some("yes")
    );
    let one = Body::One(Bytes::from_static(b"\x00"));
    let reply = handler.call(protobuf("Echo", one)).await.expect("answered");
    assert_eq!(messages(reply.body).await.0, [&b"\x00"[..]]);
    assert_eq!(server.shared.n_reflections.load(SeqCst), 0);
}

#[tokio::test]
async fn a_plugin_calls_an_instance_as_any_other_service() {
    let _shared = share().await;
    let server = Server::start().await;
    let setup = Setup {
        config: server.instance("one"),
        ..Setup::default()
    };
    let setup = setup.plugin("probe");
    let gateway =
        Gateway::start(setup.file("probe.toml", "grants.services = [\"user.*\"]\n")).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let request = json!({
        "service": "user.UserService", "method": "GetUser", "body": { "id": "9" },
        "headers": { "x-tenant": "acme" }, "timeout_ms": 5000,
    });
    let reply = call(&*handler, "probe/Call", request.to_string())
        .await
        .expect("answered");
    assert_eq!(parsed(&reply), json!({ "id": "9", "name": "Ada" }));
    let metadata = server.shared.metadata.lock().expect("whole").clone();
    assert_eq!(metadata["x-tenant"], "acme");
    assert!(metadata.contains_key("grpc-timeout") && metadata.contains_key("traceparent"));
}

/// How often the server is called until a call is answered, with `config` of the service.
async fn tries(config: &str, n_failures: usize, pushback: Option<&'static str>) -> (usize, bool) {
    let server = Server::start().await;
    server.shared.n_failures.store(n_failures, SeqCst);
    *server.shared.pushback.lock().expect("whole") = pushback;
    let service = format!("[services.\"user.UserService\"]\n{config}\n");
    let gateway = gateway(format!("{}{service}", server.instance("one"))).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let answered = call(&*handler, GET, "{\"id\":\"7\"}").await;
    (server.n_calls(), answered.is_ok())
}

#[tokio::test]
async fn calls_are_tried_again_by_status_and_pushback() {
    let _shared = share().await;
    let idempotent = "idempotent = [\"Get*\"]";
    assert_eq!(tries(idempotent, 2, None).await, (3, true));
    assert_eq!(
        tries(idempotent, 3, None).await,
        (3, false),
        "three tries at most"
    );
    assert_eq!(
        tries("", 1, None).await,
        (1, false),
        "nobody says that it may be repeated"
    );
    assert_eq!(
        tries(idempotent, 1, Some("-1")).await,
        (1, false),
        "the server forbids it"
    );
    let begin = std::time::Instant::now();
    assert_eq!(tries(idempotent, 1, Some("300")).await, (2, true));
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[tokio::test]
async fn the_standard_service_configuration_holds() {
    let _shared = share().await;
    let policy = json!({
        "methodConfig": [{
            "name": [{ "service": "user.UserService", "method": "GetUser" }],
            "retryPolicy": {
                "maxAttempts": 5, "initialBackoff": "0.01s", "maxBackoff": "0.1s",
                "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }],
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("user.json");
    fs::write(&file, policy.to_string()).expect("written");
    let of_file = format!("grpc-service-config = {:?}", file.display().to_string());
    assert_eq!(tries(&of_file, 4, None).await, (5, true));
    // What is written beside it comes before it.
    let fewer = format!("{of_file}\nretry.attempts = 2");
    assert_eq!(tries(&fewer, 4, None).await, (2, false));
    let server = Server::start().await;
    let inline = "[services.\"user.UserService\".grpc-service-config]\n\
        methodConfig = [{ name = [{}], timeout = \"0.3s\" }]\n";
    let gateway = gateway(format!("{}{inline}", server.instance("one"))).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    let error = call(&*handler, "user.UserService/Slow", "{}")
        .await
        .expect_err("too slow");
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    let refused = "[services.users.grpc-service-config]\n\
        retryThrottling = { maxTokens = 10, tokenRatio = 0.1 }\n";
    fs::write(gateway.folder().join("refused.toml"), refused).expect("written");
    let checked = gateway.postern(&["check", "--config", "refused.toml"]);
    assert_ne!(checked.code, Some(0));
    assert!(
        checked.err.contains("retryThrottling: tokens by failure"),
        "{}",
        checked.err
    );
}

#[tokio::test]
async fn statuses_of_an_application_open_no_breaker_and_those_of_a_broken_server_do() {
    const N_CALLS: usize = 5;
    const THRESHOLD: usize = 3;
    let _shared = share().await;
    let server = Server::start().await;
    let services = STATUSES.map(|status| {
        let address = server.address;
        format!(
            "[instances.i{status}]\nservice = \"status.S{status}\"\naddresses = [\"grpc://{address}\"]\n\
             [services.\"status.S{status}\"]\ngrpc.reflection = false\nretry.attempts = 1\n\
             outlier.enabled = false\nbreaker.failure-threshold = {THRESHOLD}\n"
        )
    });
    let directory = "[directory]\nfailure-threshold = 100\n";
    let gateway = gateway(format!("{directory}{}", services.concat())).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    for status in STATUSES {
        let target = format!("status.S{status}/Status{status}");
        for _ in 0..N_CALLS {
            call(&*handler, &target, "{}").await.expect_err("it fails");
        }
        let expected = match status {
            "13" | "14" | "15" => THRESHOLD,
            _ => N_CALLS,
        };
        assert_eq!(server.n_calls_of(&target), expected, "status {status}");
    }
}

#[tokio::test]
async fn calls_to_instances_are_counted_by_method_and_code_with_their_messages() {
    let _shared = share().await;
    let server = Server::start().await;
    let gateway = gateway(server.instance("one")).await;
    let handler = connect(&gateway, CallerTransport::Http).await;
    for _ in 0..2 {
        call(&*handler, GET, "{\"id\":\"7\"}")
            .await
            .expect("answered");
    }
    let error = call(&*handler, "user.UserService/DeleteUser", "{}").await;
    assert_eq!(error.expect_err("no such user").kind, Kind::NotFound);
    // Of a method that no schema describes, nothing is counted by its name.
    let error = call(&*handler, "user.UserService/Nothing", "{}").await;
    error.expect_err("no method");
    let stream = Call::unary("user.UserService", "ListUsersStream", "{\"id\":\"8\"}");
    let reply = handler.call(stream).await.expect("answered");
    assert_eq!(messages(reply.body).await.0.len(), 3);
    let slow = call(&*handler, "user.UserService/Slow", "{\"id\":\"9\"}");
    let of = "service=\"user.UserService\"";
    let shows = async |lines: &[String]| {
        let (_, text) = gateway.admin("/metrics").await.expect("metrics");
        lines
            .iter()
            .all(|line| text.lines().any(|written| written == line))
    };
    let open = [format!("postern_upstream_calls_in_flight{{{of}}} 1")];
    tokio::select! {
        answered = slow => panic!("{answered:?}"),
        () = patiently("a stream is open", async || shows(&open).await) => {}
    }
    let by_method = |method: &str, outcome: &str, count: u32| {
        format!(
            "postern_upstream_method_calls_total{{{of},method=\"{method}\",outcome=\"{outcome}\"}} {count}"
        )
    };
    let lines = [
        format!("postern_upstream_calls_in_flight{{{of}}} 0"),
        format!("postern_upstream_calls_total{{{of},outcome=\"success\"}} 3"),
        format!("postern_upstream_calls_total{{{of},outcome=\"cancelled\"}} 1"),
        by_method("GetUser", "success", 2),
        by_method("ListUsersStream", "success", 1),
        by_method("DeleteUser", "not-found", 1),
        by_method("Slow", "cancelled", 1),
        format!("postern_upstream_call_duration_seconds_count{{{of}}} 5"),
        // `id` in three octets each but for the empty message, and what the server adds.
        format!("postern_upstream_message_bytes_sum{{{of},direction=\"request\"}} 12.0"),
        format!("postern_upstream_message_bytes_count{{{of},direction=\"reply\"}} 5"),
        format!("postern_upstream_message_bytes_sum{{{of},direction=\"reply\"}} 40.0"),
    ];
    patiently("the stream is closed", async || shows(&lines[..1]).await).await;
    let (_, text) = gateway.admin("/metrics").await.expect("metrics");
    let written: Vec<_> = text.lines().collect();
    let missing: Vec<_> = lines
        .iter()
        .filter(|line| !written.contains(&line.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}\n{text}");
    assert!(!text.contains("method=\"Nothing\""), "{text}");
}

#[tokio::test]
async fn calls_are_balanced_over_instances_one_by_one() {
    let _shared = share().await;
    let servers = [Server::start().await, Server::start().await];
    let config = format!(
        "{}{}[services.default]\nbalancer = \"round-robin\"\n",
        servers[0].instance("one"),
        servers[1].instance("two")
    );
    let gateway = gateway(config).await;
    let handler = connect(&gateway, CallerTransport::Http).await;
    for _ in 0..20 {
        call(&*handler, GET, "{}").await.expect("answered");
    }
    assert_eq!(servers.each_ref().map(Server::n_calls), [10, 10]);
}

#[tokio::test]
async fn an_instance_of_grpc_is_as_well_as_it_says() {
    let _shared = share().await;
    let servers = [Server::start().await, Server::start().await];
    let config = format!(
        "{}{}[directory]\nprobe-interval = \"100ms\"\nprobe-down-interval = \"100ms\"\n\
         failure-threshold = 1\nrecovery-threshold = 1\nhold = \"0s\"\npanic-percent = 0\n\
         [services.\"user.UserService\"]\ngrpc.health-check = true\ngrpc.health-service = \"user.UserService\"\n",
        servers[0].instance("one"),
        servers[1].instance("two")
    );
    let gateway = gateway(config).await;
    let handler = connect(&gateway, CallerTransport::Tcp).await;
    servers[0].shared.is_ill.store(true, SeqCst);
    let is_spared = async || {
        let before = servers[0].n_calls();
        for _ in 0..10 {
            call(&*handler, GET, "{}").await.expect("answered");
        }
        servers[0].n_calls() == before
    };
    patiently("the ill instance is spared", is_spared).await;
    servers[0].shared.is_ill.store(false, SeqCst);
    let is_back = async || {
        let before = servers[0].n_calls();
        for _ in 0..10 {
            call(&*handler, GET, "{}").await.expect("answered");
        }
        servers[0].n_calls() > before
    };
    patiently("it is asked again", is_back).await;
}

// The command is waited for by the thread that starts it.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_reaches_a_server_of_grpc() {
    let _shared = share().await;
    let server = Server::start().await;
    let gateway = gateway(server.instance("one")).await;
    let request = String::from_utf8(field(1, b"7")).expect("text");
    let target = format!("grpc://{}", server.address);
    let called = gateway.postern(&["call", "--raw", "--transport", &target, GET, &request]);
    assert!(called.out.contains("Ada"), "{called:?}");
}

#[tokio::test]
async fn an_instance_at_a_unix_socket_is_called() {
    let _shared = share().await;
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("echo.sock").display().to_string();
    let listener = format!("[listeners.local]\nprotocol = \"grpc\"\naddress = \"unix:{socket}\"\n");
    let setup = Setup {
        config: listener,
        ..Setup::default()
    };
    let there = Gateway::start(setup.plugin("echo")).await;
    let here = gateway(format!(
        "[instances.local]\nservice = \"echo\"\naddresses = [\"grpc://unix:{socket}\"]\n"
    ))
    .await;
    for transport in CallerTransport::ALL {
        let handler = connect(&here, transport).await;
        let reply = call(&*handler, "echo/Echo", "\"by a file\"").await;
        assert_eq!(reply.expect("answered"), "\"by a file\"", "{transport}");
    }
    drop(there);
}
