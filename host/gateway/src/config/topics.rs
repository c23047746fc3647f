//! Tables `topics`: which events are kept, how long, and how they are given to durable consumers.

use std::{collections::BTreeMap, time::Duration};

use postern_core::{
    Text,
    event::{
        OWN_TOPICS, TopicPattern, check_topic,
        durable::{LogLimits, WhenFull},
    },
};

use super::{
    leaf::{Leaf, word_leaf},
    section::{Bounds, Field, SectionReader, Shape, join, section},
    services::quoted,
    units::{Size, show_duration},
    value::{Node, Value},
};
use crate::events::ConsumerDefaults;

section! {
    /// Events of the topics that the table's name matches: "orders.>", "orders.*", "orders.created".
    pub(crate) struct TopicSettings {
        /// "at-least-once": an event is stored before its publisher is answered, and comes again until a
        /// durable consumer has acknowledged it. "at-most-once": it is told to whoever listens; nothing
        /// is stored, whatever a wider table says.
        pub delivery: TopicDelivery = TopicDelivery::AtMostOnce;
        /// What keeps the events: "local" (a file below data-dir), or the name of a table `stores`.
        pub store: String = LOCAL_STORE.to_owned();
        /// How long an event is kept; 0s keeps it until another limit is met.
        pub max_age: Duration = Duration::from_secs(7 * 24 * 60 * 60), within "0s" to "87600h";
        /// Events that are kept.
        pub max_messages: usize = 1_000_000, within "1" to "1000000000";
        /// Octets of all events that are kept, with 64 for each.
        pub max_bytes: Size = Size::mib(1024), within "64KiB" to "1024GiB";
        /// What gives way where there is no room: "drop-oldest" the oldest event, whether or not everybody
        /// has had it; "refuse" the new one, and its publisher is told.
        pub when_full: FullLog = FullLog::DropOldest;
        /// How long a consumer may take for an event before it counts as not handled.
        pub ack_wait: Duration = Duration::from_secs(30), within "10ms" to "24h";
        /// Waits before an event that was not handled comes again: before the second delivery, the third
        /// and so on; the last one repeats.
        pub back_off: Vec<Duration> = [1, 5, 30, 120].map(Duration::from_secs).to_vec();
        /// Deliveries of an event to one consumer; then it goes to the dead letters. 0: no bound.
        pub deliveries_max: u32 = 5, within "0" to "100000";
        /// Events that one consumer may have at a time without having acknowledged them.
        pub in_flight_max: usize = 64, within "1" to "16384";
        /// "key": an event waits until the one before it of the same publisher and header `event-key`
        /// (without it, topic) is acknowledged. "none": nothing waits for another.
        pub order: TopicOrder = TopicOrder::Key;
        /// The topic of dead letters; "dead-letter." and the event's own when left out.
        pub dead_letter: Option<DeadLetterTopic> = None;
    }
}

/// What a topic promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicDelivery {
    AtMostOnce,
    AtLeastOnce,
}

/// What gives way in a log that is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FullLog {
    DropOldest,
    Refuse,
}

/// What waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TopicOrder {
    Key,
    None,
}

word_leaf!(TopicDelivery { AtMostOnce = "at-most-once", AtLeastOnce = "at-least-once" });
word_leaf!(TopicOrder { Key = "key", None = "none" });
word_leaf!(FullLog { DropOldest = "drop-oldest", Refuse = "refuse" });

/// Where dead letters are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeadLetterTopic(pub Text);

/// Settings by pattern.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TopicTables(BTreeMap<TopicPattern, TopicSettings>);

impl TopicTables {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicPattern, &TopicSettings)> {
        self.0.iter()
    }

    /// Adds a fault for each contradiction.
    pub(super) fn check(&self, reader: &mut SectionReader) {
        let mut durable: Vec<&TopicPattern> = Vec::new();
        for (pattern, settings) in &self.0 {
            let path = join(TOPICS, &quoted(pattern.as_str()));
            if settings.delivery == TopicDelivery::AtMostOnce {
                refuse_unused(&path, settings, reader);
                continue;
            }
            if pattern.as_str().starts_with(OWN_TOPICS) {
                let message = format!("topics that begin with {OWN_TOPICS} are the gateway's own");
                reader.fault_of_table(&path, message, "they are told, and not stored");
            }
            if let Some(other) = durable.iter().find(|other| other.overlaps(pattern)) {
                let other = quoted(other.as_str());
                let message = format!("it overlaps [topics.{other}], which is durable as well");
                let remedy =
                    "an event is kept in one log: make the patterns disjoint, or remove one";
                reader.fault_of_table(&path, message, remedy);
            }
            durable.push(pattern);
            check_back_off(&path, settings, reader);
        }
    }
}

fn check_back_off(path: &str, settings: &TopicSettings, reader: &mut SectionReader) {
    let key = join(path, "back-off");
    let n = settings.back_off.len();
    if n > BACK_OFF_MAX {
        let message = format!("{n} waits exceed the limit of {BACK_OFF_MAX}");
        reader.fault_of_key(&key, message, "write fewer: the last one repeats");
    }
    if let Some(wait) = settings.back_off.iter().find(|wait| **wait > WAIT_MAX) {
        let message = format!("{} is above the limit of 24h", show_duration(*wait));
        reader.fault_of_key(&key, message, "write 0s to 24h");
    }
}

/// Keys that say how events are kept, of a table that keeps none.
fn refuse_unused(path: &str, settings: &TopicSettings, reader: &mut SectionReader) {
    for key in settings.keys() {
        let key_path = join(path, &key.name);
        if key.name != "delivery" && reader.places.contains_key(&key_path) {
            let message = "nothing is stored of this topic, so the key has no effect";
            let remedy = "write delivery = \"at-least-once\", or remove the key";
            reader.fault_of_key(&key_path, message, remedy);
        }
    }
}

impl TopicSettings {
    #[must_use]
    pub(crate) fn limits(&self) -> LogLimits {
        LogLimits {
            age_max: (!self.max_age.is_zero()).then_some(self.max_age),
            events_max: self.max_messages as u64,
            bytes_max: self.max_bytes.octets() as u64,
            when_full: match self.when_full {
                FullLog::DropOldest => WhenFull::DropOldest,
                FullLog::Refuse => WhenFull::Refuse,
            },
        }
    }

    #[must_use]
    pub(crate) fn consumers(&self) -> ConsumerDefaults {
        ConsumerDefaults {
            ack_wait: self.ack_wait,
            back_off: self.back_off.clone(),
            deliveries_max: self.deliveries_max,
            in_flight_max: self.in_flight_max,
            is_ordered: self.order == TopicOrder::Key,
        }
    }
}

impl Field for TopicTables {
    fn merge(&mut self, node: &Node, path: &str, _: Bounds, reader: &mut SectionReader) {
        for entry in reader.entries(node, path).unwrap_or_default() {
            let name = &entry.key;
            let path = join(path, &quoted(name));
            let pattern = match TopicPattern::new(name) {
                Ok(pattern) => pattern,
                Err(error) => {
                    let message = format!("{name:?}: {error}");
                    let remedy =
                        "write a topic such as \"orders.created\", \"orders.*\" or \"orders.>\"";
                    reader.fault(&path, &entry.key_place, message, remedy);
                    continue;
                }
            };
            reader
                .tables
                .entry(path.clone())
                .or_insert_with(|| entry.key_place.clone());
            let settings = self.0.entry(pattern).or_default();
            settings.merge(&entry.node, &path, None, reader);
        }
    }

    fn shape(&self, _: Bounds) -> Shape {
        let tables = self.0.iter();
        let tables = tables.map(|(pattern, settings)| (quoted(pattern.as_str()), settings.keys()));
        Shape::Named {
            tables: tables.collect(),
            template: TopicSettings::default().keys(),
        }
    }
}

impl Leaf for DeadLetterTopic {
    fn expected() -> String {
        "a topic such as \"lost.orders\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        check_topic(&text).map_err(|error| format!("{text:?}: {error}"))?;
        match text.starts_with(OWN_TOPICS) {
            true => Err(format!(
                "topics that begin with {OWN_TOPICS} are the gateway's own"
            )),
            false => Ok(Self(text.into())),
        }
    }

    fn written(&self) -> Option<String> {
        self.0.to_string().written()
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}

/// The store that every gateway has.
pub(crate) const LOCAL_STORE: &str = "local";
const BACK_OFF_MAX: usize = 32;
const WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// The section.
const TOPICS: &str = "topics";

#[cfg(test)]
mod tests {
    use super::{super::parse, *};

    fn faults(text: &str) -> Vec<(String, String)> {
        match parse("postern.toml", text, &BTreeMap::new()) {
            Ok(_) => Vec::new(),
            Err(faults) => faults
                .faults
                .iter()
                .map(|fault| (fault.path.clone(), fault.message.clone()))
                .collect(),
        }
    }

    #[test]
    fn patterns_of_durable_topics_may_not_overlap() {
        let text = |two: &str| {
            format!(
                "[topics.\"orders.>\"]\ndelivery = \"at-least-once\"\n[topics.\"{two}\"]\ndelivery = \"at-least-once\"\n"
            )
        };
        assert_eq!(faults(&text("users.>")), []);
        let message = "it overlaps [topics.\"orders.>\"], which is durable as well";
        let expected = ("topics.\"orders.a\"".to_owned(), message.to_owned());
        assert_eq!(faults(&text("orders.a")), [expected]);
        // What is not stored may lie within.
        let within = "[topics.\"orders.>\"]\ndelivery = \"at-least-once\"\n[topics.\"orders.a\"]\n";
        assert_eq!(faults(within), []);
    }

    #[test]
    fn keys_of_what_is_not_stored_are_refused() {
        let message = "nothing is stored of this topic, so the key has no effect";
        let expected = ("topics.a.max-age".to_owned(), message.to_owned());
        assert_eq!(faults("[topics.a]\nmax-age = \"1h\"\n"), [expected]);
    }

    #[test]
    fn what_is_no_pattern_or_the_gateways_own_is_refused() {
        let found = faults("[topics.\"a..b\"]\n");
        assert_eq!(found.len(), 1, "{found:?}");
        let found = faults("[topics.\"postern.>\"]\ndelivery = \"at-least-once\"\n");
        assert_eq!(found.len(), 1, "{found:?}");
        let found = faults("[topics.a]\ndelivery = \"at-least-once\"\ndead-letter = \"a.*\"\n");
        assert_eq!(found.len(), 1, "{found:?}");
    }
}
