//! What clients of Redis have subscribed to, over all listeners.

use std::collections::BTreeMap;

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::resp::{ChannelKind, glob_matches};

/// How many clients of Redis have subscribed to what, over all listeners.
#[derive(Debug, Default)]
pub(super) struct ChannelCounts(Mutex<[BTreeMap<Bytes, usize>; 2]>);

impl ChannelCounts {
    pub(super) fn add(&self, kind: ChannelKind, name: &Bytes) {
        let mut counts = self.0.lock();
        *of_kind(&mut counts, kind).entry(name.clone()).or_insert(0) += 1;
    }

    pub(super) fn remove(&self, kind: ChannelKind, name: &[u8]) {
        let mut counts = self.0.lock();
        let counts = of_kind(&mut counts, kind);
        if let Some(count) = counts.get_mut(name) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(name);
            }
        }
    }

    /// Clients that have subscribed to the channel of that name.
    pub(super) fn count(&self, name: &[u8]) -> usize {
        let mut counts = self.0.lock();
        let counts = of_kind(&mut counts, ChannelKind::Channel);
        counts.get(name).copied().unwrap_or_default()
    }

    /// Patterns that a client has subscribed to.
    pub(super) fn n_patterns(&self) -> usize {
        of_kind(&mut self.0.lock(), ChannelKind::Pattern).len()
    }

    /// Channels that a client has subscribed to: those of `pattern`, where there is one.
    pub(super) fn channels(&self, pattern: Option<&[u8]>) -> Vec<Bytes> {
        let mut counts = self.0.lock();
        let channels = of_kind(&mut counts, ChannelKind::Channel).keys();
        let is_meant = |name: &&Bytes| pattern.is_none_or(|pattern| glob_matches(pattern, name));
        channels.filter(is_meant).cloned().collect()
    }
}

fn of_kind(
    counts: &mut [BTreeMap<Bytes, usize>; 2],
    kind: ChannelKind,
) -> &mut BTreeMap<Bytes, usize> {
    let [channels, patterns] = counts;
    match kind {
        ChannelKind::Channel => channels,
        ChannelKind::Pattern => patterns,
    }
}
