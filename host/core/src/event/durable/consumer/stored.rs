//! A consumer as it lies in a store: what it still has to get, and from where on it looks.

use std::collections::BTreeMap;

use super::ConsumerState;
use crate::{
    event::{
        TopicPattern,
        durable::{
            ConsumerSettings, Position,
            record::{RecordError, RecordReader, RecordWriter, VERSION},
        },
    },
    text::Text,
};

/// As it lies in a store: `version patterns:n (text16 since)… reached n (position deliveries)…
/// counts`, numbers as varints, positions as differences.
impl ConsumerState {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut record = RecordWriter::default();
        record.u8(VERSION);
        record.varint(self.since.len() as u64);
        for (pattern, since) in &self.since {
            record.text16(pattern.as_str().as_bytes());
            record.varint(since.0);
        }
        record.varint(self.reached.0);
        record.varint((self.window.len() + self.restored.len()) as u64);
        // All that is restored lies behind the window.
        let window = self.window.iter().map(|(at, one)| (*at, one.n_deliveries));
        let restored = self.restored.iter().map(|(at, n)| (*at, *n));
        let mut before = 0;
        for (position, n_deliveries) in window.chain(restored) {
            record.varint(position.0.saturating_sub(before));
            record.varint(n_deliveries.into());
            before = position.0;
        }
        record.varint(self.counts.n_redelivered);
        record.varint(self.counts.n_dead);
        record.varint(self.counts.n_lost);
        record.0
    }

    /// A consumer of the name `name`, for which nobody has said how it is given events.
    ///
    /// # Errors
    /// What is wrong with the octets.
    pub fn decode(name: Text, octets: &[u8]) -> Result<Self, RecordError> {
        let mut record = RecordReader(bytes::Bytes::copy_from_slice(octets));
        record.version()?;
        let mut since = Vec::new();
        for _ in 0..record.varint()? {
            let text = record.text16("a pattern")?;
            let invalid = |_| RecordError::Invalid { what: "a pattern" };
            let pattern = TopicPattern::new(&text).map_err(invalid)?;
            since.push((pattern, Position(record.varint()?)));
        }
        let patterns = since.iter().map(|(pattern, _)| pattern.clone()).collect();
        let reached = Position(record.varint()?);
        let (mut restored, mut before) = (BTreeMap::new(), 0_u64);
        for _ in 0..record.varint()? {
            before = before.saturating_add(record.varint()?);
            let n_deliveries = u32::try_from(record.varint()?).unwrap_or(u32::MAX);
            restored.insert(Position(before), n_deliveries);
        }
        let first = restored.keys().next();
        let looked = first.map_or(reached, |first| first.previous());
        let mut state = Self::new(ConsumerSettings::restored(name, patterns), Position(0));
        state.counts.n_redelivered = record.varint()?;
        state.counts.n_dead = record.varint()?;
        state.counts.n_lost = record.varint()?;
        record.end()?;
        let mut state = Self {
            since,
            looked,
            reached,
            restored,
            ..state
        };
        state.settle();
        Ok(state)
    }
}
