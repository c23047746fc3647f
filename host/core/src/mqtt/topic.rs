//! Names of MQTT, and the topics and patterns of events that they are.
//!
//! | MQTT | events | |
//! | --- | --- | --- |
//! | `a/b` | `a.b` | levels |
//! | `+`, `#` | `*`, `>` | `a/#` is `a` and `a.>` |
//! | an empty level | the level `%` | `/a` is `%.a` |
//! | `.`, `%`, `*`, `>`, a blank or control character | `%2E`, `%25`, `%2A`, `%3E`, `%XX` for each octet | no level of an event has them |
//! | `%2F`, `%2B`, `%23` | `/`, `+`, `#` | no level of MQTT has them |
//!
//! A name that goes to events and comes back is what it was. An event whose topic holds a `%` that is
//! no such escape is seen under a name that leads to the escaped topic instead.

use std::fmt::{self, Write as _};

use crate::{
    event::{LEVELS_MAX, TOPIC_BYTES_MAX, TopicError, TopicPattern},
    text::Text,
};

/// What shared subscriptions begin with (MQTT 5 section 4.8.2).
pub const SHARE_PREFIX: &str = "$share/";
/// Names that only the broker publishes under.
pub const SYS_PREFIX: &str = "$SYS/";

/// A topic name in both forms.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TopicName {
    /// As MQTT writes it.
    pub name: Text,
    /// The topic of the event.
    pub event: Text,
}

/// A topic filter without what makes it shared. Checked; its octets are its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicFilter(Text);

/// What a client subscribes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SharedFilter {
    /// The name of the share; none of a subscription of one's own.
    pub group: Option<Text>,
    pub filter: TopicFilter,
}

/// Why a text is no topic name, or no filter. Levels are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MqttNameError {
    #[error("it is empty")]
    Empty,
    #[error("{length} octets as an event's topic exceed the limit of {TOPIC_BYTES_MAX}")]
    TooLong { length: usize },
    #[error("{levels} levels exceed the limit of {LEVELS_MAX}")]
    TooDeep { levels: usize },
    #[error("it holds the wildcard {found:?}, which only filters may")]
    Wildcard { found: char },
    #[error("level {level} holds {found:?} beside other characters; it must stand alone")]
    NotAlone { level: usize, found: char },
    #[error("level {level} is \"#\", which only the last may be")]
    RestNotLast { level: usize },
    #[error("it holds U+0000")]
    Null,
    #[error("the name of a share is not followed by a filter")]
    ShareWithoutFilter,
    #[error("the name of a share is empty")]
    ShareWithoutName,
    #[error("the name of a share holds {found:?}")]
    ShareName { found: char },
}

impl TopicName {
    /// Reads a name as MQTT writes it.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(name: &str) -> Result<Self, MqttNameError> {
        check_name(name)?;
        let event = to_event(name);
        check_bounds(&event)?;
        Ok(Self {
            name: Text::from(name),
            event: event.into(),
        })
    }

    /// The name under which an event's topic is seen.
    #[must_use]
    pub fn of_event(topic: &str) -> Self {
        Self {
            name: from_event(topic).into(),
            event: Text::from(topic),
        }
    }
}

impl TopicFilter {
    /// Reads a filter that is not shared.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(filter: &str) -> Result<Self, MqttNameError> {
        check_octets(filter)?;
        let n_levels = filter.split('/').count();
        for (level, text) in (1..).zip(filter.split('/')) {
            match text {
                "+" => {}
                "#" if level == n_levels => {}
                "#" => return Err(MqttNameError::RestNotLast { level }),
                _ => {
                    if let Some(found) = text.chars().find(|c| matches!(c, '+' | '#')) {
                        return Err(MqttNameError::NotAlone { level, found });
                    }
                }
            }
        }
        check_bounds(&filter_to_event(filter))?;
        Ok(Self(Text::from(filter)))
    }

    #[must_use]
    pub const fn text(&self) -> &Text {
        &self.0
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.as_str().split('/')
    }

    /// Whether `name` is one of those that are wanted. Wildcards in first place want no name that
    /// begins with `$` (section 4.7.2).
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if name.starts_with('$') && matches!(self.as_str().chars().next(), Some('+' | '#')) {
            return false;
        }
        let mut levels = name.split('/');
        for wanted in self.levels() {
            match (wanted, levels.next()) {
                ("#", _) => return true,
                (_, None) => return false,
                ("+", Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                (_, Some(_)) => return false,
            }
        }
        levels.next().is_none()
    }

    /// The patterns of the events that it wants: two for one that ends with `#`, as it wants the level
    /// above as well.
    ///
    /// # Errors
    /// Where a pattern cannot be so long or so deep.
    pub fn patterns(&self) -> Result<Vec<TopicPattern>, TopicError> {
        let mut patterns = vec![TopicPattern::new(&filter_to_event(self.as_str()))?];
        if let Some(above) = self.as_str().strip_suffix("/#") {
            patterns.push(TopicPattern::new(&filter_to_event(above))?);
        }
        Ok(patterns)
    }
}

impl SharedFilter {
    /// Reads what a client subscribes to: a filter, or `$share/GROUP/FILTER`.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(text: &str) -> Result<Self, MqttNameError> {
        let Some(shared) = text.strip_prefix(SHARE_PREFIX) else {
            let filter = TopicFilter::new(text)?;
            return Ok(Self {
                group: None,
                filter,
            });
        };
        let Some((group, filter)) = shared.split_once('/') else {
            return Err(MqttNameError::ShareWithoutFilter);
        };
        if group.is_empty() {
            return Err(MqttNameError::ShareWithoutName);
        }
        if let Some(found) = group.chars().find(|c| matches!(c, '+' | '#')) {
            return Err(MqttNameError::ShareName { found });
        }
        if filter.is_empty() {
            return Err(MqttNameError::ShareWithoutFilter);
        }
        Ok(Self {
            group: Some(Text::from(group)),
            filter: TopicFilter::new(filter)?,
        })
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// As the client wrote it.
impl fmt::Display for SharedFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            None => self.filter.fmt(f),
            Some(group) => write!(f, "{SHARE_PREFIX}{group}/{}", self.filter),
        }
    }
}

/// Checks that `name` names a topic that may be published to, whatever events say of its length.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_name(name: &str) -> Result<(), MqttNameError> {
    check_octets(name)?;
    let wildcard = name.bytes().find(|octet| matches!(octet, b'+' | b'#'));
    wildcard.map_or(Ok(()), |found| {
        let found = char::from(found);
        Err(MqttNameError::Wildcard { found })
    })
}

/// The event's topic of a checked name.
#[must_use]
pub fn to_event(name: &str) -> String {
    map_levels(name, "/", ".", push_event_level)
}

/// The pattern of a checked filter, without the level above of `#`.
#[must_use]
pub fn filter_to_event(filter: &str) -> String {
    map_levels(filter, "/", ".", |level, into| match level {
        "+" => into.push('*'),
        "#" => into.push('>'),
        _ => push_event_level(level, into),
    })
}

/// The name of an event's topic.
#[must_use]
pub fn from_event(topic: &str) -> String {
    map_levels(topic, ".", "/", push_name_level)
}

fn map_levels(text: &str, from: &str, to: &str, push: impl Fn(&str, &mut String)) -> String {
    let mut mapped = String::with_capacity(text.len() + SPARE_BYTES);
    for (idx, level) in text.split(from).enumerate() {
        if idx > 0 {
            mapped.push_str(to);
        }
        push(level, &mut mapped);
    }
    mapped
}

fn push_event_level(level: &str, into: &mut String) {
    if level.is_empty() {
        into.push(EMPTY);
        return;
    }
    if level.bytes().all(is_plain) {
        into.push_str(level);
        return;
    }
    let mut rest = level;
    while let Some(found) = rest.chars().next() {
        let (text, tail) = rest.split_at(found.len_utf8());
        rest = tail;
        if found == '%' {
            let known = NAME_ESCAPES
                .iter()
                .find(|(escape, _)| tail.starts_with(escape));
            if let Some((escape, plain)) = known {
                into.push(*plain);
                rest = tail.get(escape.len()..).unwrap_or_default();
                continue;
            }
        }
        let is_forbidden = matches!(found, '%' | '.' | '*' | '>');
        if is_forbidden || found.is_whitespace() || found.is_control() {
            for octet in text.bytes() {
                push_escape(octet, into);
            }
        } else {
            into.push(found);
        }
    }
}

fn push_name_level(level: &str, into: &mut String) {
    if level.len() == 1 && level.starts_with(EMPTY) {
        return;
    }
    if level.bytes().all(is_plain) {
        into.push_str(level);
        return;
    }
    // Octets first: a character may have been escaped as several.
    let mut octets = Vec::with_capacity(level.len());
    let mut rest = level.as_bytes();
    while let Some((found, tail)) = rest.split_first() {
        rest = tail;
        let escaped = tail.get(..2).and_then(unescaped);
        match (found, escaped) {
            (b'%', Some(octet)) => {
                octets.push(octet);
                rest = tail.get(2..).unwrap_or_default();
            }
            (b'/' | b'+' | b'#', _) => {
                let mut escape = String::new();
                push_escape(*found, &mut escape);
                octets.extend_from_slice(escape.as_bytes());
            }
            _ => octets.push(*found),
        }
    }
    match std::str::from_utf8(&octets) {
        Ok(text) => into.push_str(text),
        // Half a character was escaped, which this module never does.
        Err(_) => into.push_str(level),
    }
}

/// The octet of two hex digits, where it is one that `push_event_level` escapes. Other escapes stay
/// as they are, so that what they stand for does not become a name that leads elsewhere.
fn unescaped(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits).ok()?;
    if digits
        .bytes()
        .any(|digit| digit.is_ascii_lowercase() || digit == b'+')
    {
        return None;
    }
    let octet = u8::from_str_radix(digits, 16).ok()?;
    let is_escaped = octet <= b' ' || octet >= 0x7f || matches!(octet, b'%' | b'.' | b'*' | b'>');
    (is_escaped && octet != 0).then_some(octet)
}

fn push_escape(octet: u8, into: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(into, "%{octet:02X}");
}

/// Whether an octet means the same in both forms.
const fn is_plain(octet: u8) -> bool {
    !matches!(octet, 0..=b' ' | 0x7f.. | b'%' | b'.' | b'*' | b'>' | b'/' | b'+' | b'#')
}

fn check_octets(text: &str) -> Result<(), MqttNameError> {
    if text.is_empty() {
        return Err(MqttNameError::Empty);
    }
    if text.bytes().any(|octet| octet == 0) {
        return Err(MqttNameError::Null);
    }
    Ok(())
}

/// Bounds of events, which names are held to because both are one space.
fn check_bounds(event: &str) -> Result<(), MqttNameError> {
    let length = event.len();
    if length > TOPIC_BYTES_MAX {
        return Err(MqttNameError::TooLong { length });
    }
    let levels = event.split('.').count();
    if levels > LEVELS_MAX {
        return Err(MqttNameError::TooDeep { levels });
    }
    Ok(())
}

/// The level of an event that is an empty one of MQTT.
const EMPTY: char = '%';
/// What no level of MQTT may hold is written so in a name.
const NAME_ESCAPES: [(&str, char); 3] = [("2F", '/'), ("2B", '+'), ("23", '#')];
/// Room for a few escapes.
const SPARE_BYTES: usize = 8;

#[cfg(test)]
mod tests;
