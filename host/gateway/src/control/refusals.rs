//! Offers that were refused, and when each is worth another try. A refusal says what it depends on;
//! whatever of that changes brings the offer up again. One that depends on its own octets only waits
//! for others.
//!
//! ```text
//! time      a pause that doubles, from 1 s to 1 min          folder    it exists
//! settings  limits or defaults of the configuration change   service   its owner has let go of it
//! ```
//! A file that is touched, or copied over with the same content, is a reason for each of them.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::warn;

use super::{Control, Offered, deploy::refused_for, slot::Slot};
use crate::plugins::store::Copy;

/// What must change for a refused offer to be worth another try.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Needs {
    /// Time: something was wanting that may come back by itself.
    pub time: bool,
    /// Another configuration.
    pub settings: bool,
    pub folder: Option<PathBuf>,
    /// A service that another plugin holds.
    pub service: Option<String>,
}

/// A refused offer that may be taken later.
pub(super) struct Waiting {
    pub copy: Copy,
    pub needs: Needs,
    pause: Duration,
    /// When it is tried again for no other reason than time.
    next: Instant,
}

impl Needs {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whatever one of both needs is worth a try.
    pub(super) fn merge(&mut self, other: &Self) {
        self.time |= other.time;
        self.settings |= other.settings;
        self.folder = self.folder.take().or_else(|| other.folder.clone());
        self.service = self.service.take().or_else(|| other.service.clone());
    }
}

impl From<postern_wasm::Needs> for Needs {
    fn from(needs: postern_wasm::Needs) -> Self {
        Self {
            time: needs.time,
            settings: needs.settings,
            folder: needs.folder,
            service: None,
        }
    }
}

impl Waiting {
    /// `copy` was refused; `before` is what waited until then.
    pub(super) fn new(now: Instant, copy: Copy, needs: Needs, before: Option<&Self>) -> Self {
        let again = before.filter(|before| before.copy == copy);
        let pause = again.map_or(PAUSE_MIN, |before| (before.pause * 2).min(PAUSE_MAX));
        Self {
            copy,
            needs,
            pause,
            next: now + pause,
        }
    }

    /// Whether to try now; `is_held` says whether another plugin has a service.
    fn is_due(&self, now: Instant, is_held: impl Fn(&str) -> bool) -> bool {
        let needs = &self.needs;
        (needs.time && self.next <= now)
            || needs.folder.as_ref().is_some_and(|folder| folder.is_dir())
            || needs
                .service
                .as_ref()
                .is_some_and(|service| !is_held(service))
    }

    /// When to look again, unless something is told before.
    fn look_at(&self, now: Instant) -> Option<Instant> {
        let folder = self.needs.folder.as_ref().map(|_| now + FOLDER_LOOK);
        let time = self.needs.time.then_some(self.next);
        folder.into_iter().chain(time).min()
    }
}

impl Control {
    /// Tries refused offers again, each when its time has come. Never ends by itself.
    pub async fn follow_refusals(&self) {
        loop {
            let now = Instant::now();
            let slots = slots_of(self);
            let look_at = slots.iter().filter_map(|slot| {
                let waiting = slot.waiting.lock();
                waiting.as_ref().and_then(|waiting| waiting.look_at(now))
            });
            let look_at = look_at.min();
            let due = async {
                match look_at {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => {}
                () = self.refusals.notified() => {}
            }
            for slot in slots_of(self) {
                if self.is_due(&slot) {
                    self.try_again(&slot).await;
                }
            }
        }
    }

    /// Deploys every plugin again, so that changed limits and defaults hold for it: an offer that was
    /// refused under those before, or else what takes calls.
    pub async fn redeploy(&self) {
        for slot in slots_of(self) {
            let waits = {
                let waiting = slot.waiting.lock();
                waiting
                    .as_ref()
                    .is_some_and(|waiting| waiting.needs.settings)
            };
            if waits {
                self.try_again(&slot).await;
            }
            if !waits || slot.is_waiting() {
                self.redeploy_current(&slot).await;
            }
        }
        self.refusals.notify_one();
        self.publish();
    }

    async fn redeploy_current(&self, slot: &Slot) {
        let turn = slot.turn().await;
        if turn.is_gone {
            return;
        }
        let Some(current) = slot.shown().current else {
            return;
        };
        let Some(copy) = slot.store.load(&current.deployment) else {
            let told = "no copy of it is kept, changed limits hold when it is deployed again";
            warn!(plugin = slot.name, "{told}");
            return;
        };
        // Otherwise something else lies in the folder; it waits or was refused, and that stays so.
        let is_offered = turn.offered.as_ref() == Some(&current.deployment);
        let started = self.start_up(slot, &copy).await;
        let refused_before = slot.shown().refused;
        let taken = started.and_then(|candidate| {
            let taken = self.take_over(slot, candidate, &copy, current.source);
            taken.map_err(|taken| refused_for(&copy, taken))
        });
        match taken {
            Ok(()) => {
                if !is_offered {
                    slot.set_refused(refused_before);
                }
            }
            Err(refused) if is_offered => {
                slot.set_waiting(&copy, &refused);
                slot.tell(&Offered::Refused(refused));
            }
            Err(refused) => {
                let reason = refused.to_string();
                warn!(
                    plugin = slot.name,
                    reason, "changed limits do not hold for it"
                );
            }
        }
    }

    fn is_due(&self, slot: &Slot) -> bool {
        let waiting = slot.waiting.lock();
        let claims = self.claims.lock();
        let is_held = |service: &str| claims.is_held_by_other(&slot.name, service);
        waiting
            .as_ref()
            .is_some_and(|waiting| waiting.is_due(Instant::now(), is_held))
    }

    async fn try_again(&self, slot: &Slot) {
        let mut turn = slot.turn().await;
        let copy = slot
            .waiting
            .lock()
            .as_ref()
            .map(|waiting| waiting.copy.clone());
        // Another offer may have taken its place.
        let Some(copy) = copy.filter(|_| !turn.is_gone) else {
            return;
        };
        let prepared = self.prepare(slot, &mut turn, copy).await;
        self.activate(slot, prepared).await;
    }
}

fn slots_of(control: &Control) -> Vec<Arc<Slot>> {
    control.slots.lock().values().cloned().collect()
}

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often a folder that is granted and not there is looked for.
const FOLDER_LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(now: Instant, needs: Needs, before: Option<&Waiting>) -> Waiting {
        Waiting::new(now, Copy::new("component".into(), None), needs, before)
    }

    #[test]
    fn time_brings_an_offer_up_after_a_pause_that_doubles_up_to_a_bound() {
        let now = Instant::now();
        let needs = || Needs {
            time: true,
            ..Needs::default()
        };
        let mut last = waiting(now, needs(), None);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = last.look_at(now).expect("a time") - now;
            assert!(!last.is_due(now, |_| true) && last.is_due(now + pause, |_| true));
            pauses.push(pause.as_secs());
            last = waiting(now, needs(), Some(&last));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        let other = Copy::new("another component".into(), None);
        let fresh = Waiting::new(now, other, needs(), Some(&last));
        assert_eq!(fresh.look_at(now), Some(now + PAUSE_MIN));
    }

    #[test]
    fn a_service_brings_it_up_when_nobody_else_holds_it() {
        let now = Instant::now();
        let needs = Needs {
            service: Some("users".to_owned()),
            ..Needs::default()
        };
        let waiting = waiting(now, needs, None);
        let later = now + Duration::from_secs(3600);
        assert!(!waiting.is_due(later, |service| service == "users"));
        assert!(waiting.is_due(now, |service| service != "users"));
        assert_eq!(waiting.look_at(now), None);
    }

    #[test]
    fn a_folder_brings_it_up_when_it_exists() {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = parent.path().join("granted");
        let needs = Needs {
            folder: Some(folder.clone()),
            ..Needs::default()
        };
        let now = Instant::now();
        let waiting = waiting(now, needs, None);
        assert!(!waiting.is_due(now, |_| true) && waiting.look_at(now).is_some());
        std::fs::create_dir(folder).expect("created");
        assert!(waiting.is_due(now, |_| true));
    }
}
