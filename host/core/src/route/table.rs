//! All routes, and which of them takes a request.
//!
//! Of the routes that take a request the first counts, in this order:
//!
//! 1. its host: a name before what is below a name, the longer name first, before none;
//! 2. its path, segment by segment: text before int, number, bool, any segment, all that is
//!    left; of a path with a verb first those that name it;
//! 3. one that names methods before one that does not;
//! 4. more headers before fewer, then more of the query;
//! 5. one that names listeners before one that does not;
//! 6. the order in which they were given.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    ops::ControlFlow,
    sync::Arc,
};

use super::{
    host::{HOST_BYTES_MAX, HostPattern, host_of},
    node::PathTree,
    path::{PathSegment, RequestPath},
    rule::{FieldRule, HttpRoute},
};
use crate::text::Text;

/// Routes in the order of their names in the configuration, then those of plugins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteTable {
    routes: Vec<Arc<HttpRoute>>,
    names: BTreeMap<Text, usize>,
    exact: HashMap<Text, PathTree>,
    below: HashMap<Text, PathTree>,
    every: PathTree,
}

/// What of a request decides its route.
#[derive(Clone, Copy)]
pub struct RouteRequest<'a> {
    /// The name of the listener that it came by.
    pub listener: &'a str,
    /// Host and port as the client named them.
    pub authority: &'a str,
    pub method: &'a str,
    pub path: &'a RequestPath<'a>,
    pub query: Option<&'a str>,
    /// Whether there is a header of that name, which is in lower case, with that value if one is asked
    /// for.
    pub has_header: &'a (dyn Fn(&str, Option<&str>) -> bool + Sync),
}

/// Which route takes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteMatch<'t> {
    Route(&'t Arc<HttpRoute>),
    /// There are routes but for the method: the methods that they take, in order.
    WrongMethod {
        allow: Vec<Text>,
    },
    /// There is one for the path with one more slash at its end.
    WithSlash,
    Nothing,
}

/// Two routes that take the same requests for the same reasons.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteConflict {
    pub first: Text,
    pub second: Text,
}

impl RouteTable {
    /// Of two with one name the later stands under it.
    #[must_use]
    pub fn new(routes: impl IntoIterator<Item = HttpRoute>) -> Self {
        let mut table = Self::default();
        for (number, route) in routes.into_iter().enumerate() {
            let path = &route.rule.path;
            if route.rule.hosts.is_empty() {
                table.every.insert(path, number);
            }
            for host in &route.rule.hosts {
                let (tree, name) = match host {
                    HostPattern::Exact(name) => (&mut table.exact, name),
                    HostPattern::Below(name) => (&mut table.below, name),
                };
                tree.entry(name.clone()).or_default().insert(path, number);
            }
            table.names.insert(route.name.clone(), number);
            table.routes.push(Arc::new(route));
        }
        let routes = &table.routes;
        let order = |numbers: &mut Vec<usize>| {
            // One with a host twice.
            numbers.dedup();
            numbers.sort_by_key(|number| {
                let route = routes.get(*number);
                (
                    Reverse(route.map(|route| route.rule.specificity())),
                    *number,
                )
            });
        };
        let trees = table.exact.values_mut().chain(table.below.values_mut());
        for tree in trees.chain([&mut table.every]) {
            tree.sort(&order);
        }
        table
    }

    /// The route called `name`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<HttpRoute>> {
        self.routes.get(*self.names.get(name)?)
    }

    /// All routes in order.
    #[must_use]
    pub fn routes(&self) -> &[Arc<HttpRoute>] {
        &self.routes
    }

    /// The route of a request.
    #[must_use]
    pub fn find(&self, request: &RouteRequest<'_>) -> RouteMatch<'_> {
        let segments = request.path.segments();
        let mut found = None;
        let mut allow = BTreeSet::new();
        self.visit(request.authority, segments, &mut |route| {
            if !route.rule.takes(request) {
                return ControlFlow::Continue(());
            }
            if route.rule.takes_method(request.method) {
                found = Some(route);
                return ControlFlow::Break(());
            }
            allow.extend(route.rule.methods.iter().cloned());
            ControlFlow::Continue(())
        });
        if let Some(route) = found {
            return RouteMatch::Route(route);
        }
        if !allow.is_empty() {
            if allow.contains("GET") {
                allow.insert(Text::from_static("HEAD"));
            }
            allow.insert(Text::from_static("OPTIONS"));
            return RouteMatch::WrongMethod {
                allow: allow.into_iter().collect(),
            };
        }
        match self.takes_with_slash(request) {
            true => RouteMatch::WithSlash,
            false => RouteMatch::Nothing,
        }
    }

    /// Only requests that change nothing are sent on by a redirect.
    fn takes_with_slash(&self, request: &RouteRequest<'_>) -> bool {
        let segments = request.path.segments();
        let has_slash = segments.last().is_none_or(|last| last.text.is_empty());
        if has_slash || !["GET", "HEAD"].contains(&request.method) {
            return false;
        }
        let mut longer = segments.to_vec();
        longer.push(PathSegment {
            raw: "",
            text: Cow::Borrowed(""),
        });
        let mut is_taken = false;
        self.visit(request.authority, &longer, &mut |route| {
            is_taken = route.rule.takes(request) && route.rule.takes_method(request.method);
            match is_taken {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        is_taken
    }

    /// Tells `visit` of the routes of a host and a path in their order, until it breaks.
    fn visit<'t>(
        &'t self,
        authority: &str,
        path: &[PathSegment<'_>],
        visit: &mut dyn FnMut(&'t Arc<HttpRoute>) -> ControlFlow<()>,
    ) {
        let mut by_number = |number: usize| match self.routes.get(number) {
            Some(route) => visit(route),
            None => ControlFlow::Continue(()),
        };
        for tree in self.trees(authority) {
            if tree.visit(path, &mut by_number).is_break() {
                return;
            }
        }
    }

    /// The trees of a host, the most specific first.
    fn trees(&self, authority: &str) -> Vec<&PathTree> {
        let mut trees = Vec::new();
        let host = host_of(authority);
        if !(self.exact.is_empty() && self.below.is_empty()) && host.len() <= HOST_BYTES_MAX {
            let host = host.to_ascii_lowercase();
            trees.extend(self.exact.get(host.as_str()));
            let suffixes = host
                .match_indices('.')
                .filter_map(|(at, _)| host.get(at + 1..));
            trees.extend(suffixes.filter_map(|suffix| self.below.get(suffix)));
        }
        trees.push(&self.every);
        trees
    }

    /// Every pair of routes that nothing parts but their order.
    #[must_use]
    pub fn conflicts(&self) -> BTreeSet<RouteConflict> {
        let mut sets = Vec::new();
        let trees = self.exact.values().chain(self.below.values());
        for tree in trees.chain([&self.every]) {
            tree.sets(&mut sets);
        }
        let mut conflicts = BTreeSet::new();
        for set in sets {
            // Those that ask for other fields are no match, so only few are compared with each other.
            let mut alike: HashMap<Vec<&FieldRule>, Vec<&Arc<HttpRoute>>> = HashMap::new();
            for route in set.iter().filter_map(|number| self.routes.get(*number)) {
                let mut fields: Vec<_> = route.rule.headers.iter().collect();
                fields.sort();
                let others = alike.entry(fields).or_default();
                let equal = others
                    .iter()
                    .filter(|other| other.rule.is_equal_to(&route.rule));
                conflicts.extend(equal.map(|other| RouteConflict {
                    first: other.name.clone(),
                    second: route.name.clone(),
                }));
                others.push(route);
            }
        }
        conflicts
    }
}

impl fmt::Debug for RouteRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteRequest")
            .field("listener", &self.listener)
            .field("authority", &self.authority)
            .field("method", &self.method)
            .field("path", &self.path.raw())
            .finish_non_exhaustive()
    }
}
