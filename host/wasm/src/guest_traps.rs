//! A guest's traps as its plugin meets them: what follows from the policy, and who is told.

use std::sync::Arc;

use postern_core::Error;
use postern_system::clock;

use crate::{
    on_trap::{TrapChange, TrapState},
    outcome::TrapReason,
    state::Guest,
    trap::Trapped,
};

impl Guest {
    /// What a trap means for the plugin (`OnTrap`). That a caller's time is over is no fault of it, and
    /// what a version out of service does is no matter of the one in service.
    pub(crate) fn on_trap(&self, trapped: &Trapped) {
        let is_in_service = self.traps.is_active() && !self.drain.has_begun();
        if is_in_service && trapped.reason != TrapReason::Deadline {
            self.tell_trap_change(self.traps.on_trap(clock::now(), &trapped.text));
        }
    }

    /// Why no call is taken at present, if so.
    pub(crate) fn refusal(&self) -> Option<Error> {
        if !self.traps.is_barred() {
            return None;
        }
        let now = clock::now();
        self.tell_trap_change(self.traps.on_time(now));
        self.traps.refusal(now, &self.plugin)
    }

    /// Tells of what the traps of the plugin have changed, if they have.
    pub(crate) fn tell_trap_change(&self, to: Option<TrapState>) {
        let Some(to) = to else { return };
        self.sandbox.on_trap_change(to);
        let (plugin, state, reason) = (&*self.plugin, to.name(), self.traps.reason());
        let policy = self.spec.on_trap;
        match to {
            TrapState::Serving | TrapState::Trying => {
                tracing::info!(plugin, state, reason, "plugin takes calls after its traps");
            }
            TrapState::Closed | TrapState::Quarantined | TrapState::Stopped => {
                let on_trap = policy.name();
                tracing::warn!(
                    plugin,
                    state,
                    on_trap,
                    reason,
                    "plugin takes no calls for its traps"
                );
            }
        }
        self.trap_notices.tell(TrapChange {
            plugin: Arc::clone(&self.plugin),
            policy,
            to,
            reason,
        });
    }
}
