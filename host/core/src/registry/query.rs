//! Which entries somebody asks for, and which he may learn of.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    entry::Entry,
    value::{Params, covers},
    version::Range,
};
use crate::text::Text;

/// What is asked for. Everything given must hold; the default asks for everything, for a caller
/// without permissions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pub service: Option<Text>,
    pub version: Option<Range>,
    /// Every key of it with that value; maps within maps the same way, lists as a whole.
    pub params: Params,
    /// A network that the entry must be in.
    pub vnet: Option<Text>,
    /// Every key of it with that value.
    pub metadata: BTreeMap<Text, Text>,
    pub caller: Caller,
}

/// Who asks. Entries that a caller may not use do not exist for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The gateway itself, an operator, or a peer, which applies the permissions on its side.
    Trusted,
    /// Somebody who has these permissions.
    Holding(BTreeSet<Text>),
}

impl Query {
    /// Asks for all of `service`.
    #[must_use]
    pub fn service(service: impl Into<Text>, caller: Caller) -> Self {
        Self {
            service: Some(service.into()),
            caller,
            ..Self::default()
        }
    }

    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        let is_asked = self
            .service
            .as_ref()
            .is_none_or(|name| *name == entry.service)
            && (self.version.as_ref()).is_none_or(|range| range.accepts(entry.version.as_ref()))
            && self
                .vnet
                .as_ref()
                .is_none_or(|vnet| entry.vnets.contains(vnet));
        is_asked
            && self.caller.may_use(entry)
            && covers(&entry.params, &self.params)
            && (self.metadata.iter()).all(|(key, value)| entry.metadata.get(key) == Some(value))
    }
}

impl Caller {
    /// Whether this caller may see and use `entry`.
    #[must_use]
    pub fn may_use(&self, entry: &Entry) -> bool {
        match self {
            Self::Trusted => true,
            Self::Holding(held) => {
                entry.permissions.is_empty() || !entry.permissions.is_disjoint(held)
            }
        }
    }
}

impl Default for Caller {
    fn default() -> Self {
        Self::Holding(BTreeSet::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{entry::Draft, version::Version};

    #[test]
    fn the_default_asks_for_everything_open() {
        assert!(Query::default().matches(&entry(|_| {})));
        let closed = entry(|draft| draft.permissions = names(&["trade"]));
        assert!(!Query::default().matches(&closed));
    }

    #[test]
    fn a_caller_needs_one_of_the_permissions() {
        let closed = entry(|draft| draft.permissions = names(&["trade", "risk"]));
        let check = |caller: Caller, expected| {
            let query = Query::service("vol-surface", caller);
            assert_eq!(query.matches(&closed), expected);
        };
        check(Caller::Trusted, true);
        check(Caller::Holding(names(&["risk", "other"])), true);
        check(Caller::Holding(names(&["other"])), false);
        check(Caller::Holding(names(&[])), false);
    }

    #[test]
    fn every_given_part_must_hold() {
        let held = entry(|draft| {
            draft.version = Some(Version::parse("1.2.3").expect("a version"));
            draft.params = [("ccy".into(), "USD".into()), ("desk".into(), 3.into())].into();
            draft.vnets = names(&["local", "test"]);
            draft.metadata = pairs(&[("region", "us-west-2"), ("environment", "production")]);
        });
        let check = |change: fn(&mut Query), expected| {
            let mut query = Query::default();
            change(&mut query);
            assert_eq!(query.matches(&held), expected, "{query:?}");
        };
        check(|query| query.service = Some("vol-surface".into()), true);
        check(|query| query.service = Some("vol".into()), false);
        check(|query| query.version = Range::parse("1").ok(), true);
        check(|query| query.version = Range::parse("2").ok(), false);
        check(
            |query| query.params = [("ccy".into(), "USD".into())].into(),
            true,
        );
        check(
            |query| query.params = [("ccy".into(), "EUR".into())].into(),
            false,
        );
        check(|query| query.vnet = Some("test".into()), true);
        check(|query| query.vnet = Some("game".into()), false);
        check(
            |query| query.metadata = pairs(&[("region", "us-west-2")]),
            true,
        );
        check(|query| query.metadata = pairs(&[("region", "eu")]), false);
        check(|query| query.metadata = pairs(&[("rack", "")]), false);
    }

    #[test]
    fn an_entry_in_no_network_is_found_only_without_one() {
        let held = entry(|_| {});
        let asked = Query {
            vnet: Some("local".into()),
            ..Query::default()
        };
        assert!(!asked.matches(&held));
    }

    fn entry(change: impl FnOnce(&mut Draft)) -> Entry {
        let mut draft = Draft::new("i", "vol-surface");
        change(&mut draft);
        Entry::new(&draft).expect("a good entry")
    }

    fn names(names: &[&str]) -> BTreeSet<Text> {
        names.iter().map(|name| Text::from(*name)).collect()
    }

    fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<Text, Text> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }
}
