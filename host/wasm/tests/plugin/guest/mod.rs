//! Guests for the tests, a runtime in a folder of its own, and functions that call plugins.

use std::{sync::Arc, task::Poll, time::Duration};

use bytes::Bytes;
use postern_core::{Body, Call, Error, Handler, Reply};
use postern_wasm::{Plugin, PluginSpec, Runtime, RuntimeConfig};
use tempfile::TempDir;

/// A runtime and its folder.
pub(crate) struct Fixture {
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) folder: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self {
            runtime: runtime_in(&folder),
            folder,
        }
    }

    /// As `plugin`, for roles that a plugin is given out in.
    pub(crate) async fn shared(
        &self,
        name: &str,
        component: &[u8],
        spec: PluginSpec,
    ) -> Arc<Plugin> {
        Arc::new(self.plugin(name, component, spec).await)
    }

    /// A plugin with the guest `component` in service.
    pub(crate) async fn plugin(&self, name: &str, component: &[u8], spec: PluginSpec) -> Plugin {
        let plugin = Plugin::new(&self.runtime, name);
        plugin
            .deploy(Bytes::copy_from_slice(component), spec)
            .await
            .expect("it is deployed");
        plugin
    }
}

pub(crate) fn runtime_in(folder: &TempDir) -> Arc<Runtime> {
    let data_dir = folder.path().to_owned();
    Runtime::new(RuntimeConfig {
        data_dir,
        ..RuntimeConfig::default()
    })
    .expect("a runtime")
}

/// The guest of many methods.
pub(crate) fn all() -> Vec<u8> {
    with_health("")
}

/// The guest of many methods with `body` at the start of its `check`.
pub(crate) fn with_health(body: &str) -> Vec<u8> {
    build(&include_str!("all.wat").replace("(; HEALTH ;)", body))
}

/// The guest that gives its body back.
pub(crate) fn small() -> Vec<u8> {
    build(include_str!("small.wat"))
}

/// `small` with a mark that makes its digest another one.
pub(crate) fn small_number(number: usize) -> Vec<u8> {
    let mark = format!("(core module $main (data (i32.const 512) \"{number}\")");
    build(&include_str!("small.wat").replace("(core module $main", &mark))
}

/// A guest whose text leaves the types of failures, a memory and an allocator to `types.wat`.
pub(crate) fn typed(text: &str) -> Vec<u8> {
    build(&text.replace("(; TYPES ;)", include_str!("types.wat")))
}

pub(crate) fn balancer() -> Vec<u8> {
    typed(include_str!("balancer.wat"))
}

pub(crate) fn waiting() -> Vec<u8> {
    typed(include_str!("waiting.wat"))
}

pub(crate) fn frame() -> Vec<u8> {
    typed(include_str!("frame.wat"))
}

pub(crate) fn interceptor() -> Vec<u8> {
    typed(include_str!("interceptor.wat"))
}

pub(crate) fn asynchronous() -> Vec<u8> {
    typed(include_str!("async.wat"))
}

pub(crate) fn identity() -> Vec<u8> {
    typed(include_str!("identity.wat"))
}

/// `component` text as one that may wait: it imports `kv`.
pub(crate) fn with_kv(text: &str) -> Vec<u8> {
    let import = r#"(import "postern:gateway/kv@0.1.0" (instance
        (alias outer 1 $failure (type $outer))
        (export "failure" (type $f (eq $outer)))
        (export "delete" (func (param "key" string) (result (result bool (error $f)))))))"#;
    typed(&text.replace("(; IMPORTS ;)", import))
}

/// A mark that makes the digest another one.
pub(crate) fn marked(text: &str, number: usize) -> String {
    // Behind the imports of the module, where its own data may stand.
    let data = format!("(data (i32.const 3000) \"{number}\")\n    (global");
    text.replacen("(global $n", &format!("{data} $n"), 1)
        .replacen("(global $sum", &format!("{data} $sum"), 1)
}

pub(crate) fn build(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the guest's text is right")
}

/// Answers `call` as a gateway does: polled once more at its deadline. A guest that computes just then, which
/// a busy machine draws out, ends by its next tick.
pub(crate) async fn bounded(plugin: &Plugin, call: Call) -> Result<Reply, Error> {
    let deadline = call.context.deadline.expect("a call with a deadline");
    let mut answering = plugin.call(call);
    if let Ok(answer) = tokio::time::timeout_at(deadline.into(), &mut answering).await {
        return answer;
    }
    // The last poll may have begun before the deadline.
    if let Poll::Ready(answer) = futures_util::poll!(&mut answering) {
        return answer;
    }
    match tokio::time::timeout(Duration::from_secs(10), answering).await {
        Ok(answer) => answer,
        Err(_) => panic!("it was polled at its deadline and goes on"),
    }
}

pub(crate) async fn call(plugin: &Plugin, method: &str, body: &[u8]) -> Result<Reply, Error> {
    plugin
        .call(Call::unary("test", method, Bytes::copy_from_slice(body)))
        .await
}

/// The octets of the answer.
pub(crate) async fn answer(plugin: &Plugin, method: &str, body: &[u8]) -> Bytes {
    let reply = call(plugin, method, body).await.expect("an answer");
    reply.body.into_one(usize::MAX).await.expect("one message")
}

/// A body of many messages.
pub(crate) fn messages(messages: Vec<Bytes>) -> Body {
    Body::Messages(postern_core::BodyStream::new(futures_util::stream::iter(
        messages.into_iter().map(Ok),
    )))
}

/// Has somebody hear the lines of guests, on every thread that a guest may be on.
pub(crate) fn hear_lines() {
    // It is set by whichever test comes first.
    let _ = tracing::subscriber::set_global_default(hearer::All);
}

mod hearer {
    pub(super) struct All;

    impl tracing::Subscriber for All {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {}
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }
}
