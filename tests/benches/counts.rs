//! Instruction counts of this build against those kept in `instructions.toml`.
//!
//! `POSTERN_BLESS=1` keeps the new ones instead; the change then shows in the commit.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::table::{Goal, Table};

/// How far a count may move before it is a finding, as a ratio. The hot paths allocate, and where
/// an allocation lands moves a count by a few in a thousand.
const RATIO_MAX: f64 = 1.02;

pub(crate) fn run(table: &mut Table) {
    let measured = measure();
    if std::env::var_os("POSTERN_BLESS").is_some() {
        keep(&measured);
    }
    let kept = kept();
    for (name, count) in measured {
        // What is not kept yet is a finding, too.
        let before = kept.get(&name).copied().unwrap_or_default();
        let ratio = count as f64 / before.max(1) as f64;
        let what = format!("instructions: {name} (kept)");
        table.compare(
            what,
            count.to_string(),
            before.to_string(),
            ratio,
            Goal::AtMost(RATIO_MAX),
        );
    }
}

/// Runs `instructions.rs` under callgrind.
fn measure() -> BTreeMap<String, u64> {
    let echo = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(echo.path(), postern_tests::component("echo")).expect("writable");
    let probe = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(probe.path(), postern_tests::component("probe")).expect("writable");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("POSTERN_ECHO", echo.path())
        .env("POSTERN_PROBE", probe.path());
    cargo.args([
        "bench",
        "-q",
        "-p",
        "postern-tests",
        "--bench",
        "instructions",
        "--",
    ]);
    let output = cargo
        .arg("--output-format=json")
        .output()
        .expect("cargo runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{said}\nneeds valgrind and gungraun-runner: cargo install gungraun-runner --version 0.20.0"
    );
    let summaries = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>();
    summaries
        .map(|summary| count(&summary.expect("gungraun speaks json")))
        .collect()
}

/// Name and instruction count of one summary.
fn count(summary: &Value) -> (String, u64) {
    let text = |key: &str| summary.get(key).and_then(Value::as_str).unwrap_or_default();
    let instructions = summary.pointer("/profiles/0/data/total/metrics/Ir/values/new");
    let count =
        instructions.and_then(|value| value.as_u64().or_else(|| value.get("Int")?.as_u64()));
    let count = count.expect("callgrind counts instructions");
    (format!("{}.{}", text("function_name"), text("id")), count)
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml")
}

fn kept() -> BTreeMap<String, u64> {
    let text = fs::read_to_string(path()).expect("instructions.toml is there");
    let table: toml::Table = text.parse().expect("instructions.toml is toml");
    let number = |value: &toml::Value| value.as_integer().and_then(|n| u64::try_from(n).ok());
    table
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), number(value)?)))
        .collect()
}

fn keep(counts: &BTreeMap<String, u64>) {
    let mut file = fs::File::create(path()).expect("instructions.toml is writable");
    let head = "# Instructions per frame or call, as callgrind counts them; written by\n\
                # `POSTERN_BLESS=1 cargo bench -p postern-tests --bench bench -- instructions`.\n";
    file.write_all(head.as_bytes()).expect("writable");
    for (name, count) in counts {
        writeln!(file, "\"{name}\" = {count}").expect("writable");
    }
}
