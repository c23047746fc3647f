//! Instances and generations for calls that are recorded or replayed: each such call has a fresh instance,
//! which begins under its journal, because only then another fresh one can do the same. And what copies of calls
//! work on.

use std::sync::{Arc, atomic::AtomicU32};

use postern_core::{Blame, Error, shadow::CopiedState};
use postern_system::clock;

use super::{Generation, Serving};
use crate::{
    call_path::CallPath,
    drain::Drain,
    instance::{Code, Failed, Instance},
    journal::Journal,
    kv_overlay::KvOverlay,
    kv_table::Table,
    log_rate::LogRate,
    on_trap::OnTrap,
    placement::Placements,
    slots::Shared,
    spec::{LogLevel, Mode, PluginSpec},
    state::{Guest, StoreState},
    stats::PluginStats,
    trap::Trapped,
    trap_policy::TrapPolicy,
};

/// Interfaces of WASI whose answers no journal has.
const UNRECORDED_WASI: [&str; 4] = [
    "wasi:config/",
    "wasi:http/",
    "wasi:keyvalue/",
    "wasi:logging/",
];
/// Interfaces of ours whose answers a journal has, or that only other roles use.
const RECORDED: [&str; 13] = [
    "call",
    "candidates",
    "client",
    "config",
    "directory",
    "events",
    "frame",
    "kv",
    "log",
    "metrics",
    "request",
    "response",
    "types",
];

impl Generation {
    /// An instance that may wait and whose imports go by `journal` from its first instruction on.
    pub(crate) async fn instantiate_journaled(
        &self,
        journal: Journal,
    ) -> Result<Box<Instance>, Error> {
        let now = clock::now();
        let mut state = StoreState::new(Arc::clone(&self.guest), now);
        state.journal = Some(journal);
        // It is not used again.
        let made = Instance::new(&self.code, CallPath::Async, state, (now, 0)).await;
        let stats = &self.guest.stats;
        match made {
            Ok(instance) => {
                stats.on_made();
                Ok(Box::new(instance))
            }
            Err(Failed::Guest(trapped)) => Err(self.not_started(trapped)),
            Err(Failed::Bailout(_)) => Err(Error::internal("an instance has bailed out")),
            Err(Failed::Exhausted(reason)) => Err(Error::unavailable(
                Blame::Gateway,
                format!("no slot for an instance: {reason}"),
            )),
        }
    }

    fn not_started(&self, trapped: Trapped) -> Error {
        trapped.into_error(&self.guest.plugin, self.guest.tells_callers)
    }

    /// The same code with numbers, pool and limits of its own: whatever happens in it, calls of this
    /// generation are untouched. Its guests reach nothing but their journals.
    pub(crate) fn replica(&self, tells_callers: bool) -> Serving {
        let guest = &self.guest;
        let spec = PluginSpec {
            on_trap: OnTrap::Restart,
            // What its guests have to say is in their journals.
            log_level: LogLevel::Error,
            ..guest.spec.clone()
        };
        let replica = Guest {
            plugin: Arc::clone(&guest.plugin),
            stats: Arc::<PluginStats>::default(),
            sandbox: Arc::default(),
            log_rate: LogRate::new(&spec.limits, clock::now()),
            executor: Arc::clone(&guest.executor),
            placements: Placements::new(),
            role_placements: Placements::new(),
            drain: Drain::default(),
            traps: TrapPolicy::new(spec.on_trap, spec.traps),
            trap_notices: Arc::default(),
            shared: Shared::default(),
            tells_callers,
            budgets_told: AtomicU32::new(0),
            spec,
        };
        let code = Code {
            exports: self.code.exports.clone(),
            find: self.code.find.clone(),
            pre: self.code.pre.clone(),
            inline: None,
        };
        let (replica, _) = Self::new(self.number, self.digest, Arc::new(replica), code, None);
        replica.set_services(self.services().to_vec());
        Serving::new(replica)
    }

    /// What a copy of a call that comes at this moment works on; `None` where its guests have no store.
    pub(crate) fn state_for_copy(&self) -> Option<CopiedState> {
        let table = self.guest.shared.get::<Table>()?;
        Some(Arc::new(KvOverlay::new(table.clone())))
    }

    /// Why its calls cannot be recorded, where they cannot.
    pub(crate) fn unrecordable(&self) -> Option<String> {
        let guest = &self.guest;
        if !self.handles() {
            return Some("it answers no calls; calls of other roles are not recorded".to_owned());
        }
        if guest.spec.instances.mode == Mode::Single {
            let reason = "it runs as one instance that keeps state between calls \
                (instances.mode = \"single\"), which a fresh one does not have";
            return Some(reason.to_owned());
        }
        if !guest.spec.grants.files.is_empty() {
            let reason = "it may read folders (grants.files), which a recording does not hold";
            return Some(reason.to_owned());
        }
        if !guest.spec.grants.sockets.is_empty() {
            let reason = "it may open sockets (grants.sockets), and a recording holds nothing of what comes \
                over them";
            return Some(reason.to_owned());
        }
        let component = self.code.pre.component();
        let imported = component.component_type();
        let mut imported = imported.imports(component.engine());
        let (name, _) = imported.find(|(name, _)| !is_recorded(name))?;
        Some(format!("it imports {name}, whose answers are not recorded"))
    }
}

fn is_recorded(import: &str) -> bool {
    let (name, _) = import.split_once('@').unwrap_or((import, ""));
    match name.strip_prefix(crate::bindings::PACKAGE) {
        Some(ours) => RECORDED.contains(&ours.trim_start_matches('/')),
        None => !UNRECORDED_WASI.iter().any(|other| name.starts_with(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_journal_does_not_have_is_told_by_its_import() {
        for name in [
            "postern:gateway/kv@0.1.0",
            "postern:gateway/directory@0.1.0",
            "postern:gateway/metrics@0.1.0",
            "wasi:clocks/wall-clock@0.2.6",
        ] {
            assert!(is_recorded(name), "{name}");
        }
        for name in ["postern:gateway/async-call@0.1.0", "wasi:http/types@0.2.3"] {
            assert!(!is_recorded(name), "{name}");
        }
    }
}
