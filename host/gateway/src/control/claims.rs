//! Which plugin holds which service and which routes. A service has one holder; the first to claim it
//! stays until it gives it up. The same holds for requests over HTTP that nothing parts.

use std::collections::{BTreeMap, BTreeSet};

use postern_core::route::{HttpRoute, RouteTable};

/// Services and routes, and their holders.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    holders: BTreeMap<String, String>,
    routes: BTreeMap<String, Vec<HttpRoute>>,
}

/// Why a claim fails.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Taken {
    #[error(
        "service {service} is held by plugin {holder}; rename it in the manifest, or remove {holder}"
    )]
    Service { service: String, holder: String },
    #[error(
        "route {route} takes the same requests as route {other}; let path, methods or hosts differ"
    )]
    Route { route: String, other: String },
}

impl Claims {
    /// `plugin` holds exactly `services` and `routes` from here on, or what it held before when one of
    /// them is another's. `configured` are the routes that no plugin holds.
    pub(crate) fn replace(
        &mut self,
        plugin: &str,
        services: &BTreeSet<String>,
        routes: &[HttpRoute],
        configured: impl Iterator<Item = HttpRoute>,
    ) -> Result<(), Taken> {
        let holder =
            |service: &String| self.holders.get(service).filter(|holder| *holder != plugin);
        if let Some((service, holder)) = services.iter().find_map(|s| Some((s, holder(s)?))) {
            return Err(Taken::Service {
                service: service.clone(),
                holder: holder.clone(),
            });
        }
        self.check_routes(plugin, routes, configured)?;
        self.release(plugin);
        self.holders.extend(
            services
                .iter()
                .map(|service| (service.clone(), plugin.to_owned())),
        );
        if !routes.is_empty() {
            self.routes.insert(plugin.to_owned(), routes.to_vec());
        }
        Ok(())
    }

    fn check_routes(
        &self,
        plugin: &str,
        routes: &[HttpRoute],
        configured: impl Iterator<Item = HttpRoute>,
    ) -> Result<(), Taken> {
        if routes.is_empty() {
            return Ok(());
        }
        let others = self.routes.iter().filter(|(name, _)| *name != plugin);
        let others = others.flat_map(|(_, routes)| routes.iter().cloned());
        let all = configured.chain(others).chain(routes.iter().cloned());
        let is_own = |name: &str| routes.iter().any(|route| *route.name == *name);
        let conflicts = RouteTable::new(all).conflicts();
        let mut own = conflicts.iter().filter_map(|conflict| {
            let (first, second) = (conflict.first.as_str(), conflict.second.as_str());
            match (is_own(first), is_own(second)) {
                (false, false) => None,
                (true, _) => Some((first, second)),
                (false, true) => Some((second, first)),
            }
        });
        own.next().map_or(Ok(()), |(route, other)| {
            Err(Taken::Route {
                route: route.to_owned(),
                other: other.to_owned(),
            })
        })
    }

    /// Whether a plugin other than `plugin` holds `service`.
    pub(crate) fn is_held_by_other(&self, plugin: &str, service: &str) -> bool {
        self.holders
            .get(service)
            .is_some_and(|holder| holder != plugin)
    }

    /// `plugin` holds nothing from here on.
    pub(crate) fn release(&mut self, plugin: &str) {
        self.holders.retain(|_, holder| holder != plugin);
        self.routes.remove(plugin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn claim(claims: &mut Claims, plugin: &str, services: &[&str]) -> Result<(), Taken> {
        claims.replace(plugin, &names(services), &[], std::iter::empty())
    }

    #[test]
    fn the_later_claim_fails_and_names_the_holder() {
        let mut claims = Claims::default();
        claim(&mut claims, "users", &["users", "accounts"]).expect("free");
        let taken = claim(&mut claims, "other", &["other", "accounts"]).expect_err("taken");
        let expected = Taken::Service {
            service: "accounts".to_owned(),
            holder: "users".to_owned(),
        };
        assert_eq!(taken, expected);
        claim(&mut claims, "third", &["other"]).expect("a failed claim takes nothing");
    }

    #[test]
    fn a_plugin_may_change_what_it_holds() {
        let mut claims = Claims::default();
        claim(&mut claims, "users", &["users", "accounts"]).expect("free");
        claim(&mut claims, "users", &["users"]).expect("its own");
        claim(&mut claims, "other", &["accounts"]).expect("given up");
    }

    #[test]
    fn a_released_service_is_free() {
        let mut claims = Claims::default();
        claim(&mut claims, "users", &["users"]).expect("free");
        claims.release("users");
        claim(&mut claims, "other", &["users"]).expect("released");
    }

    #[test]
    fn the_later_of_two_with_one_route_fails_and_names_the_other() {
        let route = |name: &str, path: &str| {
            let text = format!("[routes.a]\npath = \"{path}\"\nfixed = {{ status = 204 }}\n");
            let (config, _) = crate::config::parse("x", &text, &BTreeMap::new()).expect("good");
            let made = config.routes["a"].to_route(name);
            made.expect("a route")
        };
        let mut claims = Claims::default();
        let mut claim = |plugin: &str, path: &str, configured: &[HttpRoute]| {
            let routes = [route(&format!("{plugin}.a"), path)];
            claims.replace(plugin, &names(&[]), &routes, configured.iter().cloned())
        };
        let taken = |route: &str, other: &str| {
            Err(Taken::Route {
                route: route.to_owned(),
                other: other.to_owned(),
            })
        };
        claim("one", "/a", &[]).expect("free");
        claim("one", "/a", &[]).expect("its own");
        assert_eq!(claim("two", "/a", &[]), taken("two.a", "one.a"));
        assert_eq!(
            claim("two", "/b", &[route("mine", "/b")]),
            taken("two.a", "mine")
        );
        claim("two", "/b", &[]).expect("free");
        claim("one", "/c", &[]).expect("another");
        claim("two", "/a", &[]).expect("given up");
        assert_eq!(Config::default().routes.len(), 0);
    }
}
