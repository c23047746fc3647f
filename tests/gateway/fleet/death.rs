//! One of three gateways is killed while calls go through the others.

use std::time::{Duration, Instant};

use bytes::Bytes;
use postern_tests::{CallerTransport, Gateway, Load, connect, patiently};

use super::{fleet, instances};
use crate::{figure, own};

const RETRIED: &str = "idempotent = [\"ListUsers\"]";

/// Three gateways, callers at work at the first two, and the third killed.
struct Scene {
    gateways: Vec<Gateway>,
    loads: Vec<Load>,
    killed: Instant,
}

impl Scene {
    async fn of(policy: &str) -> Self {
        let gateways = fleet(3, policy).await;
        let mut loads = Vec::new();
        for gateway in &gateways[..2] {
            let caller = connect(gateway, CallerTransport::Tcp).await;
            let (body, pause) = (Bytes::from_static(b"{}"), Duration::from_millis(2));
            loads.push(Load::start(&caller, "users/ListUsers", &body, 8, pause));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        gateways[2].signal("KILL");
        Self {
            gateways,
            loads,
            killed: Instant::now(),
        }
    }

    /// Waits until neither of the others picks the dead one: how long that took since its end.
    async fn until_out(&self) -> Duration {
        patiently("the dead one takes no calls", async || {
            let [a, b] = self.others().map(instances);
            !a.await.contains_key("c/users") && !b.await.contains_key("c/users")
        })
        .await;
        self.killed.elapsed()
    }

    /// Waits until the third, which was out, answers calls of both others.
    async fn until_in(&self) {
        for gateway in self.others() {
            // What it has answered before may be remembered.
            let mut first = None;
            patiently("the one that is back takes calls", async || {
                let n_calls = instances(gateway).await.get("c/users").copied();
                n_calls.is_some_and(|n_calls| n_calls > *first.get_or_insert(n_calls))
            })
            .await;
        }
    }

    fn others(&self) -> [&Gateway; 2] {
        [0, 1].map(|place| &self.gateways[place])
    }

    /// Ends the load: how many calls were answered, and how many failed with which error.
    async fn stop(self) -> (usize, Vec<(String, usize)>) {
        let (mut n_answered, mut failures) = (0, Vec::new());
        for load in self.loads {
            let outcome = load.stop().await;
            figure(&format!("calls meanwhile: {}", outcome.answered));
            n_answered += outcome.answered.len();
            failures.extend(outcome.failures);
        }
        (n_answered, failures)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_gateway_is_out_and_back_in_again_and_costs_no_call() {
    let _machine = own().await;
    let mut scene = Scene::of(RETRIED).await;
    figure(&format!(
        "killed gateway out after {:.1?}",
        scene.until_out().await
    ));
    scene.gateways[2].ended().await;
    let begin = Instant::now();
    scene.gateways[2].start_again().await;
    let ready = begin.elapsed();
    scene.until_in().await;
    figure(&format!(
        "killed gateway ready {ready:.1?} after it was started again, back in after {:.1?}",
        begin.elapsed()
    ));
    // Far less than the minute that its breakers were opened for.
    assert!(
        begin.elapsed() < Duration::from_secs(20),
        "{:?}",
        begin.elapsed()
    );
    let (n_answered, failures) = scene.stop().await;
    assert_eq!(failures, []);
    assert!(n_answered > 200, "{n_answered}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_retries_the_death_of_a_gateway_costs_calls_and_says_so() {
    let _machine = own().await;
    let scene = Scene::of("[services.users.retry]\nattempts = 1").await;
    scene.until_out().await;
    let (n_answered, failures) = scene.stop().await;
    let n_failed: usize = failures.iter().map(|(_, n_calls)| n_calls).sum();
    figure(&format!(
        "without retries {n_failed} calls failed, {n_answered} were answered"
    ));
    for (failure, _) in failures {
        assert!(failure.starts_with("unavailable"), "{failure}");
    }
}
