//! What was acknowledged outlives `kill -9`: entries of streams, and keys.

use std::time::Duration;

use postern_tests::RunningClient;
use tokio::time::sleep;

use super::{Front, python_script};
use crate::{figure, share};

/// How often the gateway is killed.
fn kills() -> u64 {
    match std::env::var_os("POSTERN_SOAK") {
        Some(_) => 50,
        None => 8,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_clients_of_redis_were_answered_is_lost_when_the_gateway_is_killed() {
    let _machine = share().await;
    let mut front = Front::start("").await;
    let mut command = python_script("kill.py");
    command.arg(front.address.port().to_string());
    let mut client = RunningClient::start(&mut command).await;
    for number in 0..kills() {
        sleep(Duration::from_millis(150 + number * 389 % 1_300)).await;
        front.signal("KILL");
        front.ended().await;
        front.start_again().await;
    }
    let mut told = Vec::new();
    for line in client.stop().await {
        match line.strip_prefix("figure: ") {
            Some(line) => figure(&format!("Redis, {} kills: {line}", kills())),
            None => told.push(line),
        }
    }
    let is_good = told.iter().all(|line| line.ends_with(": ok"));
    assert!(is_good && told.len() == 4, "{told:#?}\n{}", front.log());
}
