//! Offers that were refused, and when each is worth another try. A refusal says what it depends on;
//! whatever of that changes brings the offer up again. One that depends on its own octets only waits
//! for others.
//!
//! ```text
//! time      a pause that doubles, from 1 s to 1 min          folder    it exists
//! settings  limits or defaults of the configuration change   service   its owner has let go of it
//! ```
//! A file that is touched, or copied over with the same content, is a reason for each of them.

use std::time::{Duration, Instant};

use super::offer::Needs;
use crate::plugins::store::Copy;

/// A refused offer that may be taken later.
pub(super) struct Waiting {
    pub copy: Copy,
    pub needs: Needs,
    pause: Duration,
    /// When it is tried again for no other reason than time.
    next: Instant,
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
    pub(super) fn is_due(&self, now: Instant, is_held: impl Fn(&str) -> bool) -> bool {
        let needs = &self.needs;
        (needs.time && self.next <= now)
            || needs.folder.as_ref().is_some_and(|folder| folder.is_dir())
            || needs
                .service
                .as_ref()
                .is_some_and(|service| !is_held(service))
    }

    /// When to look again, unless something is told before.
    pub(super) fn look_at(&self, now: Instant) -> Option<Instant> {
        let folder = self.needs.folder.as_ref().map(|_| now + FOLDER_LOOK);
        let time = self.needs.time.then_some(self.next);
        folder.into_iter().chain(time).min()
    }
}

const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often a folder that is granted and not there is looked for.
const FOLDER_LOOK: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use postern_system::clock;

    use super::*;

    fn waiting(now: Instant, needs: Needs, before: Option<&Waiting>) -> Waiting {
        Waiting::new(now, Copy::new("component".into(), None), needs, before)
    }

    #[test]
    fn time_brings_an_offer_up_after_a_pause_that_doubles_up_to_a_bound() {
        let now = clock::now();
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
        let now = clock::now();
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
        let now = clock::now();
        let waiting = waiting(now, needs, None);
        assert!(!waiting.is_due(now, |_| true) && waiting.look_at(now).is_some());
        std::fs::create_dir(folder).expect("created");
        assert!(waiting.is_due(now, |_| true));
    }
}
