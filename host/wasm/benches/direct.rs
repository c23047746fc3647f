//! What an entry into a component costs, and how long a budget lasts:
//! `cargo bench --workspace --bench direct`.
//!
//! Each figure is the fastest of eleven batches, so that a busy machine only makes it take longer.
//! Calls are made of the smallest guest, or of the component whose file `POSTERN_ECHO` names; by
//! wasmtime alone, as a plugin, and as one whose calls take the async path, in turn.

#![expect(
    clippy::disallowed_methods,
    reason = "a test measures by the clock that it chooses"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on has failed"
)]
#![expect(clippy::print_stdout, reason = "the figures are the output")]

mod baseline;

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
    Call, Handler as _, Reply,
    extension::{Asked, Flow, Step},
};
use postern_wasm::{
    Ask, Candidate, CandidateSet, Mode, Plugin, PluginSpec, Pooling, Runtime, RuntimeConfig,
};
use wasmtime::component::TypedFunc;

use self::baseline::{Baseline, Failure, REQUEST, RESPONSE, Requested, Responded};

const SMALL: &str = include_str!("../tests/plugin/guest/small.wat");
const TYPES: &str = include_str!("../tests/plugin/guest/types.wat");
const BALANCER: &str = include_str!("../tests/plugin/guest/balancer.wat");
const INTERCEPTOR: &str = include_str!("../tests/plugin/guest/interceptor.wat");
/// The key of `balancer.wat` for a pick that never ends.
const LOOP: u64 = 1001;
/// Its key for a pick that needs no list.
const ANY: u64 = 1006;

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
        // Few, so that valgrind can have the address space.
        pooling: Pooling {
            instances_max: 8,
            ..Pooling::default()
        },
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(config).unwrap();
    calls(&runtime).await;
    picks(&runtime).await;
    interceptors(&runtime).await;
    budget(&runtime).await;
}

type HandleParams<'a> = (&'a str, &'a str, &'a [u8]);
type HandleResult = (Result<Vec<u8>, Failure>,);

/// A call of 64 octets: by wasmtime alone, and as a plugin.
async fn calls(runtime: &Arc<Runtime>) {
    let component = match std::env::var_os("POSTERN_ECHO") {
        Some(path) => std::fs::read(path).unwrap(),
        None => component(SMALL),
    };
    let body = Bytes::from(vec![b'1'; 64]);
    let mut baseline = Baseline::new(&component);
    let handle: TypedFunc<HandleParams<'_>, HandleResult> =
        baseline.func("postern:gateway/handler@0.1.0", "handle");
    let inline = Plugin::new(runtime, "echo");
    let spec = PluginSpec::default();
    inline.deploy(component.clone().into(), spec).await.unwrap();
    let on_async = Plugin::new(runtime, "echo-single");
    let mut spec = PluginSpec::default();
    // Its calls begin on the async path.
    spec.instances.mode = Mode::Single;
    on_async.deploy(component.into(), spec).await.unwrap();
    let mut fastest = [Duration::MAX; 3];
    for _ in 0..N_BATCHES {
        let baseline = time_batch(|| {
            let call = ("echo", "Echo", &*body);
            let (answer,) = handle.call(&mut baseline.store, call).unwrap();
            assert!(black_box(answer).is_ok());
        });
        let times = [
            baseline,
            call_batch(&inline, &body).await,
            call_batch(&on_async, &body).await,
        ];
        for (fastest, time) in fastest.iter_mut().zip(times) {
            *fastest = (*fastest).min(time);
        }
    }
    let [baseline, inline, on_async] = fastest;
    row("call, wasmtime alone", baseline);
    row("call, plugin", inline);
    row("call, plugin, async path", on_async);
}

/// The time of one call of a plugin, over one batch.
async fn call_batch(plugin: &Plugin, body: &Bytes) -> Duration {
    let start = Instant::now();
    for _ in 0..N_CALLS {
        let reply = plugin.call(Call::unary("echo", "Echo", body.clone())).await;
        assert!(black_box(reply).is_ok());
    }
    start.elapsed() / N_CALLS
}

/// A pick by the native balancer, by wasmtime alone, and by a component.
async fn picks(runtime: &Arc<Runtime>) {
    let component = component(BALANCER);
    let mut baseline = Baseline::new(&component);
    let pick_baseline: TypedFunc<(u64,), (Option<u32>,)> =
        baseline.func("postern:gateway/balancer@0.1.0", "pick");
    let set = set(&deploy(runtime, component, PluginSpec::default()).await);
    let turn = AtomicUsize::new(0);
    let [native, by_wasmtime, by_component] = fastest(|| {
        [
            time_batch(|| {
                black_box(turn.fetch_add(1, Relaxed) % 3);
            }),
            time_batch(|| {
                black_box(pick_baseline.call(&mut baseline.store, (ANY,)).unwrap());
            }),
            time_batch(|| {
                black_box(pick(&set, 1));
            }),
        ]
    });
    row("pick, native round robin", native);
    row("pick, wasmtime alone", by_wasmtime);
    row("pick, component", by_component);
    let [done] = fastest(|| {
        [time_batch(|| {
            set.done(1, postern_wasm::Outcome::Ok, Duration::from_micros(5));
        })]
    });
    row("done, component", done);
}

/// An interceptor that does nothing, entered by wasmtime alone and as a plugin.
async fn interceptors(runtime: &Arc<Runtime>) {
    let component = component(&INTERCEPTOR.replace(
        "(; EMPTY ;)",
        "(if (i32.const 1) (then (return (call $ok (i32.const 0)))))",
    ));
    let mut baseline = Baseline::new(&component);
    let plugin = deploy(runtime, component, PluginSpec::default()).await;
    let requests = plugin.request_interceptor().unwrap();
    let responses = plugin.response_interceptor().unwrap();
    let on_request: TypedFunc<(), Requested> = baseline.func(REQUEST, "on-request");
    let on_response: TypedFunc<(), Responded> = baseline.func(RESPONSE, "on-response");
    let body = Bytes::from_static(&[7; 64]);
    let mut call = Some(Box::new(Call::unary("users", "find", body.clone())));
    let asked = Asked::of(&Call::unary("users", "find", body.clone()), Instant::now());
    let mut outcome = Some(Ok(Reply::one(body)));
    let times = fastest(|| {
        [
            time_batch(|| {
                let (action,) = on_request.call(&mut baseline.store, ()).unwrap();
                assert!(black_box(action).is_ok());
            }),
            time_batch(|| {
                let Step::Done(Flow::Proceed(back)) = requests.on_request(call.take().unwrap())
                else {
                    unreachable!("it proceeds at once")
                };
                call = Some(back);
            }),
            time_batch(|| {
                let (seen,) = on_response.call(&mut baseline.store, ()).unwrap();
                assert!(black_box(seen).is_ok());
            }),
            time_batch(|| {
                let step = responses.on_response(&asked, outcome.take().unwrap());
                let Step::Done(seen) = step else {
                    unreachable!("it answers at once")
                };
                outcome = Some(seen.outcome);
            }),
        ]
    });
    let [request_baseline, request, response_baseline, response] = times;
    row("on-request, wasmtime alone", request_baseline);
    row("on-request, component", request);
    row("on-response, wasmtime alone", response_baseline);
    row("on-response, component", response);
}

/// How long an endless loop runs for a budget of 10 ms.
async fn budget(runtime: &Arc<Runtime>) {
    let mut fastest = Duration::MAX;
    for _ in 0..N_BATCHES {
        let mut spec = PluginSpec::default();
        spec.budgets.balancer = Duration::from_millis(10);
        let plugin = deploy(runtime, component(BALANCER), spec).await;
        let set = set(&plugin);
        pick(&set, 1);
        let start = Instant::now();
        assert_eq!(pick(&set, LOOP), None);
        fastest = fastest.min(start.elapsed());
        plugin.remove().await;
    }
    println!("{:32} {fastest:>10.1?}", "endless loop, budget 10 ms");
}

/// The component of a text of the tests.
fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text.replace("(; TYPES ;)", TYPES)).unwrap()
}

async fn deploy(runtime: &Arc<Runtime>, component: Vec<u8>, spec: PluginSpec) -> Arc<Plugin> {
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

/// The fastest of what some batches took, made in turn.
fn fastest<const N: usize>(mut batches: impl FnMut() -> [Duration; N]) -> [Duration; N] {
    let mut fastest = [Duration::MAX; N];
    for _ in 0..N_BATCHES {
        for (fastest, time) in fastest.iter_mut().zip(batches()) {
            *fastest = (*fastest).min(time);
        }
    }
    fastest
}

/// The time of one call of `work`, over one batch.
fn time_batch(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..N_CALLS {
        work();
    }
    start.elapsed() / N_CALLS
}

fn row(what: &str, time: Duration) {
    println!("{what:32} {:>7} ns", time.as_nanos());
}
