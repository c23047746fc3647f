//! `postern inspect`: frames from hex and live between two peers.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use postern_net::{Client, ClientConfig, Target};
use postern_tests::{Gateway, Setup, binary, call, free_address, postern};

use crate::share;

#[test]
fn a_frame_in_hex_is_taken_apart() {
    let hex = "565401030000000000000548656c6c6f326d0910";
    let text = postern(Path::new("."), &["inspect", hex]);
    assert_eq!(text.code, Some(0), "{text:?}");
    assert!(
        text.out.contains("DATA") && text.out.contains("Hello"),
        "{}",
        text.out
    );
    let json = postern(Path::new("."), &["--output", "json", "inspect", hex]);
    let first = json.out.lines().next().unwrap_or_default();
    let frame: serde_json::Value = serde_json::from_str(first).expect("a line of json per frame");
    assert_eq!(frame["type"], "DATA", "{frame}");
}

#[test]
fn a_wrong_checksum_is_named_and_fails() {
    let hex = "565401030000000000000548656c6c6f326d0911";
    let text = postern(Path::new("."), &["inspect", hex]);
    assert_eq!(text.code, Some(1), "{text:?}");
    assert!(text.out.contains("crc"), "{}", text.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_shows_what_passes() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("echo")).await;
    let listen = free_address().expect("a free port");
    let (from, to) = (listen.to_string(), gateway.vstp.to_string());
    let mut command = Command::new(binary());
    command
        .args(["inspect", "--relay", &from, "--to", &to])
        .stdout(Stdio::piped());
    let mut relay = command
        .stderr(Stdio::null())
        .spawn()
        .expect("the relay starts");
    let shown = BufReader::new(relay.stdout.take().expect("piped"));
    let client = loop {
        match Client::connect(Target::tcp(listen), ClientConfig::default()).await {
            Ok(client) => break client,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    let reply = call(&client, "echo/Echo", "{\"n\":17}")
        .await
        .expect("passes the relay");
    assert_eq!(reply, "{\"n\":17}");
    client.close().await;
    // What passes is shown a moment later; whoever stops the relay at once may see nothing.
    let mut lines = Vec::new();
    let reading = tokio::task::spawn_blocking(move || {
        let mut n_seen = 0;
        for line in shown.lines().map_while(Result::ok) {
            n_seen += usize::from(line.contains("DATA"));
            lines.push(line);
            if n_seen == 2 {
                break;
            }
        }
        (n_seen, lines)
    });
    let patience = tokio::time::sleep(std::time::Duration::from_secs(20));
    tokio::pin!(reading, patience);
    let early = tokio::select! {
        read = &mut reading => Some(read),
        () = patience => None,
    };
    // The end of the relay ends a reading that still waits.
    relay.kill().expect("the relay runs");
    relay.wait().expect("the relay ends");
    let read = match early {
        Some(read) => read,
        None => reading.await,
    };
    let (n_seen, lines) = read.expect("the reader does not panic");
    assert!(n_seen >= 2, "request and reply in {lines:#?}");
}
