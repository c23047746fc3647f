//! What benches measure and the rules of the source read. Nobody else may count on it.

use std::sync::Arc;

use postern_core::{Handler, Text};
use postern_wasm::Plugin;

pub use crate::config::{manifest_schema, schema};
use crate::{
    config::Extension,
    pipeline::{
        Pipeline, PipelineRules,
        chain::{ChainLink, Extensions, Part},
        route::{Route, RouteTarget, Routes},
    },
    telemetry::calls::CallBook,
};

/// A pipeline under the default rules, whose only service is `echo`. Its calls pass `interceptors` on
/// their way to `handler`.
#[must_use]
pub fn pipeline(handler: Arc<dyn Handler>, interceptors: &[Arc<Plugin>]) -> impl Handler + use<> {
    pipeline_of(("echo", None), handler, interceptors)
}

/// The same with a service of another name and, maybe, a version.
#[must_use]
pub fn pipeline_of(
    (service, version): (&'static str, Option<&'static str>),
    handler: Arc<dyn Handler>,
    interceptors: &[Arc<Plugin>],
) -> impl Handler + use<> {
    let (routes, book) = (Arc::new(Routes::default()), CallBook::default());
    let service = Text::from_static(service);
    routes.publish([Route {
        metrics: book.service(&service),
        plugin: service.clone(),
        service,
        version: version.map(Text::from_static),
        generation: 1,
        methods: None,
        target: RouteTarget::Live(handler),
    }]);
    let extensions = Arc::new(Extensions::default());
    let links = interceptors.iter().enumerate();
    extensions.publish(links.map(|(idx, plugin)| link(idx, plugin)).collect());
    Pipeline::new(routes, extensions, PipelineRules::default(), &book)
}

fn link(idx: usize, plugin: &Arc<Plugin>) -> ChainLink {
    ChainLink {
        plugin: format!("interceptor-{idx}").into(),
        settings: Extension::default(),
        part: Part::Live {
            authenticator: None,
            requests: plugin.request_interceptor(),
            responses: plugin.response_interceptor(),
            authorizer: None,
            frames: None,
        },
        counts: Arc::default(),
    }
}
