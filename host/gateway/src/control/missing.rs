//! What the configuration or the plugin folder asks for and a gateway serves without. `run` says it
//! in its log and goes on, so that one bad plugin takes no other one away; `check` refuses it.

use std::collections::{BTreeMap, BTreeSet};

use super::{Control, PluginView};
use crate::{
    config::{
        Config, RegistrationMode,
        services::{BalancerName, Service},
    },
    plugins::folder,
};

/// One thing that is asked for and not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Missing {
    /// A key of the configuration, `plugin NAME` or `route NAME`.
    pub subject: String,
    pub reason: String,
}

impl Control {
    /// Everything that is asked for and not there, once the folder has been deployed. Reads the
    /// folder.
    #[must_use]
    pub(crate) fn missing(&self) -> Vec<Missing> {
        let config = self.config.load();
        let all = self.plugins().into_iter();
        let mut plugins: BTreeMap<String, PluginView> =
            all.map(|plugin| (plugin.name.clone(), plugin)).collect();
        // A plugin may have no file but those of its versions.
        let stable = plugins
            .values()
            .filter(|plugin| plugin.version.place == "stable");
        let stable: Vec<_> = stable.cloned().collect();
        for plugin in stable {
            plugins
                .entry(plugin.version.plugin.clone())
                .or_insert(plugin);
        }
        let found = Found {
            config: &config,
            plugins: &plugins,
            services: self.routes().keys().map(ToString::to_string).collect(),
        };
        let mut missing = found.plugins();
        missing.extend(found.extensions());
        missing.extend(found.balancers(&self.hinted_balancers()));
        missing.extend(found.services());
        missing.extend(self.shadowed_routes());
        missing
    }

    /// Routes of which others take all requests.
    fn shadowed_routes(&self) -> Vec<Missing> {
        let in_force = self.fleet.http_routes().load();
        let conflicts = in_force.table.conflicts().into_iter();
        let shadowed = conflicts.map(|conflict| {
            let subject = format!("route {}", conflict.second);
            let reason = format!(
                "it takes the same requests as route {}, which has them; let path, methods or hosts differ",
                conflict.first
            );
            missing(&subject, reason)
        });
        shadowed.collect()
    }

    /// Balancers that manifests name, by `plugin NAME`.
    fn hinted_balancers(&self) -> Vec<(String, BalancerName)> {
        let slots = self.slots.lock();
        let hinted = slots.values().filter_map(|slot| {
            let current = slot.shown().current?;
            let balancer = current.written.hints.balancer?;
            Some((format!("plugin {}: policy.balancer", slot.name), balancer))
        });
        hinted.collect()
    }
}

/// What is there.
struct Found<'a> {
    config: &'a Config,
    plugins: &'a BTreeMap<String, PluginView>,
    services: BTreeSet<String>,
}

impl Found<'_> {
    /// Files in the folder that are not in service as they are.
    fn plugins(&self) -> Vec<Missing> {
        let folder = &self.config.plugins.folder;
        let names = match folder::names(folder) {
            Ok(names) => names,
            Err(error) => {
                let reason = format!("cannot read {}: {error}", folder.display());
                return vec![missing("plugins.folder", reason)];
            }
        };
        let refused = self.plugins.values().filter_map(|plugin| {
            let refusal = plugin.refusal.as_ref()?;
            let subject = format!("plugin {}", plugin.name);
            Some(missing(&subject, refusal.reason.clone()))
        });
        let unread = names
            .iter()
            .filter(|name| !self.plugins.contains_key(*name));
        let unread = unread.filter_map(|name| {
            let error = folder::read(folder, name).err()?;
            Some(missing(&format!("plugin {name}"), error.to_string()))
        });
        refused.chain(unread).collect()
    }

    fn extensions(&self) -> Vec<Missing> {
        let enabled = self.config.extensions.iter();
        let enabled = enabled.filter(|(_, extension)| extension.enabled);
        let without = enabled.filter_map(|(name, _)| {
            let reason = self.lack_of(name, &EXTENSION_ROLES)?;
            Some(missing(&format!("extensions.{name}"), reason))
        });
        without.collect()
    }

    fn balancers(&self, hinted: &[(String, BalancerName)]) -> Vec<Missing> {
        let configured = self.policies(|service| &service.balancer);
        let configured = configured.into_iter().map(|(name, service)| {
            let key = format!("services.{name}.balancer");
            (key, service.balancer.clone())
        });
        let named = configured.chain(hinted.iter().cloned());
        let lacking = named.filter_map(|(key, balancer)| match balancer {
            BalancerName::Native(_) => None,
            BalancerName::Plugin(plugin) => {
                Some(missing(&key, self.lack_of(&plugin, &["balancer"])?))
            }
        });
        lacking.collect()
    }

    /// Services that are named and that nobody can come to answer for: what peers and providers
    /// bring is not known before they do.
    fn services(&self) -> Vec<Missing> {
        let config = self.config;
        let is_open = config.peers.values().any(|peer| peer.enabled)
            || config.directory.registration != RegistrationMode::Off;
        if is_open {
            return Vec::new();
        }
        let policies = self.policies(|service| &service.fallback.service);
        let fallbacks = policies.into_iter().filter_map(|(name, service)| {
            let key = format!("services.{name}.fallback.service");
            Some((key, service.fallback.service.clone()?))
        });
        let listeners = config.listeners.iter();
        let listeners = listeners.filter(|(_, listener)| listener.enabled);
        let defaults = listeners.filter_map(|(name, listener)| {
            let key = format!("listeners.{name}.default-service");
            Some((key, listener.default_service.clone()?))
        });
        let named = fallbacks.chain(defaults);
        let unknown = named.filter(|(_, service)| !self.services.contains(service));
        unknown
            .map(|(key, service)| missing(&key, format!("nobody answers for service {service}")))
            .collect()
    }

    /// The default policy, and those of services that differ from it in `part`.
    fn policies<T: PartialEq>(&self, part: impl Fn(&Service) -> &T) -> Vec<(&str, &Service)> {
        let services = &self.config.services;
        let default = &services.default;
        let own = services.own();
        let own = own.filter(|(_, service)| part(service) != part(default));
        std::iter::once(("default", default)).chain(own).collect()
    }

    /// Why the plugin `name` does not do what one of `roles` does; `None` where it does, and where
    /// its refusal has been told.
    fn lack_of(&self, name: &str, roles: &[&str]) -> Option<String> {
        let Some(plugin) = self.plugins.get(name) else {
            return Some(format!("there is no plugin {name}"));
        };
        let is_known = plugin.refusal.is_some() && plugin.roles.is_empty();
        let has_role = plugin.roles.iter().any(|role| roles.contains(role));
        if is_known || has_role {
            return None;
        }
        let (has, wanted) = (plugin.roles.join(", "), roles.join(", "));
        Some(format!("plugin {name} has {has}, and not {wanted}"))
    }
}

fn missing(subject: &str, reason: String) -> Missing {
    Missing {
        subject: subject.to_owned(),
        reason,
    }
}

/// Roles that stand in the way of calls or frames.
const EXTENSION_ROLES: [&str; 5] = [
    "authenticator",
    "authorizer",
    "request-interceptor",
    "response-interceptor",
    "frame-extension",
];
