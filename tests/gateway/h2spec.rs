//! h2spec, a suite of others for servers of HTTP/2, against the listener without and with TLS.

use std::{net::SocketAddr, process::Command};

use crate::{dev_certificates::DevCertificates, figure, share};
use postern_tests::{Gateway, Setup, free_address, tool};

/// Cases of RFC 7540 and RFC 7541 in the suite, the strict ones included.
const N_CASES: usize = 146;
/// What answers every request once it is whole, with octets that a window of one stops.
const ROUTE: &str = "[routes.every]\npath = \"/{x}\"\nmethods = [\"GET\", \"HEAD\", \"POST\"]\n\
                     service = \"echo\"\nmethod = \"Echo\"\n";

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
    for (what, address, arguments) in [
        ("without TLS", gateway.http, &[][..]),
        ("with TLS", address, &["--tls", "--insecure"]),
    ] {
        let (failed, summary) = run(address, arguments).await;
        figure(&format!("h2spec {what}: {summary}"));
        assert_eq!(failed, [""; 0], "{what}: {summary}");
        let expected = format!("{N_CASES} tests, {N_CASES} passed, 0 skipped, 0 failed");
        assert_eq!(summary, expected, "{what}");
    }
}
