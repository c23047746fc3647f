//! What a key of a route cannot say alone: that it leads to one end, that its other keys are of that
//! end, and that neither another route nor the listener itself takes the same requests.

use std::collections::BTreeMap;

use postern_core::route::{HttpRoute, RouteTable};

use crate::config::{
    fault::suggest,
    listener::Protocol,
    route_words::BodyFormName,
    routes::{RouteFault, RouteSettings},
    section::{SectionReader, join},
    settings::Config,
    websocket::WebSocketPath,
};

/// What a route may lead to, where it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteOwner {
    /// The operator: to anything.
    Configuration,
    /// A plugin: to its own services, redirects and fixed answers.
    Manifest,
}

pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    for (name, route) in &config.routes {
        check_listeners(name, route, config, reader);
    }
    check_routes(&config.routes, RouteOwner::Configuration, config, reader);
}

/// Adds a fault for each contradiction in and among `routes`, and with the listeners of `config`.
pub(crate) fn check_routes(
    routes: &BTreeMap<String, RouteSettings>,
    owner: RouteOwner,
    config: &Config,
    reader: &mut SectionReader,
) {
    let mut good = Vec::new();
    for (name, settings) in routes {
        let path = format!("routes.{name}");
        let n_faults = reader.faults.len();
        check_ends(&path, settings, owner, reader);
        if reader.faults.len() > n_faults {
            continue;
        }
        // Which service of a plugin is known when it is deployed.
        let placeholder = RouteSettings {
            service: settings.service.clone().or_else(|| Some(name.clone())),
            ..settings.clone()
        };
        let checked = match owner {
            RouteOwner::Manifest if settings.method.is_some() => placeholder.to_route(name),
            // To the component, if that answers requests.
            RouteOwner::Manifest if !settings.names_end() => RouteSettings {
                upstream: Some(name.clone()),
                ..settings.clone()
            }
            .to_route(name),
            RouteOwner::Configuration | RouteOwner::Manifest => settings.to_route(name),
        };
        let checked = checked.and_then(not_reserved);
        let checked = checked.and_then(|route| match hidden_route(&route, config) {
            Some(hidden) if settings.enabled => Err(hidden.into()),
            Some(_) | None => Ok(route),
        });
        match checked {
            Ok(route) if settings.enabled => good.push(route),
            Ok(_) => {}
            Err(fault) if fault.key.is_empty() || fault.key == "path" => {
                reader.fault_of_table(&path, fault.message, fault.remedy);
            }
            Err(fault) => {
                reader.fault_of_key(&join(&path, fault.key), fault.message, fault.remedy);
            }
        }
    }
    for conflict in RouteTable::new(good).conflicts() {
        // Told at both places.
        for (here, other) in [
            (&conflict.first, &conflict.second),
            (&conflict.second, &conflict.first),
        ] {
            let message =
                format!("takes the same requests as routes.{other}, for the same reasons");
            let remedy = "let hosts, path, methods, headers, query or listeners differ";
            reader.fault_of_key(&format!("routes.{here}.path"), message, remedy);
        }
    }
}

/// The listener's own paths are taken by no route.
fn not_reserved(route: HttpRoute) -> Result<HttpRoute, RouteFault> {
    match route.rule.path.begins_with(&["v1", "services"]) {
        false => Ok(route),
        true => {
            let message = "paths below /v1/services are served by every HTTP listener itself";
            Err(RouteFault::new("path", message, "choose another path"))
        }
    }
}

/// A path of a listener itself that a route would be asked for in vain.
pub(crate) struct HiddenRoute<'c> {
    pub listener: &'c str,
    /// As `websocket.paths` has it.
    pub path: WebSocketPath,
}

/// What of `config` has all requests for the path of a route, or some of them. A route whose first segment
/// is a parameter does not ask for that path: what the listener has of it is an exception.
pub(crate) fn hidden_route<'c>(route: &HttpRoute, config: &'c Config) -> Option<HiddenRoute<'c>> {
    let template = &route.rule.path;
    let path = if template.takes_below(&["vstp"], 0) {
        WebSocketPath::Sessions
    } else if template.takes_below(&["ws"], 2) {
        WebSocketPath::Calls
    } else if template.takes_below(&["mqtt"], 0) {
        WebSocketPath::Mqtt
    } else {
        return None;
    };
    let named = &route.rule.listeners;
    let mut listeners = config.listeners.iter().filter(|(name, listener)| {
        let is_asked = named.is_empty() || named.iter().any(|one| one.as_str() == name.as_str());
        listener.enabled && listener.protocol == Protocol::Http && is_asked
    });
    let (listener, _) = listeners.find(|(_, listener)| listener.websocket.paths.contains(&path))?;
    Some(HiddenRoute { listener, path })
}

impl HiddenRoute<'_> {
    /// What the listener serves.
    pub(crate) const fn served(&self) -> &'static str {
        match self.path {
            WebSocketPath::Sessions => "/vstp",
            WebSocketPath::Calls => "/ws/SERVICE/METHOD",
            WebSocketPath::Mqtt => "/mqtt",
        }
    }
}

impl From<HiddenRoute<'_>> for RouteFault {
    fn from(hidden: HiddenRoute<'_>) -> Self {
        let (listener, served) = (hidden.listener, hidden.served());
        let message = format!(
            "listeners.{listener} serves {served} over WebSocket itself, before it looks at routes"
        );
        let remedy = "choose another path, or leave that one out of websocket.paths there";
        Self::new("path", message, remedy)
    }
}

/// One end, and no keys of others.
fn check_ends(path: &str, settings: &RouteSettings, owner: RouteOwner, reader: &mut SectionReader) {
    let below = |prefix: &str| {
        let (key, table) = (join(path, prefix), format!("{}.", join(path, prefix)));
        let is_of = |place: &&String| **place == key || place.starts_with(&table);
        let mut places = reader.places.keys();
        places.find(is_of).cloned()
    };
    let is_to_component = owner == RouteOwner::Manifest && !settings.names_end();
    let ends = [
        (
            settings.service.is_some() || settings.method.is_some(),
            "method",
            &METHOD_KEYS[..],
        ),
        (
            settings.upstream.is_some() || is_to_component,
            "upstream",
            &UPSTREAM_KEYS[..],
        ),
        (
            settings.redirect.to.is_some(),
            "redirect",
            &["redirect"][..],
        ),
        (settings.fixed.status.is_some(), "fixed", &["fixed"][..]),
        (settings.files.folder.is_some(), "files", &["files"][..]),
    ];
    let mut faults = Vec::new();
    let mut named = None;
    for (is_there, end, keys) in ends {
        let written = keys.iter().find_map(|key| below(key));
        match (is_there, named, written) {
            (true, Some(other), Some(key)) => {
                faults.push((
                    key,
                    format!("it leads to {other} already"),
                    "remove one of the two",
                ));
            }
            (true, None, Some(key)) => {
                let is_refused = owner == RouteOwner::Manifest
                    && !is_to_component
                    && ["upstream", "files"].contains(&end);
                if is_refused {
                    let message = format!("a manifest leads to no {end}; the configuration may");
                    faults.push((key, message, "write it in [routes.NAME] of postern.toml"));
                }
                named = Some(end);
            }
            (false, _, Some(key)) => {
                let message = format!("only a route that leads to {end} has this key");
                faults.push((key, message, "remove it, or say where the route leads"));
            }
            (_, _, None) => {}
        }
    }
    if let (Some(_), Some(_)) = (&settings.strip_prefix, &settings.rewrite_path) {
        let message = "strip-prefix already says what path is asked for".to_owned();
        faults.push((join(path, "rewrite-path"), message, "remove one of the two"));
    }
    if settings.validate && settings.body == BodyFormName::Raw {
        let message = "a body that goes on as it is is compared with nothing".to_owned();
        let remedy = "write body = \"json\" or \"form\", or remove validate";
        faults.push((join(path, "validate"), message, remedy));
    }
    for (key, message, remedy) in faults {
        reader.fault_of_key(&key, message, remedy);
    }
}

/// A route of a listener that nobody opens, or that speaks something else, takes nothing.
fn check_listeners(name: &str, route: &RouteSettings, config: &Config, reader: &mut SectionReader) {
    let http = config.listeners.iter();
    let http = http.filter(|(_, listener)| listener.protocol == Protocol::Http);
    let known: Vec<_> = http.map(|(name, _)| name.as_str()).collect();
    let unknown = route
        .listeners
        .iter()
        .find(|name| !known.contains(&name.as_str()));
    if let Some(unknown) = unknown {
        let remedy = match suggest(unknown, &known) {
            Some(similar) => format!("did you mean {similar:?}?"),
            None => format!("known here: {}", known.join(", ")),
        };
        let message = format!("no listener that speaks HTTP is called {unknown:?}");
        reader.fault_of_key(&format!("routes.{name}.listeners"), message, remedy);
    }
}

const METHOD_KEYS: [&str; 7] = [
    "service", "method", "version", "types", "body", "produces", "validate",
];
const UPSTREAM_KEYS: [&str; 4] = ["upstream", "strip-prefix", "rewrite-path", "rewrite-host"];
