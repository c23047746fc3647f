//! What was acknowledged outlives `kill -9`: sessions, shared subscriptions, QoS 1 and 2. What is owed
//! outlives a stop: wills.

use std::{process::Stdio, time::Duration};

use postern_tests::RunningClient;
use tokio::{io::AsyncReadExt as _, time::sleep};

use super::{Broker, python_script};
use crate::{figure, share};

/// How often the gateway is killed.
fn kills() -> usize {
    match std::env::var_os("POSTERN_SOAK") {
        Some(_) => 50,
        None => 10,
    }
}

/// Moments between 50 and 1,500 ms, other ones in each run.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let seed = now.map_or(1, |since| u64::from(since.subsec_nanos())) | 1;
        figure(&format!("kill -9 of MQTT: moments of seed {seed}"));
        Self(seed)
    }

    /// Xorshift, as Marsaglia has it.
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(50 + self.0 % 1_450)
    }
}

async fn clients(script: &str, broker: &Broker) -> RunningClient {
    let mut command = python_script(script);
    command
        .arg(broker.address.ip().to_string())
        .arg(broker.address.port().to_string())
        .stderr(Stdio::piped());
    RunningClient::start(&mut command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_when_the_gateway_is_killed() {
    let _machine = share().await;
    let mut broker = Broker::start("").await;
    let mut clients = clients("kill.py", &broker).await;
    let mut moments = Moments::new();
    for _ in 0..kills() {
        sleep(moments.next()).await;
        broker.signal("KILL");
        broker.ended().await;
        broker.start_again().await;
    }
    let told = clients.stop().await;
    let mut errors = String::new();
    let mut stderr = clients.child.stderr.take().expect("piped");
    let read = stderr.read_to_string(&mut errors).await;
    read.expect("text");
    for line in errors.lines() {
        match line.strip_prefix("figure: ") {
            Some(line) => figure(&format!("{} kills; {line}", kills())),
            None => panic!("{errors}"),
        }
    }
    let is_good = told.iter().all(|line| line.ends_with(": ok"));
    assert!(is_good && told.len() == 7, "{told:#?}\n{}", broker.log());
}

/// All cases that `clients` tell of when they go on are good, and there are so many.
async fn check(clients: &mut RunningClient, n_cases: usize, broker: &Broker) {
    let told = clients.stop().await;
    let is_good = told.iter().all(|line| line.ends_with(": ok"));
    assert!(
        is_good && told.len() == n_cases,
        "{told:#?}\n{}",
        broker.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_shared_subscription_outlives_a_kill() {
    let _machine = share().await;
    let mut broker = Broker::start("[mqtt]\nin-flight-max = 10\n").await;
    let mut clients = clients("shares.py", &broker).await;
    broker.signal("KILL");
    broker.ended().await;
    broker.start_again().await;
    check(&mut clients, 5, &broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_publishes_wills_and_owes_those_that_wait() {
    let _machine = share().await;
    let mut broker = Broker::start("").await;
    let mut clients = clients("stop.py", &broker).await;
    assert!(broker.terminate().await.success(), "{}", broker.log());
    broker.start_again().await;
    check(&mut clients, 1, &broker).await;
}
