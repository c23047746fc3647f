//! Names of topics, and patterns over them.

use std::fmt;

use super::{LEVELS_MAX, TOPIC_BYTES_MAX};
use crate::{error::Error, text::Text};

/// One level, whatever it is.
pub(super) const ANY: &str = "*";
/// One level or more; only at the end.
pub(super) const REST: &str = ">";

/// Which topics a subscriber wants: `user.created`, `user.*`, `user.>`, `>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPattern(Text);

/// Why a text is no topic, or no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    #[error("it is empty")]
    Empty,
    #[error("{length} octets exceed the limit of {TOPIC_BYTES_MAX}")]
    TooLong { length: usize },
    #[error("{levels} levels exceed the limit of {LEVELS_MAX}")]
    TooDeep { levels: usize },
    #[error("level {level} is empty")]
    EmptyLevel { level: usize },
    #[error("level {level} holds {found:?}, which no level may")]
    Forbidden { level: usize, found: char },
    #[error("level {level} holds {found:?} beside other characters; it must stand alone")]
    NotAlone { level: usize, found: char },
    #[error("level {level} is \">\", which only the last may be")]
    RestNotLast { level: usize },
}

/// Checks that `topic` names a topic. Levels are counted from 1.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_topic(topic: &str) -> Result<(), TopicError> {
    if is_plain(topic) {
        return Ok(());
    }
    check_levels(topic, |level, text| {
        let wildcard = text.chars().find(|c| matches!(c, '*' | '>'));
        wildcard.map_or(Ok(()), |found| Err(TopicError::Forbidden { level, found }))
    })
}

impl TopicPattern {
    /// Reads a pattern. Its octets are copied, so that it pins no frame.
    ///
    /// # Errors
    /// The first thing that is wrong with it.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        let n_levels = text.split('.').count();
        check_levels(text, |level, text| match text {
            ANY => Ok(()),
            REST if level == n_levels => Ok(()),
            REST => Err(TopicError::RestNotLast { level }),
            _ => {
                let wildcard = text.chars().find(|c| matches!(c, '*' | '>'));
                wildcard.map_or(Ok(()), |found| Err(TopicError::NotAlone { level, found }))
            }
        })?;
        Ok(Self(Text::from(text)))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether `topic` is one of those that are wanted. For one question; many are asked of a `SubscriptionTable`.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        let mut levels = topic.split('.');
        for wanted in self.levels() {
            match (wanted, levels.next()) {
                (REST, Some(_)) => return true,
                (_, None) => return false,
                (ANY, Some(_)) => {}
                (wanted, Some(level)) if wanted == level => {}
                (_, Some(_)) => return false,
            }
        }
        levels.next().is_none()
    }

    /// Whether some topic is matched by both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut ours, mut theirs) = (self.levels(), other.levels());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) => return true,
                (Some(REST), Some(_)) | (Some(_), Some(REST)) => return true,
                (None, Some(_)) | (Some(_), None) => return false,
                (Some(ANY), Some(_)) | (Some(_), Some(ANY)) => {}
                (Some(ours), Some(theirs)) if ours == theirs => {}
                (Some(_), Some(_)) => return false,
            }
        }
    }

    pub(super) fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.as_str().split('.')
    }
}

impl TopicError {
    /// What the caller is told that sent `text`.
    #[must_use]
    pub fn refuse(self, what: &str, text: &str) -> Error {
        let shown: String = text.escape_debug().take(SHOWN_CHARS_MAX).collect();
        Error::invalid_argument(format!("{what} \"{shown}\": {self}")).with_source(self)
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Of a stranger's text, shown back to it.
const SHOWN_CHARS_MAX: usize = 64;

/// Whether it is one of the usual topics, whose octets say by themselves that nothing is wrong.
fn is_plain(topic: &str) -> bool {
    let (mut n_levels, mut before) = (1, b'.');
    let are_plain = topic.bytes().all(|octet| {
        let is_end = octet == b'.';
        let is_within = octet.is_ascii_graphic() && !matches!(octet, b'*' | b'>');
        let is_fine = is_within && !(is_end && before == b'.');
        n_levels += usize::from(is_end);
        before = octet;
        is_fine
    });
    are_plain && before != b'.' && topic.len() <= TOPIC_BYTES_MAX && n_levels <= LEVELS_MAX
}

fn check_levels(
    text: &str,
    check: impl Fn(usize, &str) -> Result<(), TopicError>,
) -> Result<(), TopicError> {
    if text.is_empty() {
        return Err(TopicError::Empty);
    }
    if text.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong { length: text.len() });
    }
    let levels = text.split('.').count();
    if levels > LEVELS_MAX {
        return Err(TopicError::TooDeep { levels });
    }
    for (level, text) in (1..).zip(text.split('.')) {
        if text.is_empty() {
            return Err(TopicError::EmptyLevel { level });
        }
        if let Some(found) = text.chars().find(|c| c.is_control() || c.is_whitespace()) {
            return Err(TopicError::Forbidden { level, found });
        }
        check(level, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, expected: Result<(), TopicError>) {
        assert_eq!(TopicPattern::new(pattern).map(drop), expected, "{pattern}");
    }

    fn matches(pattern: &str, topic: &str) -> bool {
        TopicPattern::new(pattern)
            .expect("a pattern")
            .matches(topic)
    }

    #[test]
    fn a_star_is_one_level() {
        assert!(matches("user.*", "user.created"));
        assert!(matches("*.created", "user.created"));
        assert!(!matches("user.*", "user"));
        assert!(!matches("user.*", "user.created.twice"));
    }

    #[test]
    fn a_greater_than_sign_is_one_level_or_more() {
        assert!(matches("user.>", "user.created"));
        assert!(matches("user.>", "user.created.twice"));
        assert!(!matches("user.>", "user"));
        assert!(matches(">", "user"));
    }

    #[test]
    fn patterns_overlap_where_a_topic_is_matched_by_both() {
        let overlap = |one: &str, other: &str| {
            let pattern = |text| TopicPattern::new(text).expect("a pattern");
            let (one, other) = (pattern(one), pattern(other));
            let found = one.overlaps(&other);
            assert_eq!(found, other.overlaps(&one), "{one} {other}");
            found
        };
        assert!(overlap("orders.>", "orders.created"));
        assert!(overlap("orders.*", "*.created"));
        assert!(overlap(">", "a"));
        assert!(overlap("a.*.c", "a.b.>"));
        assert!(!overlap("orders.>", "orders"));
        assert!(!overlap("orders.*", "orders.a.b"));
        assert!(!overlap("a.b", "a.c"));
    }

    #[test]
    fn levels_are_compared_as_they_are_written() {
        assert!(matches("user.created", "user.created"));
        assert!(!matches("user.created", "user.Created"));
        assert!(!matches("user.created", "user"));
        assert!(!matches("user", "user.created"));
    }

    #[test]
    fn wildcards_stand_alone_and_the_rest_stands_last() {
        check("a.*.b.>", Ok(()));
        check("a.>.b", Err(TopicError::RestNotLast { level: 2 }));
        let found = '*';
        check("a.b*", Err(TopicError::NotAlone { level: 2, found }));
        let found = '>';
        check("a>", Err(TopicError::NotAlone { level: 1, found }));
    }

    #[test]
    fn a_topic_has_no_wildcards() {
        assert_eq!(check_topic("user.created"), Ok(()));
        let found = '*';
        let error = TopicError::Forbidden { level: 2, found };
        assert_eq!(check_topic("user.*"), Err(error));
        let found = '>';
        let error = TopicError::Forbidden { level: 1, found };
        assert_eq!(check_topic(">"), Err(error));
    }

    #[test]
    fn levels_are_neither_empty_nor_blank() {
        check("", Err(TopicError::Empty));
        check("a..b", Err(TopicError::EmptyLevel { level: 2 }));
        check(".a", Err(TopicError::EmptyLevel { level: 1 }));
        check("a.", Err(TopicError::EmptyLevel { level: 2 }));
        let found = ' ';
        check("a.b c", Err(TopicError::Forbidden { level: 2, found }));
        let found = '\n';
        check("a\n", Err(TopicError::Forbidden { level: 1, found }));
    }

    #[test]
    fn a_topic_has_at_most_255_octets_and_32_levels() {
        assert_eq!(check_topic(&"a".repeat(255)), Ok(()));
        let length = 256;
        let error = TopicError::TooLong { length };
        assert_eq!(check_topic(&"a".repeat(256)), Err(error));
        assert_eq!(check_topic(&["a"; 32].join(".")), Ok(()));
        let error = TopicError::TooDeep { levels: 33 };
        assert_eq!(check_topic(&["a"; 33].join(".")), Err(error));
    }
}
