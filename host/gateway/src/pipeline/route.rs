//! Where a call goes: service name to whoever answers for it. A call reads the table without a lock;
//! a change of one service costs that service.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use postern_core::{Blame, BoxFuture, Call, Error, Handler, Reply, Retry, Text};
use postern_system::shard::Sharded;
use tokio::sync::watch;

use crate::{
    cluster::{Cluster, DecisionLog},
    name_table::NameTable,
    nearest::nearest,
    telemetry::calls::CallMetrics,
};

/// The routing table in force.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    /// Every service with its route, in as many copies as threads may hold it at a time.
    services: NameTable<Sharded<Arc<Route>>>,
    /// Whether a service without a route is unknown, and not just not deployed yet.
    is_complete: AtomicBool,
    /// Counts what becomes of routes.
    changes: watch::Sender<u64>,
}

/// One service and who answers for it.
#[derive(Clone)]
pub(crate) struct Route {
    pub service: Text,
    /// A semantic version, where the plugin states one.
    pub version: Option<Text>,
    pub plugin: Text,
    /// Of the plugin, when the route was made.
    pub generation: u64,
    /// Known methods in order; `None` where the plugin does not describe itself, and then any
    /// method is the guest's matter.
    pub methods: Option<Vec<Text>>,
    pub target: RouteTarget,
    pub metrics: Arc<CallMetrics>,
}

/// Who answers.
#[derive(Clone)]
pub(crate) enum RouteTarget {
    Live(Arc<dyn Handler>),
    /// One of several instances, or one that is elsewhere.
    Cluster(Arc<Cluster>),
    /// Nobody at present, and why.
    Down(Text),
    /// Nobody yet: its plugin is being deployed.
    Loading,
}

impl Routes {
    /// Makes `routes`, one for each service, all that there are.
    pub(crate) fn publish(&self, routes: impl IntoIterator<Item = Route>) {
        let mut gone: BTreeSet<Text> = self.services.names().into_iter().collect();
        for route in routes {
            gone.remove(&route.service);
            self.put(&route);
        }
        gone.iter().for_each(|service| self.remove(service));
    }

    /// The calls of its service take `route` from here on.
    pub(crate) fn put(&self, route: &Route) {
        route
            .metrics
            .know(route.methods.as_deref().unwrap_or_default());
        let copies = Sharded::new(|| Arc::new(route.clone()));
        self.services.insert(&route.service, &copies);
        self.changes.send_modify(count);
    }

    /// `service` has no route from here on.
    pub(crate) fn remove(&self, service: &Text) {
        self.services.remove(service);
        self.changes.send_modify(count);
    }

    /// Told each time that a service has another route, or none.
    #[must_use]
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The route of `service`, whether or not calls can take it.
    #[must_use]
    pub(crate) fn get(&self, service: &Text) -> Option<Arc<Route>> {
        let mine = |copies: &Sharded<Arc<Route>>| Arc::clone(copies.mine());
        self.services.read(service, mine)
    }

    /// Every service has its route from here on; one without is unknown.
    pub(crate) fn set_complete(&self) {
        self.is_complete.store(true, Relaxed);
    }

    /// Whether the first deployments have ended.
    #[must_use]
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.load(Relaxed)
    }

    /// Why a service without a route may yet come; `None` once `set_complete` was called.
    #[must_use]
    pub(crate) fn starting(&self) -> Option<Error> {
        let message = "plugins are loading, try again";
        let error = || Error::unavailable(Blame::Gateway, message).with_retry(LOADING_RETRY);
        (!self.is_complete()).then(error)
    }

    /// The route for `call`.
    ///
    /// # Errors
    /// `not-found` for an unknown service (with the name that was probably meant), version or
    /// method; `unavailable` when nobody answers for the service at present, and for every service
    /// without a route until `set_complete`.
    pub(crate) fn find(&self, call: &Call) -> Result<Arc<Route>, RouteRefused> {
        let mine = |copies: &Sharded<Arc<Route>>| Arc::clone(copies.mine());
        let Some(route) = self.services.read(&call.service, mine) else {
            let starting = self.starting();
            let error = starting.unwrap_or_else(|| self.unknown_service(&call.service));
            return Err(RouteRefused { error, route: None });
        };
        match route.admit(call) {
            Ok(()) => Ok(route),
            Err(error) => Err(RouteRefused {
                error,
                route: Some(route),
            }),
        }
    }

    /// All routes by service name.
    #[must_use]
    pub(crate) fn all(&self) -> BTreeMap<Text, Arc<Route>> {
        let routes = self.services.all().into_iter();
        routes
            .map(|(name, copies)| (name, Arc::clone(copies.mine())))
            .collect()
    }

    fn unknown_service(&self, wanted: &str) -> Error {
        if wanted.is_empty() {
            return Error::not_found("the call names no service");
        }
        let shown = shorten(wanted);
        let names = self.services.names();
        Error::not_found(match nearest(wanted, names.iter().map(Text::as_str)) {
            Some(near) => format!("no service {shown}; did you mean {near}?"),
            None => format!("no service {shown}"),
        })
    }
}

/// A call that has no way, and the route that it would have taken.
#[derive(Debug)]
pub(crate) struct RouteRefused {
    pub error: Error,
    pub route: Option<Arc<Route>>,
}

impl Route {
    /// Whether one plugin of this gateway answers.
    pub(super) fn is_plugin(&self) -> bool {
        matches!(self.target, RouteTarget::Live(_)) && !self.plugin.is_empty()
    }

    /// Whose fault it is that no answer comes, or one that is too long: that of whom it leads to.
    #[must_use]
    pub(crate) fn blame(&self) -> Blame {
        match &self.target {
            // A service of the gateway itself has no plugin.
            RouteTarget::Live(_) if self.plugin.is_empty() => Blame::Gateway,
            RouteTarget::Live(_) => Blame::Guest,
            RouteTarget::Cluster(cluster) => cluster.blame(),
            RouteTarget::Down(_) | RouteTarget::Loading => Blame::Gateway,
        }
    }

    fn admit(&self, call: &Call) -> Result<(), Error> {
        if let RouteTarget::Down(reason) = &self.target {
            let message = format!("service {} has no live instance: {reason}", self.service);
            return Err(Error::unavailable(Blame::Gateway, message));
        }
        if matches!(self.target, RouteTarget::Loading) {
            let (service, plugin) = (&self.service, &self.plugin);
            let message = format!("service {service}: plugin {plugin} is loading, try again");
            let error = Error::unavailable(Blame::Gateway, message);
            return Err(error.with_retry(LOADING_RETRY));
        }
        // Among several instances the version is one of the things that an instance is picked by.
        let is_one = !matches!(self.target, RouteTarget::Cluster(_));
        if let Some(wanted) = &call.version
            && is_one
            && !self
                .version
                .as_ref()
                .is_some_and(|version| satisfies(version, wanted))
        {
            return Err(unknown_version(self, wanted));
        }
        // The method of a request that is handed on is one of HTTP.
        if let Some(methods) = &self.methods
            && !call.is_forwarded()
            && methods.binary_search(&call.method).is_err()
        {
            return Err(unknown_method(self, &call.method, methods));
        }
        Ok(())
    }
}

impl RouteTarget {
    /// Hands a call that the route has admitted on; what decides its way is noted in `trail`.
    ///
    /// # Errors
    /// `internal` where nobody answers, which the route has seen to.
    #[inline(always)]
    pub(super) fn call(
        &self,
        call: Call,
        decision_log: &DecisionLog,
    ) -> Result<BoxFuture<Result<Reply, Error>>, Error> {
        match self {
            Self::Live(handler) => Ok(handler.call(call)),
            Self::Cluster(cluster) => Ok(cluster.call(call, decision_log)),
            Self::Down(reason) => Err(Error::internal(format!(
                "a call was admitted that has no handler: {reason}"
            ))),
            Self::Loading => Err(Error::internal(
                "a call was admitted to a plugin that loads",
            )),
        }
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("service", &self.service)
            .field("plugin", &self.plugin)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

fn count(changes: &mut u64) {
    *changes = changes.wrapping_add(1);
}

/// Whether `version` is `wanted` or a refinement of it: 1.2.3 satisfies 1, 1.2 and 1.2.3.
fn satisfies(version: &str, wanted: &str) -> bool {
    version
        .strip_prefix(wanted)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn unknown_version(route: &Route, wanted: &str) -> Error {
    let (service, wanted) = (&route.service, shorten(wanted));
    Error::not_found(match &route.version {
        Some(version) => format!("service {service} has version {version}, not {wanted}"),
        None => format!("service {service} states no version, {wanted} was asked for"),
    })
}

fn unknown_method(route: &Route, wanted: &str, methods: &[Text]) -> Error {
    let shown = shorten(wanted);
    let service = &route.service;
    let names = methods.iter().map(Text::as_str);
    if let Some(near) = nearest(wanted, names.clone()) {
        let message = format!("service {service} has no method {shown}; did you mean {near}?");
        return Error::not_found(message);
    }
    let mut known = names.take(NAMED_MAX).collect::<Vec<_>>().join(", ");
    if methods.len() > NAMED_MAX {
        known.push_str(", ...");
    }
    Error::not_found(format!(
        "service {service} has no method {shown}; it has {known}"
    ))
}

/// A name as a peer sent it, short enough for a message.
fn shorten(name: &str) -> String {
    let mut shown: String = name.escape_debug().take(NAME_CHARS_MAX).collect();
    if name.chars().count() > NAME_CHARS_MAX {
        shown.push_str("...");
    }
    shown
}

/// When a plugin that is being deployed may be asked again: most are compiled in less, those of Python in ten
/// times that.
pub(crate) const LOADING_RETRY: Retry = Retry::After(Duration::from_secs(1));
/// Methods named in a message.
const NAMED_MAX: usize = 16;
/// Of a peer's name, shown back to it.
const NAME_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use postern_core::{BoxFuture, Kind, Reply};

    use super::*;
    use crate::telemetry::calls::CallBook;

    struct Silent;

    impl Handler for Silent {
        fn call(&self, _: Call) -> BoxFuture<Result<Reply, Error>> {
            Box::pin(async { Ok(Reply::one("")) })
        }
    }

    fn routes() -> Routes {
        let route = |service: &str, methods: Option<&[&str]>, target| Route {
            service: service.into(),
            version: Some("1.2.3".into()),
            plugin: service.into(),
            generation: 1,
            methods: methods.map(|names| names.iter().map(|name| Text::from(*name)).collect()),
            target,
            metrics: CallBook::default().service(&service.into()),
        };
        let routes = Routes::default();
        routes.set_complete();
        let methods = ["CreateUser", "GetUser"];
        routes.publish([
            route("users", Some(&methods), RouteTarget::Live(Arc::new(Silent))),
            route("echo", None, RouteTarget::Live(Arc::new(Silent))),
            route(
                "gone",
                None,
                RouteTarget::Down("its file was refused".into()),
            ),
            route("soon", None, RouteTarget::Loading),
        ]);
        routes
    }

    fn check(call: &Call, expected: Result<&str, (Kind, &str)>) {
        let found = routes().find(call);
        let found = found.as_ref().map(|route| route.plugin.as_str());
        let found = found.map_err(|refused| (refused.error.kind, &*refused.error.message));
        assert_eq!(found, expected);
    }

    fn call(service: &str, method: &str) -> Call {
        Call::unary(service, method, "")
    }

    #[test]
    fn finds_a_service_by_its_name() {
        check(&call("users", "GetUser"), Ok("users"));
        check(&call("echo", "whatever"), Ok("echo"));
    }

    #[test]
    fn names_the_service_that_was_probably_meant() {
        let message = "no service user; did you mean users?";
        check(&call("user", "GetUser"), Err((Kind::NotFound, message)));
        check(
            &call("payments", "Pay"),
            Err((Kind::NotFound, "no service payments")),
        );
        check(
            &call("", ""),
            Err((Kind::NotFound, "the call names no service")),
        );
    }

    #[test]
    fn knows_no_service_for_sure_before_all_are_deployed() {
        let error = Routes::default()
            .find(&call("users", "GetUser"))
            .expect_err("no route")
            .error;
        assert_eq!(error.kind, Kind::Unavailable);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn says_when_to_ask_a_plugin_again_that_is_loading() {
        let refused = routes().find(&call("soon", "x")).expect_err("not there");
        let error = refused.error;
        assert_eq!((error.kind, error.http()), (Kind::Unavailable, 503));
        assert_eq!(
            error.message,
            "service soon: plugin soon is loading, try again"
        );
        assert_eq!(error.retry_after(), Some(Duration::from_secs(1)));
    }

    #[test]
    fn names_the_methods_that_a_service_describes() {
        let message = "service users has no method GetUsr; did you mean GetUser?";
        check(&call("users", "GetUsr"), Err((Kind::NotFound, message)));
        let message = "service users has no method Drop; it has CreateUser, GetUser";
        check(&call("users", "Drop"), Err((Kind::NotFound, message)));
    }

    #[test]
    fn says_why_nobody_is_alive() {
        let message = "service gone has no live instance: its file was refused";
        check(&call("gone", "x"), Err((Kind::Unavailable, message)));
    }

    #[test]
    fn a_version_is_met_by_its_refinements_only() {
        let versioned = |version: &str| Call {
            version: Some(version.into()),
            ..call("echo", "x")
        };
        for wanted in ["1", "1.2", "1.2.3"] {
            check(&versioned(wanted), Ok("echo"));
        }
        let message = "service echo has version 1.2.3, not 1.20";
        check(&versioned("1.20"), Err((Kind::NotFound, message)));
        check(
            &versioned("2"),
            Err((Kind::NotFound, "service echo has version 1.2.3, not 2")),
        );
    }

    #[test]
    fn a_hostile_name_is_shown_short_and_harmless() {
        let name = format!("\n{}", "x".repeat(10_000));
        let error = routes().find(&call(&name, "")).expect_err("unknown").error;
        assert!(
            error.message.len() < 100 && !error.message.contains('\n'),
            "{}",
            error.message
        );
    }
}
