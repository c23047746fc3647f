//! What a route asks of a request, and what it leads to.

use super::{
    end::RouteEnd, host::HostPattern, query::query_pairs, table::RouteRequest,
    template::PathTemplate,
};
use crate::{headers::Headers, http::HttpStatus, text::Text};

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRoute {
    /// In the configuration its own; of a plugin, `PLUGIN.NAME`.
    pub name: Text,
    pub rule: RouteRule,
    pub end: RouteEnd,
    /// Of a reply that says none itself.
    pub status: Option<HttpStatus>,
    /// Fields of a reply that has none of that name.
    pub headers: Headers,
    /// Errors are problem details (RFC 9457), whatever the client accepts.
    pub has_problems: bool,
    /// Time of a call whose caller sets no deadline, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// Which requests a route takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRule {
    /// Empty: every host.
    pub hosts: Vec<HostPattern>,
    pub path: PathTemplate,
    /// In upper case. Empty: every method. `GET` takes `HEAD` as well.
    pub methods: Vec<Text>,
    /// All must be there. Names in lower case.
    pub headers: Vec<FieldRule>,
    /// All must be there.
    pub query: Vec<FieldRule>,
    /// Names of listeners. Empty: every one.
    pub listeners: Vec<Text>,
}

/// A name that must be there, and its value where that counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldRule {
    pub name: Text,
    /// `None`: any.
    pub value: Option<Text>,
}

impl RouteRule {
    /// A rule that takes every request to `path`.
    #[must_use]
    pub const fn new(path: PathTemplate) -> Self {
        Self {
            hosts: Vec::new(),
            path,
            methods: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
            listeners: Vec::new(),
        }
    }

    pub(super) fn takes_method(&self, method: &str) -> bool {
        let is_named = |wanted: &str| self.methods.iter().any(|one| *one == *wanted);
        self.methods.is_empty() || is_named(method) || (method == "HEAD" && is_named("GET"))
    }

    /// Whether it takes a request to its host and path, but for the method.
    pub(super) fn takes(&self, request: &RouteRequest<'_>) -> bool {
        let listeners = &self.listeners;
        let is_of_listener =
            listeners.is_empty() || listeners.iter().any(|one| *one == *request.listener);
        let has_field = |rule: &FieldRule| (request.has_header)(&rule.name, rule.value.as_deref());
        is_of_listener
            && self.headers.iter().all(has_field)
            && self.query.iter().all(|rule| has_pair(request.query, rule))
    }

    /// Whether a request that both take at one host and one form of path is taken by both for the
    /// same reasons, so that nothing but their order parts them.
    pub(super) fn is_equal_to(&self, other: &Self) -> bool {
        let shared = |mine: &[Text], others: &[Text]| match (mine, others) {
            ([], []) => true,
            ([], _) | (_, []) => false,
            (mine, others) => mine.iter().any(|one| others.contains(one)),
        };
        sorted(&self.headers) == sorted(&other.headers)
            && sorted(&self.query) == sorted(&other.query)
            && shared(&self.methods, &other.methods)
            && shared(&self.listeners, &other.listeners)
    }

    /// What comes first among routes of one host and one form of path is larger.
    pub(super) fn specificity(&self) -> (bool, usize, usize, bool) {
        (
            !self.methods.is_empty(),
            self.headers.len(),
            self.query.len(),
            !self.listeners.is_empty(),
        )
    }
}

fn sorted(rules: &[FieldRule]) -> Vec<&FieldRule> {
    let mut rules: Vec<_> = rules.iter().collect();
    rules.sort();
    rules
}

fn has_pair(query: Option<&str>, rule: &FieldRule) -> bool {
    let mut pairs = query_pairs(query.unwrap_or_default()).flatten();
    pairs.any(|(name, value)| {
        let is_value = |wanted: &Text| *wanted == *value;
        rule.name == *name && rule.value.as_ref().is_none_or(is_value)
    })
}
