//! The rules of RFC 6455 and RFC 7692 against a library of others, case by case. `rfc6455.py` says what
//! is sent, `rfc6455.txt` what has to come of it.

use std::process::Command;

use postern_tests::{Gateway, Setup, python};

use crate::{figure, share};

const EXPECTED: &str = include_str!("rfc6455.txt");

#[tokio::test(flavor = "multi_thread")]
async fn a_library_of_others_meets_every_rule_of_rfc_6455_and_rfc_7692() {
    let _machine = share().await;
    let gateway = Gateway::start(Setup::default().plugin("echo")).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/gateway/websocket/rfc6455.py");
    let mut command = Command::new(python());
    command
        .arg(script)
        .arg(gateway.http.ip().to_string())
        .arg(gateway.http.port().to_string());
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("no panic").expect("python runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let told = String::from_utf8_lossy(&output.stdout);
    let pairs = told.lines().zip(EXPECTED.lines());
    let differences: Vec<_> = pairs
        .filter(|(told, expected)| told != expected)
        .map(|(told, expected)| format!("     told {told}\n expected {expected}"))
        .collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
    assert_eq!(told.lines().count(), EXPECTED.lines().count(), "{told}");
    let n_cases = EXPECTED.lines().count();
    figure(&format!(
        "websocket, cases of RFC 6455 and 7692 by the library websockets: {n_cases} as expected"
    ));
}
