//! What a key of a route cannot say alone: that it leads to one end, that its other keys are of that
//! end, and that no other route takes the same requests.

use std::collections::BTreeMap;

use postern_core::route::{HttpRoute, RouteTable};

use crate::config::{
    fault::suggest,
    route_words::BodyFormName,
    routes::{RouteFault, RouteSettings},
    section::{SectionReader, join},
    settings::{Config, Protocol},
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
    check_routes(&config.routes, RouteOwner::Configuration, reader);
}

/// Adds a fault for each contradiction in and among `routes`.
pub(crate) fn check_routes(
    routes: &BTreeMap<String, RouteSettings>,
    owner: RouteOwner,
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
            RouteOwner::Configuration | RouteOwner::Manifest => settings.to_route(name),
        };
        match checked.and_then(not_reserved) {
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

/// One end, and no keys of others.
fn check_ends(path: &str, settings: &RouteSettings, owner: RouteOwner, reader: &mut SectionReader) {
    let below = |prefix: &str| {
        let (key, table) = (join(path, prefix), format!("{}.", join(path, prefix)));
        let is_of = |place: &&String| **place == key || place.starts_with(&table);
        let mut places = reader.places.keys();
        places.find(is_of).cloned()
    };
    let ends = [
        (
            settings.service.is_some() || settings.method.is_some(),
            "method",
            &METHOD_KEYS[..],
        ),
        (settings.upstream.is_some(), "upstream", &UPSTREAM_KEYS[..]),
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
                let is_refused =
                    owner == RouteOwner::Manifest && ["upstream", "files"].contains(&end);
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
