//! Routes of a plugin that answers requests of HTTP itself: those of its manifest that name no end, or,
//! where it names no route at all, everything below its name.

use std::{borrow::Cow, collections::BTreeMap};

use postern_core::service::ServiceInfo;

use crate::config::{routes::RouteSettings, web_routes};

/// The routes of a manifest by name.
pub(super) type ManifestRoutes = BTreeMap<String, RouteSettings>;

/// `routes` with an end each. Whether the component answers requests is not known before it is compiled
/// (`None`).
///
/// # Errors
/// A route without an end, of a component that answers no requests.
pub(super) fn with_ends<'r>(
    plugin: &str,
    routes: &'r ManifestRoutes,
    services: &[ServiceInfo],
    answers_requests: Option<bool>,
) -> Result<Cow<'r, ManifestRoutes>, String> {
    let routes = match (routes.is_empty(), answers_requests) {
        (true, Some(true)) => Cow::Owned(web_routes::of_name(plugin)?),
        (true, _) => return Ok(Cow::Borrowed(routes)),
        (false, _) => Cow::Borrowed(routes),
    };
    let without = |routes: &ManifestRoutes| {
        let mut open = routes.iter().filter(|(_, route)| !route.names_end());
        open.next().map(|(name, _)| name.clone())
    };
    let Some(name) = without(&routes) else {
        return Ok(routes);
    };
    if answers_requests == Some(false) {
        return Err(format!(
            "manifest: routes.{name}: nothing says where it leads, and the component answers no requests \
             itself; add method = \"...\", redirect.to or fixed.status"
        ));
    }
    let service = services
        .first()
        .map_or(plugin, |service| service.name.as_str());
    let mut routes = routes.into_owned();
    for route in routes.values_mut().filter(|route| !route.names_end()) {
        route.upstream = Some(service.to_owned());
    }
    Ok(Cow::Owned(routes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Manifest};

    fn ends(text: &str, answers_requests: Option<bool>) -> Result<Vec<String>, String> {
        let manifest = Manifest::parse("shop.toml", text, &Config::default()).expect("valid");
        let services = [ServiceInfo {
            name: "orders".into(),
            ..ServiceInfo::default()
        }];
        let routes = with_ends("shop", &manifest.routes, &services, answers_requests)?;
        let told = routes.iter().map(|(name, route)| {
            let end = route.upstream.as_deref().or(route.method.as_deref());
            format!("{name} {}", end.unwrap_or_default())
        });
        Ok(told.collect())
    }

    #[test]
    fn a_route_without_an_end_leads_to_a_component_that_answers_requests() {
        let text = "[routes.a]\npath = \"/a\"\n[routes.b]\npath = \"/b\"\nmethod = \"Get\"\n";
        let expected = ["a orders".to_owned(), "b Get".to_owned()];
        assert_eq!(ends(text, Some(true)).expect("valid"), expected);
        assert_eq!(ends(text, None).expect("valid"), expected);
        let refused = ends(text, Some(false)).expect_err("to nothing");
        assert!(
            refused.starts_with("manifest: routes.a: nothing says"),
            "{refused}"
        );
    }

    #[test]
    fn a_component_without_routes_has_its_name_where_it_answers_requests() {
        let expected = ["name-1 orders".to_owned(), "name-2 orders".to_owned()];
        assert_eq!(ends("", Some(true)).expect("a path"), expected);
        for other in [Some(false), None] {
            assert!(ends("", other).expect("none").is_empty());
        }
    }
}
