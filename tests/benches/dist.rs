//! The profile `dist`, which is shipped, beside the build that measures: the same servers, built twice.

use std::{path::PathBuf, process::Command};

use serde_json::Value;

use crate::{
    echo::{compare_cpu, side_by_side},
    serve::{Role, Server},
    table::{Goal, Table, progress},
};

pub(crate) async fn run(table: &mut Table) {
    let program = build();
    for (role, name) in [(Role::Native, "native"), (Role::Component, "component")] {
        let (ours, theirs) = (Server::start_of(&program, role), Server::start(role));
        for n_connections in [1, 16] {
            let passes = side_by_side(64, n_connections, &ours, &theirs).await;
            let what = format!(
                "pipelined 64 B x {n_connections}, {name} of dist: processor time (release)"
            );
            compare_cpu(table, what, &passes, Goal::None);
        }
    }
}

/// This bench, built with the profile. Takes a quarter of an hour the first time.
fn build() -> PathBuf {
    progress("building the bench with the profile dist");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args([
        "bench",
        "-q",
        "-p",
        "postern-tests",
        "--bench",
        "bench",
        "--profile",
        "dist",
        "--no-run",
        "--message-format=json",
    ]);
    let output = cargo.output().expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let messages = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    let program = messages.filter_map(Result::ok).find_map(|message| {
        let is_bench = message.pointer("/target/name").and_then(Value::as_str) == Some("bench");
        let program = message.get("executable").and_then(Value::as_str);
        program.filter(|_| is_bench).map(PathBuf::from)
    });
    program.expect("cargo names the program that it built")
}
