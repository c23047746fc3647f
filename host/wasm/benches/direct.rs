//! What an entry into a component costs, and how long a budget lasts:
//! `cargo bench --workspace --bench direct`.
//!
//! Each figure is the fastest of eleven batches, so that a busy machine only makes it take longer.
//! Calls are made of the smallest guest, or of the component whose file `POSTERN_ECHO` names; by
//! wasmtime alone, as a plugin, and as one whose calls need a fiber, in turn.

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
    Call, Handler as _, Reply,
    extension::{Asked, Flow, Interceptor, Step},
};
use postern_wasm::{
    Ask, Candidate, CandidateSet, Mode, Plugin, PluginSpec, Pooling, Runtime, RuntimeConfig,
};
use wasmtime::{
    Config, Engine, Store,
    component::{Component, ComponentNamedList, ComponentType, Lift, Linker, Lower, TypedFunc},
};

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
    let plugin = deploy(&runtime, BALANCER, PluginSpec::default()).await;
    let set = set(&plugin);
    let turn = AtomicUsize::new(0);
    row(
        "pick, native round robin",
        time(|| {
            black_box(turn.fetch_add(1, Relaxed) % 3);
        }),
    );
    let component = wat::parse_str(BALANCER.replace("(; TYPES ;)", TYPES)).unwrap();
    let (mut store, alone) =
        alone::<(u64,), (Option<u32>,)>(&component, "postern:gateway/balancer@0.1.0", "pick");
    row(
        "pick, wasmtime alone",
        time(|| {
            black_box(alone.call(&mut store, (ANY,)).unwrap());
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

/// `types.kind`.
#[derive(Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "variants are made by lifting")]
enum Kind {
    #[component(name = "cancelled")]
    Cancelled,
    #[component(name = "unknown")]
    Unknown,
    #[component(name = "invalid-argument")]
    InvalidArgument,
    #[component(name = "deadline-exceeded")]
    DeadlineExceeded,
    #[component(name = "not-found")]
    NotFound,
    #[component(name = "already-exists")]
    AlreadyExists,
    #[component(name = "permission-denied")]
    PermissionDenied,
    #[component(name = "resource-exhausted")]
    ResourceExhausted,
    #[component(name = "failed-precondition")]
    FailedPrecondition,
    #[component(name = "aborted")]
    Aborted,
    #[component(name = "out-of-range")]
    OutOfRange,
    #[component(name = "unimplemented")]
    Unimplemented,
    #[component(name = "internal")]
    Internal,
    #[component(name = "unavailable")]
    Unavailable,
    #[component(name = "data-loss")]
    DataLoss,
    #[component(name = "unauthenticated")]
    Unauthenticated,
}

/// `types.failure`.
#[derive(ComponentType, Lift)]
#[component(record)]
#[expect(dead_code, reason = "only its shape matters")]
struct Failure {
    kind: Kind,
    message: String,
    details: Option<String>,
}

type HandleParams<'a> = (&'a str, &'a str, &'a [u8]);
type HandleResult = (Result<Vec<u8>, Failure>,);

/// A call of 64 octets: by wasmtime alone, and as a plugin.
async fn calls(runtime: &Arc<Runtime>) {
    let component = match std::env::var_os("POSTERN_ECHO") {
        Some(path) => std::fs::read(path).unwrap(),
        None => wat::parse_str(SMALL.replace("(; TYPES ;)", TYPES)).unwrap(),
    };
    let body = Bytes::from(vec![b'1'; 64]);
    let (mut store, handle) = alone::<HandleParams<'_>, HandleResult>(
        &component,
        "postern:gateway/handler@0.1.0",
        "handle",
    );
    let plain = Plugin::new(runtime, "echo");
    let spec = PluginSpec::default();
    plain.deploy(component.clone().into(), spec).await.unwrap();
    let fiber = Plugin::new(runtime, "echo-single");
    let mut spec = PluginSpec::default();
    // Its calls begin on a fiber.
    spec.instances.mode = Mode::Single;
    fiber.deploy(component.into(), spec).await.unwrap();
    let mut fastest = [Duration::MAX; 3];
    for _ in 0..N_BATCHES {
        let alone = time_batch(|| {
            let (answer,) = handle.call(&mut store, ("echo", "Echo", &body)).unwrap();
            assert!(black_box(answer).is_ok());
        });
        let times = [
            alone,
            call_batch(&plain, &body).await,
            call_batch(&fiber, &body).await,
        ];
        for (fastest, time) in fastest.iter_mut().zip(times) {
            *fastest = (*fastest).min(time);
        }
    }
    let [alone, plain, on_fiber] = fastest;
    row("call, wasmtime alone", alone);
    row("call, plugin", plain);
    row("call, plugin, on a fiber", on_fiber);
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

/// A function of `interface` of the component, in a store of its own with nothing around it.
fn alone<P, R>(component: &[u8], interface: &str, name: &str) -> (Store<()>, TypedFunc<P, R>)
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let mut config = Config::new();
    config.concurrency_support(false).epoch_interruption(true);
    let engine = Engine::new(&config).unwrap();
    let component = Component::new(&engine, component).unwrap();
    let mut linker = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&component).unwrap();
    let mut store = Store::new(&engine, ());
    store.set_epoch_deadline(u64::MAX / 2);
    let instance = linker.instantiate(&mut store, &component).unwrap();
    let interface = component.get_export_index(None, interface).unwrap();
    let func = component.get_export_index(Some(&interface), name).unwrap();
    let func = instance.get_typed_func(&mut store, func).unwrap();
    (store, func)
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
    let batches = (0..N_BATCHES).map(|_| time_batch(&mut work));
    batches.min().unwrap_or_default()
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
