//! The plugins in service, as clusters reach them: as handlers of calls, and as balancers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use postern_core::{
    Call, Handler,
    balance::{Balance, BalancerMemory, Member, PickRequest, Set},
};
use postern_wasm::{self as wasm, Candidate, CandidateSet, Outcome, Plugin};

use super::{slot::PluginSlot, versions::VersionSplit};
use crate::cluster::{BalancerSource, Pick, Picker, PlacedBalance, Verdict};

/// Plugins by name. Read without a lock, also while the set of plugins is being changed.
#[derive(Default)]
pub(super) struct ServingPlugins(ArcSwap<BTreeMap<String, ServingPlugin>>);

/// A plugin, by the version of it that takes its calls.
#[derive(Clone)]
struct ServingPlugin {
    plugin: Arc<Plugin>,
    /// There while another version gets a part of the calls.
    split: Option<Arc<VersionSplit>>,
}

/// A plugin as the balancer of one set of instances, with the native one beside it.
struct Placed {
    candidates: CandidateSet,
    native: Box<dyn Balance>,
}

impl ServingPlugins {
    /// Says which plugins are reached otherwise than before.
    pub(super) fn set(
        &self,
        slots: &BTreeMap<String, Arc<PluginSlot>>,
        splits: &BTreeMap<String, Arc<VersionSplit>>,
    ) -> BTreeSet<String> {
        let serving = slots.iter().filter(|(_, slot)| slot.is_serving());
        let plugins = serving.map(|(name, slot)| {
            let serving = ServingPlugin {
                plugin: Arc::clone(&slot.plugin),
                split: splits.get(name).cloned(),
            };
            (name.clone(), serving)
        });
        let plugins: BTreeMap<_, _> = plugins.collect();
        let before = self.0.load();
        let is_other = |(name, serving): &(&String, &ServingPlugin)| {
            let known = before.get(*name);
            known.is_some_and(|known| !known.is_same(serving))
        };
        let changed = plugins.iter().filter(is_other);
        let changed = changed.map(|(name, _)| name.clone()).collect();
        self.0.store(Arc::new(plugins));
        changed
    }

    pub(super) fn handler(&self, plugin: &str) -> Option<Arc<dyn Handler>> {
        let ServingPlugin { plugin, split } = self.0.load().get(plugin).cloned()?;
        let handler: Arc<dyn Handler> = match split {
            Some(split) => split,
            None => plugin,
        };
        Some(handler)
    }
}

impl ServingPlugin {
    fn is_same(&self, other: &Self) -> bool {
        let split = |serving: &Self| serving.split.as_ref().map(Arc::as_ptr);
        Arc::ptr_eq(&self.plugin, &other.plugin) && split(self) == split(other)
    }
}

impl BalancerSource for ServingPlugins {
    fn balancer(
        &self,
        plugin: &str,
        service: &str,
        set: &Arc<Set>,
        fallback: Box<dyn Balance>,
    ) -> Option<Arc<dyn PlacedBalance>> {
        let balancer = self.0.load().get(plugin)?.plugin.balancer(service)?;
        let candidates = set.members().iter().map(candidate).collect();
        Some(Arc::new(Placed {
            candidates: balancer.set(candidates),
            native: fallback,
        }))
    }
}

impl Balance for Placed {
    fn pick(&self, ask: &PickRequest<'_>) -> Option<usize> {
        self.native.pick(ask)
    }

    fn memory(&self) -> BalancerMemory {
        self.native.memory()
    }
}

impl PlacedBalance for Placed {
    fn place(&self, ask: &PickRequest<'_>, call: &Call) -> Option<Pick> {
        let picked = self.candidates.pick(&wasm::Ask {
            now: ask.now,
            random: ask.random,
            key: ask.key,
            call: Some(call),
            may: ask.may,
        });
        match picked {
            Some(index) => Some(Pick {
                index,
                by: Picker::Component,
            }),
            None => Some(Pick {
                index: self.native.pick(ask)?,
                by: Picker::Native,
            }),
        }
    }

    fn done(&self, index: usize, verdict: Verdict, micros: u64) {
        let outcome = match verdict {
            Verdict::Success | Verdict::CallerFault => Outcome::Ok,
            // Who is full must not look cheap.
            Verdict::Failure | Verdict::Full => Outcome::Failed,
            Verdict::Timeout => Outcome::TimedOut,
            Verdict::Nothing => return,
        };
        self.candidates
            .done(index, outcome, Duration::from_micros(micros));
    }
}

fn candidate(member: &Member) -> Candidate {
    let text = |text: &postern_core::Text| text.to_string();
    Candidate {
        id: text(&member.id),
        weight: member.weight,
        zone: member.zone.as_ref().map(text),
        version: member.version.as_ref().map(text),
        metadata: member
            .metadata
            .iter()
            .map(|(key, value)| (text(key), text(value)))
            .collect(),
    }
}
