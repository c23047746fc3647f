//! VYRA for operators.

use std::sync::atomic::Ordering::Relaxed;

use serde::Serialize;

use super::{VyraGateway, module::FunctionCounts};

/// This gateway as a module, and the modules of others.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct VyraView {
    /// What topics of this gateway begin with; none where VYRA is not spoken.
    pub prefix: Option<String>,
    pub functions: Vec<VyraFunctionView>,
    pub peers: Vec<VyraPeerView>,
}

/// One function of this gateway.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct VyraFunctionView {
    pub name: String,
    pub topic: String,
    pub kind: &'static str,
    pub over: Vec<&'static str>,
    pub taken: u64,
    pub failed: u64,
    pub passed_over: u64,
}

/// One module of others.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct VyraPeerView {
    /// The service that stands for it.
    pub service: String,
    pub prefix: String,
    pub over: &'static str,
}

/// For the exporter.
pub(crate) type VyraNumbers = VyraView;

impl VyraGateway {
    #[must_use]
    pub(crate) fn view(&self) -> VyraView {
        let running = self.running.lock();
        let Some(running) = running.as_ref() else {
            return VyraView::default();
        };
        let module = &running.module;
        let functions = running.config.functions.iter().map(|(name, settings)| {
            let topic = settings.vyra_topic(&module.module, name);
            let empty = FunctionCounts::default();
            let counts = module.counts(name).unwrap_or(&empty);
            VyraFunctionView {
                name: name.clone(),
                topic: topic.map_or_else(|_| String::new(), |topic| topic.to_string()),
                kind: settings.kind.name(),
                over: settings.over.iter().map(|over| over.name()).collect(),
                taken: counts.taken.load(Relaxed),
                failed: counts.failed.load(Relaxed),
                passed_over: counts.passed_over.load(Relaxed),
            }
        });
        let peers = running.peers.iter().map(|(name, peer)| VyraPeerView {
            service: name.clone(),
            prefix: peer.prefix(),
            over: peer.over(),
        });
        VyraView {
            prefix: Some(module.module.prefix()),
            functions: functions.collect(),
            peers: peers.collect(),
        }
    }
}
