//! Calls that arrive together enter a guest once, and nobody can tell from the answers.

use std::time::{Duration, Instant};

use postern_core::{Call, Error, Handler, Kind, Reply, headers::HeadersBuilder};
use postern_wasm::{Instances, Mode, Outcome, Plugin, PluginSpec, StatsSnapshot, TrapReason};

use crate::guest::{Fixture, call, small, typed};

fn guest() -> Vec<u8> {
    typed(include_str!("guest/batch.wat"))
}

fn calls(method: &str, bodies: &[&str]) -> Vec<Call> {
    let call = |body: &&str| Call::unary("test", method, (*body).to_owned());
    bodies.iter().map(call).collect()
}

/// What became of each of `calls`, in their order.
async fn outcomes(plugin: &Plugin, calls: Vec<Call>) -> Vec<Result<Reply, Error>> {
    let n_calls = calls.len();
    let answering = plugin.call_batch(calls);
    assert_eq!(answering.len(), n_calls);
    futures_util::future::join_all(answering).await
}

/// The answers as text; a failure by the name of its kind.
async fn answers(plugin: &Plugin, calls: Vec<Call>) -> Vec<String> {
    let mut answers = Vec::new();
    for outcome in outcomes(plugin, calls).await {
        answers.push(match outcome {
            Ok(reply) => {
                let message = reply.body.into_one(usize::MAX).await.unwrap();
                String::from_utf8(message.to_vec()).unwrap()
            }
            Err(error) => error.kind.name().to_owned(),
        });
    }
    answers
}

/// Entries that answered several calls, the calls that they answered, entries that were undone.
fn batches(stats: &StatsSnapshot) -> (u64, u64, u64) {
    (stats.batches, stats.batched_calls, stats.batches_undone)
}

async fn plugin(fixture: &Fixture, instances: Instances) -> Plugin {
    let spec = PluginSpec {
        instances,
        ..PluginSpec::default()
    };
    fixture.plugin("batch", &guest(), spec).await
}

#[tokio::test]
async fn calls_that_come_together_are_answered_in_one_entry() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture, Instances::default()).await;
    let bodies = ["A", "", "f", "BCD"];
    let expected = ["A", "", "not-found", "BCD"];
    assert_eq!(answers(&plugin, calls("e", &bodies)).await, expected);
    let stats = plugin.stats().snapshot();
    assert_eq!(batches(&stats), (1, 4, 0));
    assert_eq!(stats.calls_with(Outcome::Ok), 3);
    assert_eq!(stats.calls_with(Outcome::Failed), 1);
    assert_eq!(stats.call_buckets.iter().sum::<u64>(), 4);
}

#[tokio::test]
async fn a_call_by_itself_is_no_batch() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture, Instances::default()).await;
    assert_eq!(answers(&plugin, calls("e", &["A"])).await, ["A"]);
    assert_eq!(batches(&plugin.stats().snapshot()), (0, 0, 0));
}

#[tokio::test]
async fn only_calls_of_one_method_go_together_and_the_order_stays() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture, Instances::default()).await;
    let mut all = calls("one", &["A", "B"]);
    all.extend(calls("two", &["C", "D", "E"]));
    all.extend(calls("one", &["G"]));
    let expected = ["A", "B", "C", "D", "E", "G"];
    assert_eq!(answers(&plugin, all).await, expected);
    assert_eq!(batches(&plugin.stats().snapshot()), (2, 5, 0));
}

#[tokio::test]
async fn as_many_calls_as_the_manifest_says_and_none_where_it_says_so() {
    let fixture = Fixture::new();
    for (batch_max, expected) in [(2, (2, 4, 0)), (1, (0, 0, 0))] {
        let instances = Instances {
            batch_max,
            ..Instances::default()
        };
        let plugin = plugin(&fixture, instances).await;
        let bodies = ["A", "B", "C", "D", "E"];
        assert_eq!(answers(&plugin, calls("e", &bodies)).await, bodies);
        assert_eq!(batches(&plugin.stats().snapshot()), expected);
    }
}

#[tokio::test]
async fn large_bodies_go_in_more_entries() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture, Instances::default()).await;
    let large = "x".repeat(30 * 1024);
    let bodies = [large.as_str(); 5];
    assert_eq!(answers(&plugin, calls("e", &bodies)).await, bodies);
    // Two of 30 KiB fit into 64.
    assert_eq!(batches(&plugin.stats().snapshot()), (2, 4, 0));
}

#[tokio::test]
async fn each_call_asks_for_its_own_headers_and_sets_its_own() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture, Instances::default()).await;
    let mut all = calls("e", &["h", "plain", "h", "h"]);
    for (call, value) in all.iter_mut().zip(["one", "two", "three"]) {
        let mut headers = HeadersBuilder::default();
        headers.push("x-test", value).unwrap();
        call.headers = headers.build();
    }
    let outcomes = outcomes(&plugin, all).await;
    let header = |outcome: &Result<Reply, Error>| {
        let reply = outcome.as_ref().ok()?;
        reply
            .headers
            .get_str("x-test")
            .map(std::borrow::Cow::into_owned)
    };
    let headers: Vec<Option<String>> = outcomes.iter().map(header).collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(headers, [text("one"), None, text("three"), None]);
    let last = outcomes.last().unwrap().as_ref().unwrap_err();
    assert_eq!(last.kind, Kind::NotFound, "it has no such header");
    assert_eq!(batches(&plugin.stats().snapshot()), (1, 4, 0));
}

#[tokio::test]
async fn a_trap_is_told_to_the_call_that_made_it() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture, Instances::default()).await;
    let outcomes = outcomes(&plugin, calls("e", &["A", "t", "B"])).await;
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!(error.message, "plugin batch trapped: unreachable");
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    let stats = plugin.stats().snapshot();
    assert_eq!(batches(&stats), (0, 0, 1));
    assert_eq!(stats.calls_with(Outcome::Ok), 2);
    assert_eq!(stats.calls_with(Outcome::Trapped), 1);
    assert_eq!(stats.traps_with(TrapReason::Unreachable), 1);
    assert_eq!(stats.calls.iter().sum::<u64>(), 3, "{stats:?}");
}

#[tokio::test]
async fn after_a_trap_calls_go_alone_for_a_while() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture, Instances::default()).await;
    outcomes(&plugin, calls("e", &["t", "A"])).await;
    let mut n_alone = 0;
    while plugin.stats().snapshot().batches == 0 {
        assert_eq!(answers(&plugin, calls("e", &["A", "B"])).await, ["A", "B"]);
        n_alone += 1;
        assert!(n_alone < 1000, "batches never came back");
    }
    assert_eq!(n_alone, 65, "64, and the one that was a batch again");
}

#[tokio::test]
async fn a_loop_costs_the_other_calls_of_its_batch_some_time_only() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.limits.time_max = Duration::from_millis(200);
    let plugin = fixture.plugin("batch", &guest(), spec).await;
    let start = Instant::now();
    let all = calls("e", &["A", "l", "B"]);
    assert_eq!(answers(&plugin, all).await, ["A", "deadline-exceeded", "B"]);
    assert!(start.elapsed() >= Duration::from_millis(200));
    let stats = plugin.stats().snapshot();
    assert_eq!(batches(&stats), (0, 0, 1));
    assert_eq!(stats.traps_with(TrapReason::TimeLimit), 1);
    assert_eq!(stats.calls.iter().sum::<u64>(), 3, "{stats:?}");
}

#[tokio::test]
async fn what_has_an_effect_is_done_once_and_by_itself() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture, Instances::default()).await;
    let all = || calls("e", &["k1", "k2"]);
    assert_eq!(answers(&plugin, all()).await, ["k1", "k2"]);
    assert_eq!(batches(&plugin.stats().snapshot()), (0, 0, 1));
    // From here on its calls go to fibers, where there are no batches.
    assert_eq!(answers(&plugin, all()).await, ["k1", "k2"]);
    assert_eq!(batches(&plugin.stats().snapshot()), (0, 0, 1));
    fixture.runtime.shutdown();
}

#[tokio::test]
async fn a_guest_that_breaks_the_rules_answers_one_by_one() {
    let fixture = Fixture::new();
    for method in ["n: a result too few", "x: a turn beyond the last"] {
        let plugin = plugin(&fixture, Instances::default()).await;
        let all = calls(method, &["A", "B", "C"]);
        assert_eq!(answers(&plugin, all).await, ["A", "B", "C"], "{method}");
        let stats = plugin.stats().snapshot();
        assert_eq!(batches(&stats), (0, 0, 1), "{method}");
        assert_eq!(stats.traps.iter().sum::<u64>(), 0, "{method}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_alone() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.limits.input_bytes_max = 3;
    let plugin = fixture.plugin("batch", &guest(), spec).await;
    let told = answers(&plugin, calls("e", &["A", "B", "LONG", "C", "D"])).await;
    assert_eq!(told, ["A", "B", "resource-exhausted", "C", "D"]);
    assert_eq!(batches(&plugin.stats().snapshot()), (2, 4, 0));
}

#[tokio::test]
async fn what_one_call_may_ask_of_the_host_is_not_lent_to_others() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.limits.host_calls_max = 3;
    let plugin = fixture.plugin("batch", &guest(), spec).await;
    // Each asks for a header, and sets one where there is one: two calls of the host at most.
    let told = answers(&plugin, calls("e", &["h", "h", "h", "h"])).await;
    assert_eq!(told, ["not-found"; 4], "each has its own allowance");
    assert_eq!(batches(&plugin.stats().snapshot()), (0, 0, 1));
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused_alone() {
    let fixture = Fixture::new();
    let mut spec = PluginSpec::default();
    spec.limits.output_bytes_max = 1024;
    let plugin = fixture.plugin("batch", &guest(), spec).await;
    let outcomes = outcomes(&plugin, calls("e", &["A", "o"])).await;
    assert!(outcomes[0].is_ok());
    let error = outcomes[1].as_ref().unwrap_err();
    let text = "plugin batch trapped: output of 65536 octets exceeds the limit of 1024";
    assert_eq!(error.message, text);
    assert_eq!(batches(&plugin.stats().snapshot()), (0, 0, 1));
}

#[tokio::test]
async fn a_deadline_is_that_of_one_call() {
    let fixture = Fixture::new();
    let plugin = plugin(&fixture, Instances::default()).await;
    let mut all = calls("e", &["A", "l", "B"]);
    all[1].context.deadline = Some(Instant::now() + Duration::from_millis(50));
    let outcomes = outcomes(&plugin, all).await;
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!(error.kind, Kind::DeadlineExceeded);
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
}

#[tokio::test]
async fn calls_that_are_to_have_an_instance_of_their_own_have_it() {
    let fixture = Fixture::new();
    for (mode, expected) in [
        (Mode::Isolated, ["\u{1}", "\u{1}"]),
        (Mode::Single, ["\u{1}", "\u{2}"]),
    ] {
        let instances = Instances {
            mode,
            ..Instances::default()
        };
        let plugin = plugin(&fixture, instances).await;
        let counted = answers(&plugin, calls("e", &["c", "c"])).await;
        assert_eq!(counted, expected, "{mode:?}");
        assert_eq!(batches(&plugin.stats().snapshot()), (0, 0, 0), "{mode:?}");
    }
}

#[tokio::test]
async fn instances_count_the_calls_of_a_batch() {
    let fixture = Fixture::new();
    let instances = Instances {
        calls_max: 4,
        ..Instances::default()
    };
    let plugin = plugin(&fixture, instances).await;
    let n_created = plugin.stats().snapshot().instances_created;
    for _ in 0..4 {
        answers(&plugin, calls("e", &["A", "B"])).await;
    }
    // Two batches were all that the first one took. The calls after them found none that was idle,
    // and made the one that took the last batch.
    let stats = plugin.stats().snapshot();
    assert_eq!(batches(&stats), (3, 6, 0));
    assert_eq!(stats.instances_created, n_created + 1, "{stats:?}");
}

#[tokio::test]
async fn without_the_role_calls_go_one_by_one() {
    let fixture = Fixture::new();
    let plugin = fixture
        .plugin("small", &small(), PluginSpec::default())
        .await;
    let bodies = ["A", "B"];
    assert_eq!(answers(&plugin, calls("e", &bodies)).await, bodies);
    assert_eq!(batches(&plugin.stats().snapshot()), (0, 0, 0));
}

#[tokio::test]
async fn where_nothing_is_in_service_each_call_is_told() {
    let fixture = Fixture::new();
    let plugin = Plugin::new(&fixture.runtime, "empty");
    let told = answers(&plugin, calls("e", &["A", "B"])).await;
    assert_eq!(told, ["unavailable", "unavailable"]);
}

#[tokio::test]
async fn outside_a_batch_turn_is_refused() {
    let text = include_str!("guest/batch.wat").replace("(i32.const -1)", "(i32.const 0)");
    let fixture = Fixture::new();
    let plugin = fixture
        .plugin("batch", &typed(&text), PluginSpec::default())
        .await;
    let error = call(&plugin, "e", b"h").await.unwrap_err();
    let text = "plugin batch trapped: call.turn(0) in a batch of 0";
    assert_eq!(error.message, text);
}
