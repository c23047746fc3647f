//! gRPC from outside: clients of others against components, and through the gateway against servers of others.
//!
//! | file | clients |
//! | --- | --- |
//! | `interop.rs` | the interop client of grpc-go, every case that needs no cloud |
//! | `clients.rs` | the C core, grpc-js, and Connect's clients for gRPC, gRPC-Web and Connect |
//! | `grpcurl.rs` | grpcurl |
//! | `buf_curl.rs` | `buf curl`: gRPC, gRPC-Web and Connect |
//! | `raw.rs` | octets that are right and wrong |
//! | `tonic.rs` | tonic, of messages that are octets |
//! | `connections.rs` | frames of HTTP/2, by which connections are kept and ended |
//! | `goaway.rs` | the same, before an upstream that says GOAWAY |
//! | `page.rs` | a page in a browser |
//! | `schemas.rs` | our own: schemas beside components, health, reflection |
//! | `transcoding.rs` | our own: HTTP and JSON by `google.api.http` |
//! | `upstreams.rs` | our own, before a server of gRPC in the test |
//! | `upstream_schemas.rs` | HTTP and our own, before a server of the C core: routes and files of its schema |
//! | `table.py` | the C core, at guests in every language without a schema |

mod buf_curl;
mod clients;
mod connections;
mod goaway;
mod grpcurl;
mod interop;
mod page;
mod raw;
mod schemas;
mod tonic;
mod tonic_client;
mod transcoding;
mod upstream_schemas;
mod upstreams;

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use postern_tests::{Gateway, Setup, python};
use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::figure;

/// How long a program of others may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// A guest: its folder's folder, and its name.
type Guest = (&'static str, &'static str);

const USERS: Guest = ("plugins", "users");
const CHAT: Guest = ("plugins", "user-chat");
const INTEROP: Guest = ("tests/guests", "grpc-interop");

/// Services that reflection has to list, in the order of their names.
const LISTED: [&str; 7] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "grpc.testing.TestService",
    "user.ChatService",
    "user.UserService",
    "xds.service.orca.v3.OpenRcaService",
];

/// Asks the guest of the interop cases for an answer after ten seconds, in JSON.
const LATE: &str = r#"{"response_parameters":[{"interval_us":10000000}]}"#;

/// What a program said, and its code.
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Where the repository is.
fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("tests is a folder of it")
}

/// Folders that the schemas of `sample` lie in, as compilers of schemas want them.
fn schemas() -> [PathBuf; 3] {
    let folders = [USERS, CHAT, INTEROP];
    let [users, chat, interop] = folders.map(|(folder, name)| repository().join(folder).join(name));
    [users, chat, interop.join("proto")]
}

/// Adds a guest as it lies in its folder: component, manifest and schema.
fn guest(setup: Setup, (folder, name): Guest) -> Setup {
    let folder = repository().join(folder).join(name);
    let manifest = fs::read_to_string(folder.join(format!("{name}.toml"))).expect("a manifest");
    // Streams of many users take their time otherwise.
    let manifest = manifest.replace("list-interval-ms = 100", "list-interval-ms = 20");
    // And so does a busy machine.
    let manifest = match manifest.contains("[limits]") {
        true => manifest,
        false => format!("{manifest}\n[limits]\ntime = \"20s\"\n"),
    };
    let setup = setup.plugin(name).file(&format!("{name}.toml"), manifest);
    let schema = schema(&folder, &folder).into_iter();
    schema.fold(setup, |setup, (path, text)| setup.file(&path, text))
}

/// The files of a schema below `folder`, by their paths from `root` on.
fn schema(root: &Path, folder: &Path) -> Vec<(String, String)> {
    let entries = folder.read_dir().expect("a folder").flatten();
    let found = entries.flat_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return schema(root, &path);
        }
        let is_schema = path.extension() == Some(OsStr::new("proto"));
        let file = is_schema.then(|| {
            let from_root = path.strip_prefix(root).expect("below it");
            let text = fs::read_to_string(&path).expect("readable");
            (from_root.to_string_lossy().into_owned(), text)
        });
        file.into_iter().collect()
    });
    found.collect()
}

/// The samples `users` and `user-chat`, and the guest of the interop cases.
fn sample() -> Setup {
    [USERS, CHAT, INTEROP]
        .into_iter()
        .fold(Setup::default(), guest)
}

/// Runs a program to its end.
async fn said(command: &mut Command) -> Said {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {command:?}"));
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    Said {
        code: output.status.code(),
        out: text(&output.stdout),
        err: text(&output.stderr),
    }
}

/// JSON values that follow each other.
fn messages(text: &str) -> Vec<Value> {
    let values = serde_json::Deserializer::from_str(text).into_iter();
    values.map(|value| value.expect("JSON")).collect()
}

/// A script of this folder, to be run by Python.
fn script(name: &str) -> Command {
    let mut command = Command::new(python());
    command
        .arg(repository().join("tests/gateway/grpc").join(name))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// The lines of a script, each `name: what came of it`.
async fn cases(command: &mut Command) -> Vec<(String, String)> {
    let Said { code, out, err } = said(command).await;
    assert_eq!(code, Some(0), "{command:?}: {out}\n{err}");
    let lines = out.lines().map(|line| {
        let (name, outcome) = line.split_once(": ").expect("a name");
        (name.to_owned(), outcome.to_owned())
    });
    lines.collect()
}

/// Has the guest of `lang` asked over gRPC all that is in the table of guests.
pub(crate) async fn check_table(gateway: &Gateway, lang: &str) {
    let mut command = script("table.py");
    let cases = cases(command.arg(gateway.http.to_string()).arg(lang)).await;
    assert!(!cases.is_empty());
    assert_eq!(faults(&cases), [""; 0], "{lang}\n{}", gateway.log());
    figure(&format!(
        "table-{lang} over gRPC: {} cases passed",
        cases.len()
    ));
}

/// Those that are not `ok`, a line each.
fn faults(cases: &[(String, String)]) -> Vec<String> {
    let faults = cases.iter().filter(|(_, outcome)| outcome != "ok");
    faults
        .map(|(name, outcome)| format!("{name}: {outcome}"))
        .collect()
}
