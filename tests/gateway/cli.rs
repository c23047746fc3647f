//! The command line: exit codes by outcome, answers on one output and everything else on the other.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    path::Path,
};

use postern_tests::{CallerTransport, Gateway, Setup, postern};
use serde_json::Value;

use crate::share;

#[tokio::test]
async fn call_prints_the_reply_over_every_transport_and_exits_with_0() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("users")).await;
    let ada = "{\"name\":\"Ada\",\"email\":\"ada@example.org\"}";
    let created = gateway.postern(&["call", "users/CreateUser", ada]);
    assert_eq!(created.code, Some(0), "{created:?}");
    let user: Value = serde_json::from_str(&created.out).expect("the reply is json");
    let id = serde_json::json!({ "id": user["id"] }).to_string();
    for transport in CallerTransport::ALL {
        let got = gateway.postern(&[
            "call",
            "--transport",
            transport.name(),
            "users/GetUser",
            &id,
        ]);
        assert_eq!(got.code, Some(0), "{transport}: {got:?}");
        assert_eq!(
            serde_json::from_str::<Value>(&got.out).ok().as_ref(),
            Some(&user),
            "{transport}"
        );
    }
}

#[tokio::test]
async fn a_failed_call_exits_with_1_and_says_its_error() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("users")).await;
    for transport in CallerTransport::ALL {
        let failed = gateway.postern(&[
            "call",
            "--transport",
            transport.name(),
            "users/GetUser",
            "{\"id\":\"none\"}",
        ]);
        assert_eq!(failed.code, Some(1), "{transport}: {failed:?}");
        assert!(
            failed.err.contains("not-found") && failed.err.contains("404"),
            "{transport}: {failed:?}"
        );
        assert_eq!(failed.out, "", "{transport}");
    }
}

#[tokio::test]
async fn plugins_and_services_are_listed() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("users").plugin("echo")).await;
    for arguments in [
        &["plugins", "list"][..],
        &["services", "list"],
        &["plugins", "info", "users"],
    ] {
        let list = gateway.postern(arguments);
        assert_eq!(list.code, Some(0), "{arguments:?}: {list:?}");
        assert!(list.out.contains("users"), "{arguments:?}: {list:?}");
    }
    let none = gateway.postern(&["plugins", "info", "nobody"]);
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.err.contains("nobody"), "{none:?}");
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &[][..],
        &["serve"],
        &["call"],
        &["call", "no-slash"],
        &["run", "--nonsense"],
    ] {
        let wrong = postern(Path::new("."), arguments);
        assert_eq!(wrong.code, Some(2), "{arguments:?}: {wrong:?}");
        assert_eq!(wrong.out, "", "{arguments:?}");
    }
}

#[test]
fn a_gateway_that_is_not_there_exits_with_1_and_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config =
        "[admin]\naddress = \"127.0.0.1:1\"\n[listeners.vstp]\naddress = \"127.0.0.1:2\"\n";
    fs::write(folder.path().join("postern.toml"), config).expect("writable");
    for (arguments, address) in [
        (&["plugins", "list"][..], "127.0.0.1:1"),
        (&["call", "users/GetUser"], "127.0.0.1:2"),
    ] {
        let lost = postern(folder.path(), arguments);
        assert_eq!(lost.code, Some(1), "{arguments:?}: {lost:?}");
        assert!(lost.err.contains(address), "{arguments:?}: {lost:?}");
        assert!(lost.err.contains("postern run"), "{arguments:?}: {lost:?}");
    }
}

#[test]
fn help_and_version_exit_with_0() {
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["call", "--help"],
        &["completions", "bash"],
    ] {
        let shown = postern(Path::new("."), arguments);
        assert_eq!(shown.code, Some(0), "{arguments:?}: {shown:?}");
        assert!(shown.out.contains("postern"), "{arguments:?}: {shown:?}");
    }
}

#[tokio::test]
async fn sub_says_where_events_are_read_over_http_and_they_are_there() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default()).await;
    let refused = gateway.postern(&["sub", ">", "--transport", "http"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let said = refused.err.split_once("-H '").expect("a header").1;
    let (header, said) = said.split_once("' -d '").expect("a message");
    let (message, said) = said.split_once("' http://HOST:PORT").expect("an address");
    let (path, length) = (said.trim(), message.len());
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\n{header}\r\ncontent-length: {length}\r\n\r\n{message}"
    );
    let mut stream = TcpStream::connect(gateway.http).expect("the listener is open");
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut status = String::new();
    let read = BufReader::new(stream).read_line(&mut status);
    read.expect("an answer begins");
    assert_eq!(status, "HTTP/1.1 200 OK\r\n", "{request}");
}
