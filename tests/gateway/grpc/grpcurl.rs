//! grpcurl as people call it: without a schema of its own, so that all that it knows is by reflection. The calls are
//! those of the samples' READMEs.

use std::time::Duration;

use postern_tests::{Gateway, Setup, free_address, tool};
use serde_json::{Value, json};
use tokio::{
    process::Command,
    time::{sleep, timeout},
};

use super::{LATE, LISTED, PATIENCE, Said, guest, messages, said, sample};
use crate::{dev_certificates::DevCertificates, figure, share};

/// Options, method, the number of the status, and what is said of it.
const FAILURES: [(&[&str], &str, i32, &str); 4] = [
    (
        &["-d", r#"{"id":"7"}"#],
        "user.UserService/GetUser",
        5,
        "no user has id `7`",
    ),
    (
        &["-d", r#"{"name":"x"}"#],
        "user.UserService/CreateUser",
        3,
        "has no `@`",
    ),
    (
        &["-max-time", "0.5", "-d", LATE],
        "grpc.testing.TestService/StreamingOutputCall",
        4,
        "DeadlineExceeded",
    ),
    (
        &["-d", r#"{"service":"user.Nobody"}"#],
        "grpc.health.v1.Health/Check",
        5,
        "NotFound",
    ),
];

const FORECAST: super::Guest = ("plugins", "forecast");

/// Whether the plugin `name` takes calls.
async fn serves(gateway: &Gateway, name: &str) -> bool {
    let told = gateway.admin(&format!("/plugins/{name}")).await;
    let (_, plugin) = told.unwrap_or_default();
    let plugin: Value = serde_json::from_str(&plugin).unwrap_or_default();
    plugin["generation"].as_u64() > Some(0)
}

/// grpcurl against one address.
struct Grpcurl {
    address: String,
    /// Of the transport.
    options: Vec<String>,
}

impl Grpcurl {
    fn plain(address: impl ToString) -> Self {
        Self {
            address: address.to_string(),
            options: vec!["-plaintext".to_owned()],
        }
    }

    async fn run(&self, options: &[&str], what: &[&str]) -> Said {
        let mut command = Command::new(tool("grpcurl"));
        command
            .args(&self.options)
            .args(options)
            .arg(&self.address)
            .args(what);
        said(&mut command).await
    }

    /// The messages of a call that succeeds.
    async fn call(&self, method: &str, data: &str) -> Vec<Value> {
        let Said { code, out, err } = self.run(&["-d", data], &[method]).await;
        assert_eq!(code, Some(0), "{method} {data}: {err}");
        messages(&out)
    }

    /// The status that a call ends with; grpcurl's code is 64 and that of the status.
    async fn status(&self, options: &[&str], method: &str) -> (i32, String) {
        let Said { code, err, .. } = self.run(options, &[method]).await;
        (code.expect("a code") - 64, err)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_lists_describes_and_calls_over_every_transport() {
    let _machine = share().await;
    let certificates = DevCertificates::new();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("grpc.sock");
    let secure = free_address().expect("a free port");
    let config = format!(
        "[listeners.local]\nprotocol = \"http\"\naddress = \"unix:{}\"\n\
         [listeners.secure]\nprotocol = \"http\"\naddress = \"{secure}\"\n{}",
        socket.display(),
        certificates.table("secure")
    );
    let gateway = Gateway::start(Setup { config, ..sample() }).await;
    let authority = certificates.path("ca.pem").display().to_string();
    for (transport, grpcurl) in [
        ("h2c", Grpcurl::plain(gateway.http)),
        (
            "TLS",
            Grpcurl {
                address: format!("localhost:{}", secure.port()),
                options: vec!["-cacert".to_owned(), authority],
            },
        ),
        (
            "a Unix socket",
            Grpcurl {
                address: socket.display().to_string(),
                options: vec!["-plaintext".to_owned(), "-unix".to_owned()],
            },
        ),
    ] {
        describes(&grpcurl).await;
        keeps_users(&grpcurl).await;
        figure(&format!(
            "gRPC by grpcurl over {transport}: list, describe, and every kind of call"
        ));
    }
}

async fn describes(grpcurl: &Grpcurl) {
    let listed = grpcurl.run(&[], &["list"]).await;
    assert_eq!(
        listed.out.lines().collect::<Vec<_>>(),
        LISTED,
        "{}",
        listed.err
    );
    let described = grpcurl.run(&[], &["describe", "user.UserService"]).await;
    let method = "rpc ListUsersStream ( .user.ListUsersRequest ) returns ( stream .user.ListUsersStreamResponse );";
    assert!(
        described.out.contains(method),
        "{}\n{}",
        described.out,
        described.err
    );
    let described = grpcurl.run(&[], &["describe", "user.User"]).await;
    for field in ["string id = 1;", "string name = 2;", "string email = 3;"] {
        assert!(described.out.contains(field), "{}", described.out);
    }
    // What one file takes from another is found as well.
    let described = grpcurl
        .run(&[], &["describe", "grpc.testing.Payload"])
        .await;
    assert!(
        described.out.contains("bytes body = 2;"),
        "{}",
        described.err
    );
}

async fn keeps_users(grpcurl: &Grpcurl) {
    let call = async |method: &str, data: Value| {
        let method = format!("user.UserService/{method}");
        grpcurl.call(&method, &data.to_string()).await.remove(0)
    };
    let created = call(
        "CreateUser",
        json!({ "name": "Ada", "email": "ada@example.org" }),
    )
    .await;
    let id = &created["id"];
    let expected = json!({ "id": id, "name": "Ada", "email": "ada@example.org" });
    assert_eq!(created, expected);
    assert_eq!(call("GetUser", json!({ "id": id })).await, expected);
    let changed = call("UpdateUser", json!({ "id": id, "name": "Ada Lovelace" })).await;
    assert_eq!(changed["name"], "Ada Lovelace");
    let two =
        r#"{"name":"Eve","email":"eve@example.org"} {"name":"Joe","email":"joe@example.org"}"#;
    let both = grpcurl.call("user.UserService/CreateUsers", two).await;
    assert_eq!(both[0]["users"].as_array().map(Vec::len), Some(2));
    let listed = call("ListUsers", json!({})).await;
    let users = listed["users"].as_array().expect("users").clone();
    assert_eq!(users.len(), 3);
    let streamed = grpcurl.call("user.UserService/ListUsersStream", "{}").await;
    let streamed: Vec<_> = streamed.iter().map(|message| &message["user"]).collect();
    assert_eq!(streamed, users.iter().collect::<Vec<_>>());
    let lines = r#"{"user_id":"1","text":"hello"} {"user_id":"1","text":"bye"}"#;
    let replies = grpcurl.call("user.ChatService/Chat", lines).await;
    let texts: Vec<_> = replies.iter().map(|reply| &reply["text"]).collect();
    assert_eq!(texts, ["hello to you, 1", "bye to you, 1"]);
    for user in users {
        let deleted = call("DeleteUser", json!({ "id": user["id"] })).await;
        assert_eq!(deleted, json!({ "success": true }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_sees_statuses_metadata_deadlines_and_health() {
    let _machine = share().await;
    let gateway = Gateway::start(sample()).await;
    let grpcurl = Grpcurl::plain(gateway.http);
    for (options, method, code, text) in FAILURES {
        let (found, err) = grpcurl.status(options, method).await;
        assert!(
            found == code && err.contains(text),
            "{method} {options:?}: {found} {err}"
        );
    }
    for service in ["", "user.UserService", "user.ChatService"] {
        let asked = json!({ "service": service }).to_string();
        let status = grpcurl.call("grpc.health.v1.Health/Check", &asked).await;
        assert_eq!(status, [json!({ "status": "SERVING" })], "{service:?}");
    }
    let options = [
        "-v",
        "-H",
        "x-grpc-test-echo-initial: first",
        "-H",
        "x-grpc-test-echo-trailing-bin: q80=",
    ];
    let told = grpcurl
        .run(&options, &["grpc.testing.TestService/UnaryCall"])
        .await;
    let (before, after) = told
        .out
        .split_once("Response trailers received:")
        .expect("trailers");
    assert!(
        before.contains("x-grpc-test-echo-initial: first"),
        "{}",
        told.out
    );
    assert!(
        after.contains("x-grpc-test-echo-trailing-bin: q80"),
        "{}",
        told.out
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn grpcurl_calls_a_plugin_in_python_by_the_schema_beside_it() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default()).await;
    // The component comes last.
    for (name, content) in guest(Setup::default(), FORECAST).files.iter().rev() {
        gateway.deploy(name, content);
    }
    let is_there = async {
        while !serves(&gateway, "forecast").await {
            sleep(Duration::from_millis(200)).await;
        }
    };
    // Native code of a component in Python takes most of a minute, and more on a busy machine.
    let is_there = timeout(2 * PATIENCE, is_there).await;
    assert!(is_there.is_ok(), "{}", gateway.log());
    let grpcurl = Grpcurl::plain(gateway.http);
    let described = grpcurl.run(&[], &["describe", "forecast"]).await;
    assert!(
        described
            .out
            .contains("rpc Predict ( .Series ) returns ( .Forecast )"),
        "{}{}",
        described.out,
        described.err
    );
    let asked =
        json!({ "start": "2026-01-31", "every": "month", "values": [1, 2, 3, 4], "count": 2 });
    let told = grpcurl.call("forecast/Predict", &asked.to_string()).await;
    let [forecast] = &told[..] else {
        panic!("{told:?}");
    };
    let points = forecast["points"].as_array().expect("points");
    let dates: Vec<_> = points.iter().map(|point| &point["date"]).collect();
    assert_eq!(dates, ["2026-05-31", "2026-06-30"]);
    assert!(
        points.iter().all(|point| point["high"].is_number()),
        "{told:?}"
    );
    // Nothing is said of the count, and 0 is said of a value.
    let one = grpcurl.call(
        "forecast/Predict",
        r#"{"start":"2026-01-31","every":"day","values":[1,2]}"#,
    );
    assert_eq!(one.await[0]["points"].as_array().map(Vec::len), Some(1));
    let followed = grpcurl.call("forecast/Follow", r#"{"value":0}{"value":2}{"value":4}"#);
    assert_eq!(followed.await.len(), 3);
    let options = ["-d", r#"{"start":"2026-01-31","every":"day","values":[1]}"#];
    let (status, told) = grpcurl.status(&options, "forecast/Predict").await;
    assert_eq!(status, 3, "{told}");
    assert!(told.contains("1 values are not 2 to 10000"), "{told}");
}
