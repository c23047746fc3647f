//! What a direct entry costs, and how long a budget lasts: `cargo bench -p postern-wasm`.
//!
//! Each figure is the fastest of eleven batches, so that a busy machine only makes it take longer.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on has failed"
)]
#![expect(clippy::print_stdout, reason = "the figures are the output")]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::{
    Call, Reply,
    extension::{Asked, Flow, Interceptor, Step},
};
use postern_wasm::{Ask, Candidate, CandidateSet, Plugin, PluginSpec, Runtime, RuntimeConfig};

const TYPES: &str = include_str!("../tests/plugin/guest/types.wat");
const BALANCER: &str = include_str!("../tests/plugin/guest/balancer.wat");
const INTERCEPTOR: &str = include_str!("../tests/plugin/guest/interceptor.wat");
/// The key of `balancer.wat` for a pick that never ends.
const LOOP: u64 = 1001;

const N_BATCHES: usize = 11;
const N_CALLS: u32 = 20_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run());
}

async fn run() {
    let folder = tempfile::TempDir::new().unwrap();
    let config = RuntimeConfig {
        data_dir: folder.path().to_owned(),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(config).unwrap();
    let plugin = deploy(&runtime, BALANCER, PluginSpec::default()).await;
    let set = set(&plugin);
    let turn = AtomicUsize::new(0);
    row(
        "pick, native round robin",
        time(|| {
            black_box(turn.fetch_add(1, Relaxed) % 3);
        }),
    );
    row(
        "pick, component",
        time(|| {
            black_box(pick(&set, 1));
        }),
    );
    row(
        "done, component",
        time(|| {
            set.done(1, postern_wasm::Outcome::Ok, Duration::from_micros(5));
        }),
    );
    let empty = INTERCEPTOR.replace(
        "(; EMPTY ;)",
        "(if (i32.const 1) (then (return (call $ok (i32.const 0)))))",
    );
    let plugin = deploy(&runtime, &empty, PluginSpec::default()).await;
    let interceptor = plugin.interceptor().unwrap();
    interceptors(&interceptor);
    budget(&runtime).await;
}

fn interceptors(interceptor: &Arc<dyn Interceptor>) {
    let body = Bytes::from_static(&[7; 64]);
    let mut call = Some(Call::unary("users", "find", body.clone()));
    let asked = Asked::of(&Call::unary("users", "find", body.clone()), Instant::now());
    row(
        "on-request, empty component",
        time(|| {
            let Step::Done(Flow::Proceed(back)) = interceptor.on_request(call.take().unwrap())
            else {
                unreachable!("it proceeds at once")
            };
            call = Some(back);
        }),
    );
    let mut outcome = Some(Ok(Reply::one(body)));
    row(
        "on-response, empty component",
        time(|| {
            let Step::Done(seen) = interceptor.on_response(&asked, outcome.take().unwrap()) else {
                unreachable!("it answers at once")
            };
            outcome = Some(seen.outcome);
        }),
    );
}

/// How long an endless loop runs for a budget of 10 ms.
async fn budget(runtime: &Arc<Runtime>) {
    let mut fastest = Duration::MAX;
    for _ in 0..N_BATCHES {
        let mut spec = PluginSpec::default();
        spec.budgets.balancer = Duration::from_millis(10);
        let plugin = deploy(runtime, BALANCER, spec).await;
        let set = set(&plugin);
        pick(&set, 1);
        let start = Instant::now();
        assert_eq!(pick(&set, LOOP), None);
        fastest = fastest.min(start.elapsed());
        plugin.remove().await;
    }
    println!("{:32} {fastest:>10.1?}", "endless loop, budget 10 ms");
}

async fn deploy(runtime: &Arc<Runtime>, text: &str, spec: PluginSpec) -> Arc<Plugin> {
    let component = wat::parse_str(text.replace("(; TYPES ;)", TYPES)).unwrap();
    let plugin = Plugin::new(runtime, "bench");
    plugin.deploy(component.into(), spec).await.unwrap();
    Arc::new(plugin)
}

fn set(plugin: &Arc<Plugin>) -> CandidateSet {
    let candidate = |index| Candidate {
        id: format!("users-{index}"),
        weight: 100,
        ..Candidate::default()
    };
    let balancer = plugin.balancer("users").unwrap();
    balancer.set((0..3).map(candidate).collect())
}

fn pick(set: &CandidateSet, key: u64) -> Option<usize> {
    set.pick(&Ask {
        now: Instant::now(),
        random: 7,
        key: Some(key),
        call: None,
        may: &|_| true,
    })
}

/// The time of one call of `work`: the fastest batch's.
fn time(mut work: impl FnMut()) -> Duration {
    let batches = (0..N_BATCHES).map(|_| {
        let start = Instant::now();
        for _ in 0..N_CALLS {
            work();
        }
        start.elapsed()
    });
    batches.min().unwrap_or_default() / N_CALLS
}

fn row(what: &str, time: Duration) {
    println!("{what:32} {:>7} ns", time.as_nanos());
}
