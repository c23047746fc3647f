//! What standing in the way of a call costs: chains of interceptors that do nothing, beside wasmtime
//! alone with the same component.

#[path = "../../host/wasm/benches/baseline/mod.rs"]
mod baseline;

use std::{hint::black_box, sync::Arc, time::Instant};

use futures_util::FutureExt as _;
use postern::testing::pipeline;
use postern_core::{Body, Call, Handler, Text};
use postern_wasm::{Plugin, PluginSpec, Runtime, RuntimeConfig};
use wasmtime::component::TypedFunc;

use self::baseline::{Baseline, REQUEST, RESPONSE, Requested, Responded};
use crate::{
    passes::Passes,
    serve::Echo,
    table::{Goal, Table},
};

const PASSES: usize = 21;
/// Calls of one round.
const N_CALLS: u32 = 10_000;
/// Names that share their octets, as those of a frame do.
const SERVICE: Text = Text::from_static("echo");
const METHOD: Text = Text::from_static("Echo");

/// The components: one that sees requests only, and one that sees responses, too.
const GUESTS: [&str; 2] = ["proceed", "proceed-both"];
const LENGTHS: [u32; 2] = [1, 5];

/// One chain, and the same components by wasmtime alone.
struct Measured {
    guest: &'static str,
    length: u32,
    pipeline: Box<dyn Handler>,
    baseline: Box<dyn FnMut()>,
    passes: Passes<ChainPass>,
}

/// What one call took, in microseconds.
struct ChainPass {
    without: f64,
    with: f64,
    baseline: f64,
}

/// Chains of 1 and 5 components in front of a native handler, in passes with none.
pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = RuntimeConfig {
        data_dir: folder.path().to_path_buf(),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(config).expect("a runtime");
    let mut chains = Vec::new();
    for guest in GUESTS {
        for length in LENGTHS {
            let mut plugins = Vec::new();
            for number in 0..length {
                plugins.push(plugin(&runtime, guest, number).await);
            }
            chains.push(Measured {
                guest,
                length,
                pipeline: Box::new(pipeline(Arc::new(Echo), &plugins)),
                baseline: Box::new(baseline(guest, length)),
                passes: Passes(Vec::new()),
            });
        }
    }
    let without: Box<dyn Handler> = Box::new(pipeline(Arc::new(Echo), &[]));
    for _ in 0..PASSES {
        for chain in &mut chains {
            chain.passes.0.push(ChainPass {
                without: calls(&*without),
                with: calls(&*chain.pipeline),
                baseline: time(&mut chain.baseline),
            });
        }
    }
    for chain in chains {
        let each = |time: f64| time / f64::from(chain.length);
        let adds = chain.passes.median(|pass| each(pass.with - pass.without));
        let baseline = chain.passes.median(|pass| each(pass.baseline));
        let what = format!("chain of {} {}: each adds", chain.length, chain.guest);
        table.figure(
            format!("{what}, us"),
            format!("{adds:.2} us"),
            adds,
            Goal::AtMost(0.5),
        );
        table.compare(
            format!("{what} (wasmtime alone)"),
            format!("{adds:.2} us"),
            format!("{baseline:.2} us"),
            chain
                .passes
                .median(|pass| (pass.with - pass.without) / pass.baseline),
            Goal::None,
        );
    }
    runtime.shutdown();
}

async fn plugin(runtime: &Arc<Runtime>, guest: &str, number: u32) -> Arc<Plugin> {
    let plugin = Arc::new(Plugin::new(runtime, &format!("{guest}-{number}")));
    let component = postern_tests::component(guest);
    plugin
        .deploy(component, PluginSpec::default())
        .await
        .expect("it serves");
    plugin
}

/// The entries of one call into each of so many instances, by wasmtime alone.
fn baseline(guest: &str, length: u32) -> impl FnMut() + use<> {
    let component = postern_tests::component(guest);
    let sees_responses = guest == "proceed-both";
    let entries = (0..length).map(|_| {
        let mut baseline = Baseline::new(&component);
        let on_request: TypedFunc<(), Requested> = baseline.func(REQUEST, "on-request");
        let on_response: Option<TypedFunc<(), Responded>> =
            sees_responses.then(|| baseline.func(RESPONSE, "on-response"));
        (baseline, on_request, on_response)
    });
    let mut entries: Vec<_> = entries.collect();
    move || {
        for (baseline, on_request, _) in &mut entries {
            let (action,) = on_request
                .call(&mut baseline.store, ())
                .expect("it proceeds");
            assert!(black_box(action).is_ok());
        }
        for (baseline, _, on_response) in entries.iter_mut().rev() {
            let Some(on_response) = on_response else {
                continue;
            };
            let (seen,) = on_response
                .call(&mut baseline.store, ())
                .expect("it looks on");
            assert!(black_box(seen).is_ok());
        }
    }
}

/// The time of one call, over a round.
fn calls(pipeline: &dyn Handler) -> f64 {
    let body = vec![b'1'; 64];
    time(|| {
        let reply = pipeline
            .call(Call::unary(SERVICE, METHOD, body.clone()))
            .now_or_never()
            .expect("answers at once");
        assert!(matches!(
            black_box(reply).expect("echo answers").body,
            Body::One(_)
        ));
    })
}

/// The time of `work` once, over a round, in microseconds.
fn time(mut work: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..N_CALLS {
        work();
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(N_CALLS)
}
