//! Patterns of topics as Redis subscribes to channels. A glob of Redis knows no levels, so it asks for
//! more than the pattern does; what comes is compared with the pattern itself.

use crate::event::TopicPattern;

/// What is asked of a server for one pattern of topics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChannelPattern {
    /// `SUBSCRIBE`
    Channel(String),
    /// `PSUBSCRIBE`
    Glob(String),
}

impl ChannelPattern {
    /// What leads to the channels `prefix` + topic of `pattern`.
    #[must_use]
    pub fn new(prefix: &str, pattern: &TopicPattern) -> Self {
        let text = pattern.as_str();
        if !text.split('.').any(|level| level == "*" || level == ">") {
            return Self::Channel(format!("{prefix}{text}"));
        }
        let mut glob = escape_glob(prefix);
        for (idx, level) in text.split('.').enumerate() {
            if idx > 0 {
                glob.push('.');
            }
            match level {
                "*" | ">" => glob.push('*'),
                literal => glob.push_str(&escape_glob(literal)),
            }
        }
        Self::Glob(glob)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Channel(text) | Self::Glob(text) => text,
        }
    }
}

/// `text` as a glob that matches it alone.
#[must_use]
pub fn escape_glob(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prefix: &str, pattern: &str, expected: &ChannelPattern) {
        let pattern = TopicPattern::new(pattern).expect("a pattern");
        assert_eq!(ChannelPattern::new(prefix, &pattern), *expected);
    }

    #[test]
    fn what_has_no_wildcard_is_a_channel() {
        let channel = |text: &str| ChannelPattern::Channel(text.to_owned());
        check("", "orders.created", &channel("orders.created"));
        check("p:", "a[1]", &channel("p:a[1]"));
    }

    #[test]
    fn wildcards_are_globs_and_everything_else_stands_for_itself() {
        let glob = |text: &str| ChannelPattern::Glob(text.to_owned());
        check("", "orders.*", &glob("orders.*"));
        check("", "orders.>", &glob("orders.*"));
        check("", "*.a?.>", &glob("*.a\\?.*"));
        check("p*:", ">", &glob("p\\*:*"));
        check("", "*.a[b]", &glob("*.a\\[b\\]"));
    }
}
