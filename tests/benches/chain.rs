//! What standing in the way of a call costs: chains of interceptors that do nothing.

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
use postern_core::{Body, Call, Handler as _};
use postern_wasm::{Plugin, PluginSpec, Runtime, RuntimeConfig};

use crate::{
    serve::{Echo, pipeline_with},
    table::{Goal, Table},
};

/// The fastest of so many batches counts: a busy machine only makes a batch take longer.
const N_BATCHES: usize = 11;
const N_CALLS: u32 = 20_000;

/// Chains of 0, 1 and 5 components in front of a native handler, in turn.
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
    let mut fastest = [Duration::MAX; 3];
    for _ in 0..N_BATCHES {
        for (fastest, pipeline) in fastest.iter_mut().zip(&pipelines) {
            *fastest = (*fastest).min(batch(pipeline));
        }
    }
    let [alone, ..] = fastest;
    for (length, time) in lengths.into_iter().zip(fastest).skip(1) {
        let each = time.saturating_sub(alone).as_secs_f64() * 1e6 / f64::from(length);
        table.figure(
            format!("chain of {length} empty interceptors: each adds, us"),
            format!("{each:.2} us"),
            each,
            Goal::AtMost(0.5),
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

/// The time of one call, over a batch.
fn batch(pipeline: &Pipeline) -> Duration {
    let body = vec![b'1'; 64];
    let start = Instant::now();
    for _ in 0..N_CALLS {
        let reply = pipeline
            .call(Call::unary("echo", "Echo", body.clone()))
            .now_or_never()
            .expect("answers at once");
        assert!(matches!(
            black_box(reply).expect("echo answers").body,
            Body::One(_)
        ));
    }
    start.elapsed() / N_CALLS
}
