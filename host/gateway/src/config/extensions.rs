//! Which plugins stand in the way of calls and frames: `[extensions.NAME]` of the configuration, or
//! the same keys below `[extension]` in the plugin's manifest. The configuration wins.

use super::{leaf::word_leaf, named::Named, pattern::CallPattern, section::section};

section! {
    /// A plugin that stands in the way, by the plugin's name.
    pub(crate) struct Extension {
        /// Whether it takes part. In a manifest it does not unless this says so.
        pub enabled: bool = true;
        /// Place in the chain: the smallest sees a call first and its reply last. Equal ones stand in
        /// the order of their names.
        pub order: u32 = 100, within "0" to "10000";
        /// Calls that it sees: "service/method", "*" in either stands for anything.
        pub calls: Vec<CallPattern> = vec![CallPattern::all()];
        /// Listeners whose calls and frames it sees. All when empty, and the calls of plugins, too.
        pub listeners: Vec<String> = Vec::new();
        /// What happens while it is broken or not there: "closed" refuses what it should have seen,
        /// "open" goes on without it.
        pub fail: Fail = Fail::Closed;
    }
}

/// What becomes of a call when an extension cannot do its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fail {
    Open,
    Closed,
}

word_leaf!(Fail { Open = "open", Closed = "closed" });

impl Named for Extension {}

impl Extension {
    /// What a manifest that says nothing means.
    pub(crate) fn absent() -> Self {
        Self {
            enabled: false,
            ..Self::default()
        }
    }

    /// Whether it sees every call.
    pub(crate) fn covers_all(&self) -> bool {
        self.listeners.is_empty() && self.calls.contains(&CallPattern::all())
    }

    /// Whether it sees the calls `service`/`method` of `listener`; the calls of plugins have none.
    pub(crate) fn covers(&self, service: &str, method: &str, listener: Option<&str>) -> bool {
        self.covers_listener(listener)
            && self
                .calls
                .iter()
                .any(|calls| calls.matches(service, method))
    }

    pub(crate) fn covers_listener(&self, listener: Option<&str>) -> bool {
        self.listeners.is_empty()
            || listener.is_some_and(|listener| self.listeners.iter().any(|name| name == listener))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::parse;

    fn extension(text: &str) -> Extension {
        let (config, _) = parse("postern.toml", text, &BTreeMap::new()).expect("valid");
        config.extensions["tag"].clone()
    }

    #[test]
    fn it_sees_everything_unless_told_otherwise() {
        let extension = extension("[extensions.tag]\n");
        assert!(extension.enabled && extension.fail == Fail::Closed);
        assert!(extension.covers_all());
        assert!(extension.covers("users", "GetUser", Some("http")));
        assert!(extension.covers("users", "GetUser", None));
    }

    #[test]
    fn it_sees_the_calls_and_listeners_that_are_named() {
        let text = "[extensions.tag]\ncalls = [\"users/Get*\"]\nlisteners = [\"http\"]\n";
        let extension = extension(text);
        assert!(!extension.covers_all());
        assert!(extension.covers("users", "GetUser", Some("http")));
        assert!(!extension.covers("users", "GetUser", Some("vstp")));
        assert!(!extension.covers("users", "GetUser", None));
        assert!(!extension.covers("users", "ListUsers", Some("http")));
    }
}
