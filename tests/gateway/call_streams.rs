//! `postern call --stream`: messages of the standard input go out as they come, and so do those of the reply.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Output, Stdio},
};

use postern_tests::{CallerTransport, Gateway, Setup, command_in};

use crate::share;

/// Those that carry streams.
const STREAMING: [CallerTransport; 2] = [CallerTransport::Tcp, CallerTransport::Http];

async fn gateway() -> Gateway {
    Gateway::start(Setup::default().plugin("probe")).await
}

fn command(gateway: &Gateway, transport: CallerTransport, arguments: &[&str]) -> Command {
    let mut command = command_in(gateway.folder());
    let target = match transport {
        CallerTransport::Tcp => format!("vstp://{}", gateway.vstp),
        CallerTransport::Udp => format!("vstp+udp://{}", gateway.vstp),
        CallerTransport::Http => format!("http://{}", gateway.http),
    };
    command
        .args(["call", "--transport", &target, "--stream"])
        .args(arguments);
    command
}

fn begin(gateway: &Gateway, transport: CallerTransport, arguments: &[&str]) -> Child {
    command(gateway, transport, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("postern runs")
}

/// What it ends with when the standard input says `input` and no more.
fn with(
    gateway: &Gateway,
    transport: CallerTransport,
    arguments: &[&str],
    input: &str,
) -> (Option<i32>, String, String) {
    let mut child = begin(gateway, transport, arguments);
    let mut stdin = child.stdin.take().expect("piped");
    // It may have ended before it has read all.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    read(&child.wait_with_output().expect("it ends"))
}

fn read(output: &Output) -> (Option<i32>, String, String) {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_messages_in_either_direction() {
    let _machine = share().await;
    let gateway = gateway().await;
    for transport in STREAMING {
        let told = with(&gateway, transport, &["probe/Sum"], "1\n\n2.5\n3");
        assert_eq!(
            told,
            (Some(0), "6.5\n".to_owned(), String::new()),
            "{transport}"
        );
        let told = with(&gateway, transport, &["probe/Relay"], "{\"a\": 1}\n[2]\n");
        let expected = "{\"a\": 1}\n[2]\n".to_owned();
        assert_eq!(told, (Some(0), expected, String::new()), "{transport}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_the_reply_is_printed_while_the_request_goes_on() {
    let _machine = share().await;
    let gateway = gateway().await;
    for transport in STREAMING {
        let mut child = begin(&gateway, transport, &["probe/Relay"]);
        let mut stdin = child.stdin.take().expect("piped");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        for message in ["\"first\"\n", "\"second\"\n"] {
            stdin.write_all(message.as_bytes()).expect("it reads");
            stdin.flush().expect("it reads");
            let mut line = String::new();
            stdout.read_line(&mut line).expect("it prints");
            assert_eq!(line, message, "{transport}");
        }
        drop(stdin);
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(0), "{transport}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_the_lines_or_the_one_message() {
    let _machine = share().await;
    let gateway = gateway().await;
    let file = gateway.folder().join("numbers.ndjson");
    fs::write(&file, "1\n2\n").expect("the folder is writable");
    let path = file.to_str().expect("text");
    let arguments = ["--data-file", path, "probe/Sum"];
    let told = with(&gateway, CallerTransport::Tcp, &arguments, "");
    assert_eq!((told.0, told.1.as_str()), (Some(0), "3.0\n"), "{}", told.2);
    fs::write(&file, "\"x-a\"").expect("the folder is writable");
    let one = gateway.postern(&["call", "--data-file", path, "probe/Header"]);
    assert_eq!((one.code, one.out.as_str()), (Some(0), "null\n"), "{one:?}");
    let none = gateway.postern(&["call", "--stream", "--data-file", "nowhere", "probe/Sum"]);
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.err.contains("cannot read nowhere"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_the_codes_that_they_have_elsewhere() {
    let _machine = share().await;
    let gateway = gateway().await;
    for transport in STREAMING {
        let (code, out, err) = with(&gateway, transport, &["probe/Sum"], "1\n2\nthree\n");
        assert_eq!((code, out.as_str()), (Some(2), ""), "{transport}: {err}");
        let told = "line 3 of the standard input is no JSON";
        assert!(err.contains(told), "{transport}: {err}");
        let (code, out, err) = with(&gateway, transport, &["probe/Sum"], "1\n\"two\"\n");
        assert_eq!((code, out.as_str()), (Some(1), ""), "{transport}: {err}");
        assert!(err.contains("invalid-argument"), "{transport}: {err}");
        let (code, _, err) = with(&gateway, transport, &["nobody/Sum"], "1\n");
        assert_eq!(code, Some(1), "{transport}: {err}");
        assert!(err.contains("not-found"), "{transport}: {err}");
    }
    let both = gateway.postern(&["call", "--stream", "probe/Sum", "1"]);
    assert_eq!(both.code, Some(2), "{both:?}");
}
