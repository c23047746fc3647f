//! What standing in the way of a call costs: chains of interceptors that do nothing, beside wasmtime
//! alone with the same component.

#[path = "../../host/wasm/benches/alone/mod.rs"]
mod alone;

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use postern::{
    config::Extension,
    pipeline::{
        Pipeline,
        chain::{Extensions, Link, Part},
    },
};
use postern_core::{Body, Call, Handler as _, Text};
use postern_wasm::{Plugin, PluginSpec, Runtime, RuntimeConfig};
use wasmtime::component::TypedFunc;

use self::alone::{Alone, Requested, Responded};
use crate::{
    serve::{Echo, pipeline_with},
    table::{Goal, Table},
};

/// The fastest of so many batches counts: a busy machine only makes a batch take longer.
const N_BATCHES: usize = 11;
const N_CALLS: u32 = 20_000;
/// Names that share their octets, as those of a frame do.
const SERVICE: Text = Text::from_static("echo");
const METHOD: Text = Text::from_static("Echo");

/// Chains of 0, 1 and 5 components in front of a native handler, in turn. The goal of 0.5 us is for a
/// machine on which wasmtime alone needs 0.12 us for an entry, of which there are two: 2.1 times.
pub(crate) async fn run(table: &mut Table) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = RuntimeConfig {
        data_dir: folder.path().to_path_buf(),
        ..RuntimeConfig::default()
    };
    let runtime = Runtime::new(config).expect("a runtime");
    let lengths = [0, 1, 5];
    let mut pipelines = Vec::new();
    for length in lengths {
        let mut links = Vec::new();
        for number in 0..length {
            links.push(link(&runtime, number).await);
        }
        pipelines.push(pipeline(links));
    }
    let mut alone = lengths.map(alone);
    let (mut times, mut times_alone) = ([Duration::MAX; 3], [Duration::MAX; 3]);
    for _ in 0..N_BATCHES {
        for (fastest, pipeline) in times.iter_mut().zip(&pipelines) {
            *fastest = (*fastest).min(batch(pipeline));
        }
        for (fastest, pass) in times_alone.iter_mut().zip(&mut alone) {
            *fastest = (*fastest).min(time(pass));
        }
    }
    let [without, ..] = times;
    let measured = lengths.into_iter().zip(times).zip(times_alone);
    for ((length, time), alone) in measured.skip(1) {
        let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(length);
        let (adds, alone) = (each(time.saturating_sub(without)), each(alone));
        let what = format!("chain of {length} empty interceptors: each adds");
        table.figure(
            format!("{what}, us"),
            format!("{adds:.2} us"),
            adds,
            Goal::AtMost(0.5),
        );
        table.compare(
            format!("{what} (wasmtime alone)"),
            format!("{adds:.2} us"),
            format!("{alone:.2} us"),
            adds / alone,
            Goal::AtMost(2.1),
        );
    }
    runtime.shutdown();
}

async fn link(runtime: &Arc<Runtime>, number: u32) -> Link {
    let name = format!("proceed-{number}");
    let plugin = Arc::new(Plugin::new(runtime, &name));
    let component = postern_tests::component("proceed");
    plugin
        .deploy(component, PluginSpec::default())
        .await
        .expect("proceed serves");
    Link {
        plugin: name.as_str().into(),
        settings: Extension::default(),
        part: Part::Live {
            authenticator: None,
            interceptor: plugin.interceptor(),
            authorizer: None,
            frames: None,
        },
        counts: Arc::default(),
    }
}

fn pipeline(links: Vec<Link>) -> Pipeline {
    let extensions = Arc::new(Extensions::default());
    extensions.publish(links.into_iter().collect());
    pipeline_with(Arc::new(Echo), extensions)
}

/// The two entries of one call into each of so many instances, by wasmtime alone.
fn alone(length: u32) -> impl FnMut() {
    let component = postern_tests::component("proceed");
    let role = "postern:gateway/interceptor@0.1.0";
    let entries = (0..length).map(|_| {
        let mut alone = Alone::new(&component);
        let on_request: TypedFunc<(), Requested> = alone.func(role, "on-request");
        let on_response: TypedFunc<(), Responded> = alone.func(role, "on-response");
        (alone, on_request, on_response)
    });
    let mut entries: Vec<_> = entries.collect();
    move || {
        for (alone, on_request, _) in &mut entries {
            let (action,) = on_request.call(&mut alone.store, ()).expect("it proceeds");
            assert!(black_box(action).is_ok());
        }
        for (alone, _, on_response) in entries.iter_mut().rev() {
            let (seen,) = on_response.call(&mut alone.store, ()).expect("it looks on");
            assert!(black_box(seen).is_ok());
        }
    }
}

/// The time of one call, over a batch.
fn batch(pipeline: &Pipeline) -> Duration {
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

/// The time of one turn of `work`, over a batch.
fn time(mut work: impl FnMut()) -> Duration {
    let start = Instant::now();
    for _ in 0..N_CALLS {
        work();
    }
    start.elapsed() / N_CALLS
}
