//! What follows from a plugin's traps in the set of plugins (`on-trap`). The plugin itself refuses calls; here it is
//! told as an event, the version before is put back into service, and who is in quarantine leaves the
//! directory.

use std::sync::Arc;

use futures_util::{StreamExt, stream::FuturesUnordered};
use postern_core::event::Event;
use postern_wasm::{HealthReport, HealthStatus, OnTrap, SandboxSnapshot, TrapChange, TrapState};
use serde_json::json;
use tracing::{debug, info, warn};

use super::{Control, NameFault, offer::unix_now, slot::PluginSlot};
use crate::plugins::label::plugin_of;

impl Control {
    /// Follows what traps do to plugins. Never ends by itself.
    pub(crate) async fn follow_traps(&self) {
        let Some(mut changes) = self.runtime.trap_changes() else {
            return std::future::pending().await;
        };
        let mut going_back = FuturesUnordered::new();
        loop {
            tokio::select! {
                change = changes.recv() => match change {
                    Some(change) => {
                        if let Some(slot) = self.on_trap_change(&change) {
                            going_back.push(self.go_back(slot));
                        }
                    }
                    None => return std::future::pending().await,
                },
                Some(()) = going_back.next() => {}
            }
        }
    }

    /// Has the version take calls again that its traps keep from that, of what `name` names. Says which it was.
    ///
    /// # Errors
    /// When none is kept, or several are.
    pub(crate) fn release(&self, name: &str) -> Result<String, NameFault> {
        let slot = self.kept_by_traps(name)?;
        slot.plugin.release();
        Ok(slot.name.clone())
    }

    /// What became of the grants and bounds of each plugin.
    #[must_use]
    pub(crate) fn sandbox_numbers(&self) -> Vec<(String, SandboxSnapshot)> {
        let slots = self.slots.lock();
        let numbers = slots.values();
        numbers
            .map(|slot| (slot.name.clone(), slot.plugin.sandbox()))
            .collect()
    }

    /// Tells of a change. A plugin that wants the version before back is given.
    fn on_trap_change(&self, change: &TrapChange) -> Option<Arc<PluginSlot>> {
        let slot = self.slot_of(&change.plugin)?;
        self.tell_trap_change(change);
        // Another version may be in service by now.
        let status = slot.plugin.trap_status();
        let is_so = status.is_some_and(|status| status.state == change.to);
        match change.to {
            TrapState::Quarantined | TrapState::Stopped if is_so => {
                slot.set_out(Some(change.reason.clone()));
            }
            TrapState::Serving if is_so => slot.set_out(None),
            TrapState::Serving
            | TrapState::Closed
            | TrapState::Trying
            | TrapState::Quarantined
            | TrapState::Stopped => {}
        }
        self.publish();
        let goes_back = change.to == TrapState::Closed && change.policy == OnTrap::LastGood;
        (goes_back && is_so).then_some(slot)
    }

    fn tell_trap_change(&self, change: &TrapChange) {
        let (plugin, state) = (&*change.plugin, change.to.name());
        let payload = json!({
            "plugin": plugin,
            "state": state,
            "on-trap": change.policy.name(),
            "reason": change.reason,
            "at": unix_now(),
        });
        self.tell_event(plugin, state, &payload);
    }

    /// Tells subscribers of `postern.plugins.NAME.STATE` what has become of a plugin, or of a version of it.
    pub(super) fn tell_event(&self, slot: &str, state: &str, payload: &serde_json::Value) {
        // A dot would begin another level.
        let level = plugin_of(slot).replace('.', "-");
        let topic = format!("plugins.{level}.{state}");
        let event = Event::own(&topic, payload.to_string());
        if let Err(error) = self.events().hub().publish_own(event) {
            debug!(plugin = slot, %error, "the change of a plugin is not told as an event");
        }
    }

    /// Puts the version before back into service, unless another has come meanwhile.
    async fn go_back(&self, slot: Arc<PluginSlot>) {
        let plugin = slot.name.as_str();
        let is_closed = |slot: &PluginSlot| {
            let status = slot.plugin.trap_status();
            status.is_some_and(|status| status.state == TrapState::Closed)
        };
        match self.rollback_if(plugin, is_closed).await {
            Ok(()) => info!(
                plugin,
                "the version before is back in service, for the traps of this one"
            ),
            Err(refused) => {
                let reason = refused.reason;
                warn!(
                    plugin,
                    reason, "no version before takes the calls: the plugin backs off"
                );
            }
        }
    }
}

impl PluginSlot {
    /// Takes the plugin out of service at once for a reason, or lets it back. The next checks of its health
    /// will say the same.
    fn set_out(&self, reason: Option<String>) {
        let (status, message) = match reason {
            Some(reason) => (HealthStatus::NotServing, Some(reason)),
            None => (HealthStatus::Serving, None),
        };
        // One alone may be chance.
        for _ in 0..2 {
            let message = message.clone();
            self.set_health(HealthReport { status, message });
        }
    }
}
