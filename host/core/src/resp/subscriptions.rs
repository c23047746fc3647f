//! What one client has subscribed to.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{glob::glob_matches, value::RespValue};

/// A channel by its name, or those of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    Channel,
    Pattern,
}

/// Channels and patterns of one client.
#[derive(Debug, Default)]
pub struct Subscriptions {
    channels: BTreeSet<Bytes>,
    /// In the order in which they were asked for.
    patterns: Vec<Bytes>,
}

/// What became of one name of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subscribed {
    Changed,
    /// It was so before.
    Same,
}

impl Subscriptions {
    /// Channels and patterns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of one kind.
    #[must_use]
    pub fn names(&self, kind: ChannelKind) -> Vec<Bytes> {
        match kind {
            ChannelKind::Channel => self.channels.iter().cloned().collect(),
            ChannelKind::Pattern => self.patterns.clone(),
        }
    }

    #[must_use]
    pub fn count(&self, kind: ChannelKind) -> usize {
        match kind {
            ChannelKind::Channel => self.channels.len(),
            ChannelKind::Pattern => self.patterns.len(),
        }
    }

    #[must_use]
    pub fn contains(&self, kind: ChannelKind, name: &[u8]) -> bool {
        match kind {
            ChannelKind::Channel => self.channels.contains(name),
            ChannelKind::Pattern => self.patterns.iter().any(|one| one == name),
        }
    }

    /// Its octets are copied, so that it keeps no request.
    pub fn insert(&mut self, kind: ChannelKind, name: &[u8]) -> Subscribed {
        if self.contains(kind, name) {
            return Subscribed::Same;
        }
        let name = Bytes::copy_from_slice(name);
        match kind {
            ChannelKind::Channel => drop(self.channels.insert(name)),
            ChannelKind::Pattern => self.patterns.push(name),
        }
        Subscribed::Changed
    }

    pub fn remove(&mut self, kind: ChannelKind, name: &[u8]) -> Subscribed {
        if !self.contains(kind, name) {
            return Subscribed::Same;
        }
        match kind {
            ChannelKind::Channel => drop(self.channels.remove(name)),
            ChannelKind::Pattern => self.patterns.retain(|one| one != name),
        }
        Subscribed::Changed
    }

    pub fn clear(&mut self) {
        self.channels.clear();
        self.patterns.clear();
    }

    /// Calls `deliver` for each time that an event of `channel` is told: without a pattern where the
    /// channel was asked for, and with each pattern that means it.
    pub fn deliveries(&self, channel: &[u8], mut deliver: impl FnMut(Option<&[u8]>)) {
        if self.channels.contains(channel) {
            deliver(None);
        }
        for pattern in &self.patterns {
            if glob_matches(pattern, channel) {
                deliver(Some(pattern));
            }
        }
    }
}

impl ChannelKind {
    /// What a client is told that has subscribed, or has not any more.
    #[must_use]
    pub fn confirmation(self, is_added: bool, name: Option<Bytes>, n_left: usize) -> RespValue {
        let word = match (self, is_added) {
            (Self::Channel, true) => "subscribe",
            (Self::Pattern, true) => "psubscribe",
            (Self::Channel, false) => "unsubscribe",
            (Self::Pattern, false) => "punsubscribe",
        };
        RespValue::Push(vec![
            RespValue::text(word),
            RespValue::maybe(name),
            RespValue::count(n_left),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(subscriptions: &Subscriptions, channel: &str) -> Vec<Option<String>> {
        let mut told = Vec::new();
        subscriptions.deliveries(channel.as_bytes(), |pattern| {
            told.push(pattern.map(|pattern| String::from_utf8_lossy(pattern).into_owned()));
        });
        told
    }

    #[test]
    fn an_event_is_told_once_for_the_channel_and_once_for_each_pattern() {
        let mut subscriptions = Subscriptions::default();
        let kinds = [ChannelKind::Channel, ChannelKind::Pattern];
        for (kind, name) in kinds.into_iter().zip(["a.b", "a*"]) {
            let name = name.as_bytes();
            assert_eq!(subscriptions.insert(kind, name), Subscribed::Changed);
            assert_eq!(subscriptions.insert(kind, name), Subscribed::Same);
        }
        subscriptions.insert(ChannelKind::Pattern, b"*b");
        let patterns = |names: &[&str]| names.iter().map(|name| Some((*name).to_owned())).collect();
        let both: Vec<_> = patterns(&["a*", "*b"]);
        assert_eq!(told(&subscriptions, "a.b"), [vec![None], both].concat());
        assert_eq!(told(&subscriptions, "a.c"), patterns(&["a*"]));
        assert_eq!(subscriptions.len(), 3);
        let removed = subscriptions.remove(ChannelKind::Channel, b"a.b");
        assert_eq!((removed, subscriptions.len()), (Subscribed::Changed, 2));
        let removed = subscriptions.remove(ChannelKind::Channel, b"a.b");
        assert_eq!(removed, Subscribed::Same);
    }
}
