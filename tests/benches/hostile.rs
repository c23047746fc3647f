//! A neighbour beside hostile guests: how long its calls take while another plugin does its worst, beside how long
//! they take alone, in turns.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use postern_core::Handler;
use postern_tests::{CallerTransport, Gateway, Load, Percentiles, Setup, connect};

use crate::{
    passes::Passes,
    table::{Goal, Table, progress},
};

/// What the guest `misbehave` does, by its method and the body that asks for it.
const ATTACKS: [(&str, &str, &str); 7] = [
    ("an endless loop", "Loop", "null"),
    ("a memory bomb", "Allocate", "null"),
    ("a deep recursion", "Recurse", "null"),
    (
        "a log flood",
        "FloodLog",
        "{\"lines\":1000000000,\"bytes\":100}",
    ),
    ("a host-call flood", "HostCalls", "{\"count\":1000000000}"),
    ("a huge output", "BigOutput", "{\"bytes\":9000000}"),
    ("calls that call themselves", "CallItself", "null"),
];
const PASSES: usize = 7;
const ROUND: Duration = Duration::from_secs(2);
/// Between two calls of the neighbour, and between an attack's end and the next by the same caller.
const PAUSE: Duration = Duration::from_millis(1);
/// As many as there are processors on a small machine.
const ATTACKERS: usize = 2;

pub(crate) async fn run(table: &mut Table) {
    let setup = Setup {
        config: "[log]\nlevel = \"error\"\naccess = \"off\"\n".to_owned(),
        ..Setup::default()
    };
    let setup = setup.file("misbehave.toml", "[grants]\nservices = [\"misb*\"]\n");
    let gateway = Gateway::start(setup.plugin("misbehave").plugin("echo")).await;
    let hostile = connect(&gateway, CallerTransport::Tcp).await;
    let neighbour = connect(&gateway, CallerTransport::Tcp).await;
    for (name, method, body) in ATTACKS {
        progress(&format!("a neighbour beside {name}"));
        let body = Bytes::from_static(body.as_bytes());
        let target = format!("misbehave/{method}");
        let mut passes = Vec::new();
        for _ in 0..PASSES {
            let alone = round(&neighbour).await;
            let attack = Load::start(&hostile, &target, &body, ATTACKERS, PAUSE);
            let beside = round(&neighbour).await;
            // Nobody waits for loops, which end by their time.
            drop(attack);
            passes.push([beside, alone]);
        }
        let passes = Passes(passes);
        for (percent, goal) in [(50, Goal::None), (99, Goal::AtMost(1.1))] {
            let time = |round: &Percentiles| round.at(percent).as_secs_f64();
            table.compare(
                format!("echo beside {name}: p{percent} (alone)"),
                passes.median_time(|[beside, _]| time(beside)),
                passes.median_time(|[_, alone]| time(alone)),
                passes.median(|[beside, alone]| time(beside) / time(alone)),
                goal,
            );
        }
    }
}

/// Durations of the neighbour's calls, one each millisecond or two.
async fn round(neighbour: &Arc<dyn Handler>) -> Percentiles {
    let body = Bytes::from_static(b"1");
    let load = Load::start(neighbour, "echo/Echo", &body, 1, PAUSE);
    tokio::time::sleep(ROUND).await;
    let outcome = load.stop().await;
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    outcome.answered
}
