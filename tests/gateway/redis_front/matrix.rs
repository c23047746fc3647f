//! Every command, by clients of others.

use postern_tests::{node_packages, said, system_tool, tool};
use tokio::process::Command;

use super::{Front, folder};
use crate::{figure, share};

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_there_for_redis_py() {
    let _machine = share().await;
    let front = Front::start("").await;
    let n_cases = front.check("matrix.py", &[]).await;
    figure(&format!("Redis by redis-py: {n_cases} cases passed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_there_for_ioredis() {
    let _machine = share().await;
    let front = Front::start("").await;
    let mut command = Command::new("node");
    command
        .arg(folder().join("ioredis.mjs"))
        .arg(front.address.port().to_string())
        .env("NODE_FOLDER", node_packages("redis"));
    let n_cases = front.cases(&mut command).await;
    figure(&format!("Redis by ioredis: {n_cases} cases passed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_there_for_go_redis() {
    let _machine = share().await;
    let front = Front::start("").await;
    let mut command = Command::new(tool("redis-client"));
    command.arg(front.address.to_string());
    let n_cases = front.cases(&mut command).await;
    figure(&format!("Redis by go-redis: {n_cases} cases passed"));
}

/// One line of a program, as redis-cli shows the answer.
async fn cli(front: &Front, words: &[&str]) -> String {
    let mut command = Command::new(system_tool("redis-cli"));
    command
        .args(["-p", &front.address.port().to_string()])
        .args(words);
    said(&mut command).await.out.trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_cli_speaks_both_versions() {
    let _machine = share().await;
    let front = Front::start("").await;
    for version in ["-2", "-3"] {
        assert_eq!(cli(&front, &[version, "PING"]).await, "PONG");
        assert_eq!(cli(&front, &[version, "SET", "cli", "a b"]).await, "OK");
        assert_eq!(cli(&front, &[version, "GET", "cli"]).await, "a b");
        let echoed = cli(&front, &[version, "CALL", "echo/echo", "{\"a\":1}"]).await;
        assert_eq!(echoed, "{\"a\":1}");
        let unknown = cli(&front, &[version, "CALL", "nobody/x", "{}"]).await;
        assert!(unknown.starts_with("NOT_FOUND "), "{unknown}");
        let told = cli(&front, &[version, "PUBLISH", "cli.news", "x"]).await;
        assert_eq!(told, "0");
        let keys = cli(&front, &[version, "--scan", "--pattern", "cl*"]).await;
        assert_eq!(keys, "cli");
    }
}
