//! Which plugins the folder has, and whether one that it has not was removed on purpose. Pure: time is
//! passed in.
//!
//! ```text
//! the folder is          a plugin that was in it and is not any more
//! ─────────────────────  ─────────────────────────────────────────────────────────────
//! the same               was removed, once it has been missed for `settle`
//! away, not readable     stays
//! another, with plugins  was removed, once nothing has come to the folder for REPLACED_WAIT
//! another, without any   stays
//! any; a link to nothing stays
//! ```
//! A plugin that was in the folder in a life of the gateway before counts as of another folder.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::sources::{
    sight::{Identity, Sight},
    troubles::Trouble,
};

/// The folder and its plugins as they were seen.
#[derive(Debug)]
pub(super) struct Presence {
    settle: Duration,
    identity: Option<Identity>,
    away: Option<Away>,
    /// When the last plugin came to a folder that took the place of another.
    filled: Instant,
    plugins: BTreeMap<String, Known>,
}

/// What is to be done about a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is there, or was never seen: reading finds out.
    Read,
    Removed,
    /// To be asked again then.
    Wait(Instant),
    /// It stays as it is.
    Kept,
}

#[derive(Debug)]
struct Away {
    since: Instant,
    trouble: Trouble,
}

#[derive(Debug)]
struct Known {
    /// Since when it is not in the folder.
    missed: Option<Instant>,
    is_dangling: bool,
    /// Whether it was seen in the folder that is there.
    is_of_this: bool,
    /// Whether it was seen at all since the start.
    was_seen: bool,
}

impl Presence {
    pub(super) const fn new(settle: Duration, now: Instant) -> Self {
        Self {
            settle,
            identity: None,
            away: None,
            filled: now,
            plugins: BTreeMap::new(),
        }
    }

    /// The folder had the plugin `name` before the start.
    pub(super) fn expect(&mut self, now: Instant, name: &str) {
        let known = Known {
            missed: Some(now),
            is_dangling: false,
            is_of_this: false,
            was_seen: false,
        };
        self.plugins.entry(name.to_owned()).or_insert(known);
    }

    /// Plugins that the folder had and has not at present.
    pub(super) fn missed(&self) -> impl Iterator<Item = &str> {
        let plugins = self.plugins.iter();
        let missed = plugins.filter(|(_, known)| known.missed.is_some());
        missed.map(|(name, _)| name.as_str())
    }

    /// The folder's name went to something else, or came back.
    pub(super) fn on_replaced(&mut self, now: Instant) {
        self.filled = now;
        for known in self.plugins.values_mut() {
            known.is_of_this = false;
        }
    }

    /// The folder cannot be looked at.
    pub(super) fn on_away(&mut self, now: Instant, trouble: Trouble) {
        let since = self.away.as_ref().map_or(now, |away| away.since);
        self.away = Some(Away { since, trouble });
    }

    /// The folder's components as a look finds them.
    pub(super) fn on_look<'a>(
        &mut self,
        now: Instant,
        identity: Identity,
        components: impl Iterator<Item = (&'a str, Sight)>,
    ) {
        let is_other = self.identity.is_some_and(|before| before != identity);
        if self.away.take().is_some() || is_other {
            self.on_replaced(now);
        }
        self.identity = Some(identity);
        let mut components: BTreeMap<_, _> = components.collect();
        for (name, known) in &mut self.plugins {
            match components.remove(name.as_str()) {
                Some(sight) => {
                    if known.missed.take().is_some() {
                        self.filled = now;
                    }
                    known.is_of_this = true;
                    known.was_seen = true;
                    known.is_dangling = sight == Sight::Dangling;
                }
                None => {
                    known.missed.get_or_insert(now);
                    known.is_dangling = false;
                }
            }
        }
        for (name, sight) in components {
            self.filled = now;
            // A link to nothing takes nothing away where nothing was.
            if sight != Sight::Dangling {
                let known = Known {
                    missed: None,
                    is_dangling: false,
                    is_of_this: true,
                    was_seen: true,
                };
                self.plugins.insert(name.to_owned(), known);
            }
        }
    }

    /// What is to be done about the plugin `name`; one that was removed is forgotten.
    pub(super) fn judge(&mut self, now: Instant, name: &str) -> Verdict {
        if self.away.is_some() {
            return Verdict::Kept;
        }
        let is_empty = self.is_empty();
        let Some(known) = self.plugins.get(name) else {
            return Verdict::Read;
        };
        let Some(missed) = known.missed else {
            return match known.is_dangling {
                true => Verdict::Kept,
                false => Verdict::Read,
            };
        };
        let due = match known.is_of_this {
            true => missed + self.settle,
            false if is_empty => return Verdict::Kept,
            false => (self.filled + REPLACED_WAIT).max(missed + self.settle),
        };
        if now < due {
            return Verdict::Wait(due);
        }
        self.plugins.remove(name);
        Verdict::Removed
    }

    /// What is wrong with the folder while it has plugins that stay.
    pub(super) fn trouble(&self, now: Instant) -> Option<Trouble> {
        if !self.plugins.values().any(|known| known.was_seen) {
            return None;
        }
        if let Some(away) = &self.away {
            let has_lasted = now.saturating_duration_since(away.since) >= self.settle;
            return has_lasted.then(|| away.trouble.clone());
        }
        let mut seen = self.plugins.values().filter(|known| known.was_seen);
        let is_kept = self.is_empty() && seen.any(|known| !known.is_of_this);
        is_kept.then_some(Trouble::Replaced)
    }

    /// Plugins whose component is a link to nothing.
    pub(super) fn dangling(&self) -> impl Iterator<Item = &str> {
        let plugins = self.plugins.iter();
        let dangling = plugins.filter(|(_, known)| known.is_dangling);
        dangling.map(|(name, _)| name.as_str())
    }

    /// Whether the folder that is there has no plugin.
    fn is_empty(&self) -> bool {
        self.plugins.values().all(|known| known.missed.is_some())
    }
}

/// Whoever fills a folder anew copies one plugin after the other.
const REPLACED_WAIT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_millis(500);

    /// Two folders that differ.
    fn identities() -> [Identity; 2] {
        let folders = [".", ".."].map(std::fs::metadata);
        folders.map(|folder| Identity::of(&folder.expect("every folder has these")))
    }

    fn there() -> Sight {
        Sight::of(&std::env::current_exe().expect("a running program"))
    }

    struct Case {
        presence: Presence,
        now: Instant,
    }

    impl Case {
        /// A folder with plugins `a` and `b`.
        fn new() -> Self {
            let now = Instant::now();
            let presence = Presence::new(SETTLE, now);
            let mut case = Self { presence, now };
            case.look(0, &["a", "b"]);
            case
        }

        fn look(&mut self, folder: usize, names: &[&str]) {
            let components = names.iter().map(|name| (*name, there()));
            let identity = identities()[folder];
            self.presence.on_look(self.now, identity, components);
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
        }

        #[track_caller]
        fn check(&mut self, name: &str, expected: Verdict) {
            assert_eq!(self.presence.judge(self.now, name), expected, "{name}");
        }
    }

    #[test]
    fn a_plugin_of_the_life_before_was_removed_when_the_folder_has_others_and_rests() {
        let now = Instant::now();
        let presence = Presence::new(SETTLE, now);
        let mut case = Case { presence, now };
        case.presence.on_away(case.now, Trouble::Gone);
        case.presence.expect(case.now, "a");
        case.pass(Duration::from_secs(3600));
        case.check("a", Verdict::Kept);
        assert_eq!(case.presence.trouble(case.now), None, "nothing is in force");
        case.look(0, &[]);
        case.pass(Duration::from_secs(3600));
        case.check("a", Verdict::Kept);
        assert_eq!(case.presence.missed().collect::<Vec<_>>(), ["a"]);
        // Somebody fills it: the plugin may come yet.
        case.look(0, &["b"]);
        case.check("a", Verdict::Wait(case.now + REPLACED_WAIT));
        case.pass(REPLACED_WAIT / 2);
        case.look(0, &["b", "c"]);
        case.check("a", Verdict::Wait(case.now + REPLACED_WAIT));
        case.pass(REPLACED_WAIT);
        case.check("a", Verdict::Removed);
        // One that comes after all is like any other.
        case.presence.expect(case.now, "d");
        case.look(0, &["b", "c", "d"]);
        case.check("d", Verdict::Read);
        assert_eq!(case.presence.missed().count(), 0);
    }

    #[test]
    fn a_plugin_that_is_missed_for_long_enough_was_removed() {
        let mut case = Case::new();
        case.check("a", Verdict::Read);
        case.look(0, &["b"]);
        case.check("a", Verdict::Wait(case.now + SETTLE));
        case.pass(SETTLE);
        assert_eq!(case.presence.trouble(case.now), None);
        case.check("a", Verdict::Removed);
        case.check("a", Verdict::Read);
        case.look(0, &[]);
        case.pass(SETTLE);
        case.check("b", Verdict::Removed);
    }

    #[test]
    fn a_file_that_comes_back_in_time_was_not_removed() {
        let mut case = Case::new();
        case.look(0, &["b"]);
        case.pass(SETTLE / 2);
        case.look(0, &["a", "b"]);
        case.pass(SETTLE);
        case.check("a", Verdict::Read);
    }

    #[test]
    fn a_folder_that_is_away_takes_nothing_along() {
        let mut case = Case::new();
        case.presence.on_away(case.now, Trouble::Gone);
        assert_eq!(case.presence.trouble(case.now), None, "for a moment");
        case.pass(Duration::from_secs(3600));
        case.check("a", Verdict::Kept);
        assert_eq!(case.presence.trouble(case.now), Some(Trouble::Gone));
        case.look(0, &["a"]);
        assert_eq!(case.presence.trouble(case.now), None);
        case.check("a", Verdict::Read);
        case.check("b", Verdict::Wait(case.now + REPLACED_WAIT));
        case.pass(REPLACED_WAIT);
        case.check("b", Verdict::Removed);
    }

    #[test]
    fn an_empty_folder_in_its_place_takes_nothing_along_until_it_is_filled() {
        let mut case = Case::new();
        case.look(1, &[]);
        case.pass(Duration::from_secs(3600));
        case.check("a", Verdict::Kept);
        assert_eq!(case.presence.trouble(case.now), Some(Trouble::Replaced));
        case.look(1, &["a"]);
        assert_eq!(case.presence.trouble(case.now), None);
        case.check("b", Verdict::Wait(case.now + REPLACED_WAIT));
        case.pass(REPLACED_WAIT - SETTLE);
        case.look(1, &["a", "c"]);
        case.check("b", Verdict::Wait(case.now + REPLACED_WAIT));
        case.look(1, &["a", "b", "c"]);
        case.pass(REPLACED_WAIT);
        case.check("b", Verdict::Read);
    }

    #[test]
    fn an_emptied_name_that_was_told_of_is_another_folder_whatever_its_number() {
        let mut case = Case::new();
        case.presence.on_replaced(case.now);
        case.look(0, &[]);
        case.pass(Duration::from_secs(3600));
        case.check("a", Verdict::Kept);
    }

    #[test]
    fn a_link_to_nothing_stays_and_is_told() {
        let mut case = Case::new();
        let components = [
            ("a", Sight::Dangling),
            ("b", there()),
            ("c", Sight::Dangling),
        ];
        let components = components.into_iter();
        case.presence.on_look(case.now, identities()[0], components);
        case.pass(Duration::from_secs(3600));
        case.check("a", Verdict::Kept);
        assert_eq!(case.presence.dangling().collect::<Vec<_>>(), ["a"]);
    }
}
