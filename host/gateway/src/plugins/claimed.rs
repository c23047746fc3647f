//! What a version claims beside other plugins: the services that it answers for, and the requests over HTTP
//! that its routes take. Compared with what the version before has claimed, by what would reach the plugin
//! and not by how it is written. Pure.
//!
//! | claim | covers |
//! | --- | --- |
//! | a service | that service |
//! | a route's path | the same form; `{id}` any one segment, `{rest*}` whatever follows, `{rest**}` or nothing |
//! | its methods, hosts, listeners | each of the other's; none named is all of them |
//! | fields and parameters that it asks for | a route that asks for the same and perhaps more |

use std::{collections::BTreeSet, fmt};

use postern_core::route::{FieldRule, HostPattern, HttpRoute};
use serde::{Deserialize, Serialize};

use super::asks::{Growth, bounded};

/// What one version claims.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Claimed {
    pub services: BTreeSet<String>,
    pub routes: Vec<ClaimedRoute>,
}

/// The requests that one route takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ClaimedRoute {
    /// Empty: every one, as of `hosts` and `listeners`.
    methods: BTreeSet<String>,
    /// `api.example.org`, or `*.example.org` for every name below.
    hosts: BTreeSet<String>,
    path: String,
    listeners: BTreeSet<String>,
    /// `header x-a=1` or `query a`, all of which a request must have.
    fields: BTreeSet<String>,
}

impl Claimed {
    #[must_use]
    pub(crate) fn of<'a>(
        services: impl IntoIterator<Item = &'a str>,
        routes: &[HttpRoute],
    ) -> Self {
        Self {
            services: services.into_iter().map(ToOwned::to_owned).collect(),
            routes: routes.iter().map(ClaimedRoute::of).collect(),
        }
    }

    /// Both together.
    #[must_use]
    pub(crate) fn with(mut self, other: &Self) -> Self {
        self.services.extend(other.services.iter().cloned());
        self.routes.extend(other.routes.iter().cloned());
        self
    }

    /// What this claims beyond `before`.
    #[must_use]
    pub(crate) fn beyond(&self, before: &Self) -> Vec<Growth> {
        let services = self.services.difference(&before.services);
        let services = services.map(|service| Growth::new("services", format!("{service:?}")));
        let is_new = |route: &&ClaimedRoute| !before.routes.iter().any(|known| known.covers(route));
        let routes = self.routes.iter().filter(is_new);
        let routes = routes.map(|route| Growth::new("routes", route.to_string()));
        bounded(services.chain(routes).collect())
    }
}

impl ClaimedRoute {
    fn of(route: &HttpRoute) -> Self {
        let texts = |texts: &[postern_core::Text]| texts.iter().map(ToString::to_string).collect();
        let rule = &route.rule;
        let host = |host: &HostPattern| match host {
            HostPattern::Exact(name) => name.to_string(),
            HostPattern::Below(name) => format!("*.{name}"),
        };
        let field = |kind: &str, rule: &FieldRule| match &rule.value {
            Some(value) => format!("{kind} {}={value}", rule.name),
            None => format!("{kind} {}", rule.name),
        };
        let headers = rule.headers.iter().map(|rule| field("header", rule));
        let query = rule.query.iter().map(|rule| field("query", rule));
        Self {
            methods: texts(&rule.methods),
            hosts: rule.hosts.iter().map(host).collect(),
            path: rule.path.form().to_string(),
            listeners: texts(&rule.listeners),
            fields: headers.chain(query).collect(),
        }
    }

    /// Whether every request that `other` takes is one that this takes.
    fn covers(&self, other: &Self) -> bool {
        let method = |known: &str, asked: &str| known == asked || (known, asked) == ("GET", "HEAD");
        covers_each(&self.methods, &other.methods, method)
            && covers_each(&self.hosts, &other.hosts, host_covers)
            && covers_each(&self.listeners, &other.listeners, |known, asked| {
                known == asked
            })
            && self.fields.is_subset(&other.fields)
            && path_covers(&self.path, &other.path)
    }
}

impl fmt::Display for ClaimedRoute {
    /// `GET,PUT api.example.org/users/{id} at http where header x-a=1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |texts: &BTreeSet<String>| {
            let texts: Vec<_> = texts.iter().map(String::as_str).collect();
            texts.join(",")
        };
        match self.methods.is_empty() {
            true => f.write_str("every method")?,
            false => f.write_str(&joined(&self.methods))?,
        }
        write!(f, " {}{}", joined(&self.hosts), self.path)?;
        if !self.listeners.is_empty() {
            write!(f, " at {}", joined(&self.listeners))?;
        }
        if !self.fields.is_empty() {
            write!(f, " where {}", joined(&self.fields))?;
        }
        Ok(())
    }
}

/// Whether each of `asked` is covered by one of `known`. An empty set is everything.
fn covers_each(
    known: &BTreeSet<String>,
    asked: &BTreeSet<String>,
    covers: impl Fn(&str, &str) -> bool,
) -> bool {
    let is_covered = |asked: &String| known.iter().any(|known| covers(known, asked));
    known.is_empty() || (!asked.is_empty() && asked.iter().all(is_covered))
}

fn host_covers(known: &str, asked: &str) -> bool {
    let is_below = |suffix: &str| asked.len() > suffix.len() && asked.ends_with(suffix);
    known == asked || known.strip_prefix('*').is_some_and(is_below)
}

fn path_covers(known: &str, asked: &str) -> bool {
    let (mut known, mut asked) = (known.split('/'), asked.split('/'));
    loop {
        match (known.next(), asked.next()) {
            (None, None) => return true,
            (Some(known), Some(asked)) if is_rest(known) => {
                return is_optional_rest(known) || !is_optional_rest(asked);
            }
            (Some(known), Some(asked)) => {
                // One that reads as a number covers none but those.
                let (kind, other) = (type_of(known), type_of(asked));
                let is_covered = match (kind, other) {
                    (None, _) => known == asked,
                    // A segment that may be empty ends a path, and no parameter takes it.
                    (Some(""), None) => !asked.is_empty(),
                    (Some(""), Some(_)) => !asked.ends_with("*}"),
                    (kind, other) => kind == other,
                };
                if !is_covered {
                    return false;
                }
            }
            (Some(known), None) => return is_optional_rest(known),
            (None, Some(_)) => return false,
        }
    }
}

/// All that is left.
fn is_rest(segment: &str) -> bool {
    is_param(segment) && segment.ends_with("*}")
}

/// All that is left, or nothing: so a schema may say it.
fn is_optional_rest(segment: &str) -> bool {
    is_param(segment) && segment.ends_with("**}")
}

fn is_param(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

/// `int` of `{id:int}`, nothing of `{id}`; `None` of what is no parameter.
fn type_of(segment: &str) -> Option<&str> {
    let inner = segment.strip_prefix('{')?.strip_suffix('}')?;
    Some(inner.split_once(':').map_or("", |(_, kind)| kind))
}

#[cfg(test)]
mod tests;
