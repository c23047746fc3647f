//! h2spec, a suite of others for servers of HTTP/2, against the listener without and with TLS.

use std::{net::SocketAddr, process::Command, time::Duration};

use postern_tests::{Gateway, Setup, free_address, tool};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{dev_certificates::DevCertificates, figure, share};

/// Cases of RFC 7540 and RFC 7541 in the suite, the strict ones included.
const N_CASES: usize = 146;
/// What answers every request once it is whole, with octets that a window of one stops.
const ROUTE: &str = "[routes.every]\npath = \"/{x}\"\nmethods = [\"GET\", \"HEAD\", \"POST\"]\n\
                     service = \"echo\"\nmethod = \"Echo\"\n";
/// The case that a port without TLS cannot meet: what is no preface of HTTP/2 is a request of HTTP/1
/// there, so that an answer of HTTP/1 comes before the connection is closed.
const OTHER_PREFACE: &str = "Sends invalid connection preface";

/// What the suite says of the listener at `address`: cases that failed, and its summary.
async fn run(address: SocketAddr, arguments: &[&str]) -> (Vec<String>, String) {
    let mut command = Command::new(tool("h2spec"));
    command
        .args(["--host", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        .args(["--path", "/whole", "--strict"])
        // Seconds; what has to come comes at once.
        .args(["--timeout", "10"])
        .args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("no panic").expect("h2spec runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    let failures = told.split_once("\nFailures:").map_or("", |(_, rest)| rest);
    let failed = failures.lines().filter_map(|line| line.split_once("× "));
    let failed = failed.map(|(_, title)| title.trim_start_matches(|c: char| !c.is_alphabetic()));
    let failed = failed.map(str::to_owned).collect();
    let summary = told.lines().rfind(|line| line.contains(" tests, "));
    let summary = summary.unwrap_or_else(|| panic!("no summary in {told}"));
    assert!(output.status.code().is_some(), "{told}");
    (failed, summary.trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_of_h2spec_passes_without_and_with_tls() {
    let _machine = share().await;
    let certificates = DevCertificates::new();
    let address = free_address().expect("a free port");
    let config = format!(
        "{ROUTE}[listeners.edge]\nprotocol = \"http\"\naddress = \"{address}\"\n{}",
        certificates.table("edge")
    );
    let setup = Setup {
        config,
        ..Setup::default()
    };
    let gateway = Gateway::start(setup.plugin("echo")).await;
    for (what, address, arguments, expected) in [
        ("without TLS", gateway.http, &[][..], &[OTHER_PREFACE][..]),
        ("with TLS", address, &["--tls", "--insecure"], &[]),
    ] {
        let (failed, summary) = run(address, arguments).await;
        figure(&format!("h2spec {what}: {summary}"));
        assert_eq!(failed, expected, "{what}: {summary}");
        let (n_failed, n_passed) = (expected.len(), N_CASES - expected.len());
        let expected = format!("{N_CASES} tests, {n_passed} passed, 0 skipped, {n_failed} failed");
        assert_eq!(summary, expected, "{what}");
    }
    // Of that case: it is answered as HTTP/1 has it, and the connection is closed.
    let mut stream = TcpStream::connect(gateway.http).await.expect("it listens");
    let preface = b"INVALID CONNECTION PREFACE\r\n\r\n";
    stream.write_all(preface).await.expect("taken");
    let mut told = String::new();
    let reading = timeout(Duration::from_secs(60), stream.read_to_string(&mut told));
    reading.await.expect("closed in time").expect("text");
    assert!(told.starts_with("HTTP/1.1 400 "), "{told}");
}
