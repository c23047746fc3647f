//! h2spec, a suite of others for servers of HTTP/2, against the listener without and with TLS.

use std::{net::SocketAddr, process::Command};

use postern_tests::{Gateway, Setup, free_address, tool};

use crate::{dev_certificates::DevCertificates, figure, share};

/// Cases of RFC 7540 and RFC 7541 in the suite.
const N_CASES: usize = 146;
/// What answers every request, of whatever method. Cases of flow control need octets to wait for.
const ROUTE: &str = "[routes.every]\npath = \"/{path*}\"\n\
                     fixed = { status = 200, body = \"octets that a window of one stops\" }\n";

/// What the suite says of the listener at `address`, and whether all is well.
async fn run(address: SocketAddr, arguments: &[&str]) -> (String, bool) {
    let mut command = Command::new(tool("h2spec"));
    command
        .args(["--host", &address.ip().to_string()])
        .args(["--port", &address.port().to_string()])
        // Seconds; a case that expects nothing to come takes them all.
        .args(["--timeout", "5"])
        .args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("no panic").expect("h2spec runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    (told, output.status.success())
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
    let gateway = Gateway::start(setup).await;
    for (what, address, arguments) in [
        ("without TLS", gateway.http, &[][..]),
        ("with TLS", address, &["--tls", "--insecure"][..]),
    ] {
        let (told, is_well) = run(address, arguments).await;
        let summary = told.lines().rev().find(|line| line.contains(" tests, "));
        let summary = summary.unwrap_or_else(|| panic!("{what}: no summary in {told}"));
        figure(&format!("h2spec {what}: {summary}"));
        let expected = format!("{N_CASES} tests, {N_CASES} passed, 0 skipped, 0 failed");
        assert!(is_well && summary.trim() == expected, "{what}: {told}");
    }
}
