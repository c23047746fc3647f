//! `buf curl` as people call it: by gRPC, gRPC-Web and Connect, with reflection over HTTP/2 and with a schema of its own
//! over HTTP/1.1.

use std::path::PathBuf;

use postern_tests::{Gateway, python};
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use super::{LATE, LISTED, Said, messages, said, sample, schemas};
use crate::{figure, share};

/// `buf curl` against one gateway.
struct Buf {
    base: String,
    /// Where it keeps its cache.
    folder: TempDir,
    schema: PathBuf,
}

/// Where it has the schema from, which says what it speaks without TLS: reflection needs HTTP/2.
#[derive(Debug, Clone, Copy)]
enum Source {
    Reflection,
    Own,
}

impl Buf {
    fn new(gateway: &Gateway) -> Self {
        let [schema, ..] = schemas();
        Self {
            base: format!("http://{}", gateway.http),
            folder: tempfile::tempdir().expect("a folder"),
            schema,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(python().with_file_name("buf"));
        command.arg("curl").env("HOME", self.folder.path());
        command
    }

    async fn call(&self, protocol: &str, source: Source, method: &str, data: &str) -> Said {
        let mut command = self.command();
        command.args(["--protocol", protocol, "-d", data]);
        match source {
            Source::Reflection => {}
            Source::Own => drop(command.arg("--schema").arg(&self.schema)),
        }
        said(command.arg(format!("{}/{method}", self.base))).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buf_curl_lists_services_by_both_versions_of_reflection() {
    let _machine = share().await;
    let gateway = Gateway::start(sample()).await;
    let buf = Buf::new(&gateway);
    for protocol in ["grpc-v1", "grpc-v1alpha"] {
        let mut command = buf.command();
        command.args(["--reflect-protocol", protocol, "--list-services", &buf.base]);
        let Said { out, err, .. } = said(&mut command).await;
        assert_eq!(out.lines().collect::<Vec<_>>(), LISTED, "{protocol}: {err}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buf_curl_calls_by_grpc_grpc_web_and_connect_over_both_versions_of_http() {
    let _machine = share().await;
    let gateway = Gateway::start(sample()).await;
    let buf = Buf::new(&gateway);
    let ways = [
        ("grpc", Source::Reflection),
        ("grpcweb", Source::Reflection),
        ("connect", Source::Reflection),
        ("grpcweb", Source::Own),
        ("connect", Source::Own),
    ];
    for (n, (protocol, source)) in ways.into_iter().enumerate() {
        let call = async |method: &str, data: &str| {
            let method = format!("user.UserService/{method}");
            buf.call(protocol, source, &method, data).await
        };
        let data = json!({ "name": "Ada", "email": format!("ada{n}@example.org") });
        let Said { code, err, .. } = call("CreateUser", &data.to_string()).await;
        assert_eq!(code, Some(0), "{protocol}, {source:?}: {err}");
        let Said { out, err, .. } = call("ListUsersStream", "{}").await;
        assert_eq!(messages(&out).len(), n + 1, "{protocol}, {source:?}: {err}");
        // Its code is eight times that of the status.
        let Said { code, err, .. } = call("GetUser", r#"{"id":"7"}"#).await;
        let is_told = err.contains("no user has id `7`");
        assert!(code == Some(40) && is_told, "{protocol}, {source:?}: {err}");
        figure(&format!(
            "gRPC by buf curl, {protocol}, schema {source:?}: calls, streams and failures"
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn buf_curl_streams_both_ways_and_keeps_its_deadline() {
    let _machine = share().await;
    let gateway = Gateway::start(sample()).await;
    let buf = Buf::new(&gateway);
    for protocol in ["grpc", "connect"] {
        let lines = r#"{"user_id":"1","text":"hello"} {"user_id":"1","text":"bye"}"#;
        let method = "user.ChatService/Chat";
        let Said { out, err, .. } = buf.call(protocol, Source::Reflection, method, lines).await;
        assert_eq!(messages(&out).len(), 2, "{protocol}: {err}");
        let mut command = buf.command();
        command.args(["--protocol", protocol, "--timeout", "1s", "-d", LATE]);
        command.arg(format!(
            "{}/grpc.testing.TestService/StreamingOutputCall",
            buf.base
        ));
        let Said { code, err, .. } = said(&mut command).await;
        // Eight times DEADLINE_EXCEEDED.
        assert_eq!(code, Some(32), "{protocol}: {err}");
    }
}
