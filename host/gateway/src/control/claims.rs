//! Which plugin holds which service. A service has one holder; the first to claim it stays until it
//! gives it up.

use std::collections::{BTreeMap, BTreeSet};

/// Services and their holders.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    holders: BTreeMap<String, String>,
}

/// Why a claim fails.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "service {service} is held by plugin {holder}; rename it in the manifest, or remove {holder}"
)]
pub(crate) struct Taken {
    pub service: String,
    pub holder: String,
}

impl Claims {
    /// `plugin` holds exactly `services` from here on, or what it held before when one of them is
    /// another's.
    pub(crate) fn replace(
        &mut self,
        plugin: &str,
        services: &BTreeSet<String>,
    ) -> Result<(), Taken> {
        let holder =
            |service: &String| self.holders.get(service).filter(|holder| *holder != plugin);
        if let Some((service, holder)) = services.iter().find_map(|s| Some((s, holder(s)?))) {
            return Err(Taken {
                service: service.clone(),
                holder: holder.clone(),
            });
        }
        self.release(plugin);
        self.holders.extend(
            services
                .iter()
                .map(|service| (service.clone(), plugin.to_owned())),
        );
        Ok(())
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_later_claim_fails_and_names_the_holder() {
        let mut claims = Claims::default();
        claims
            .replace("users", &names(&["users", "accounts"]))
            .expect("free");
        let taken = claims
            .replace("other", &names(&["other", "accounts"]))
            .expect_err("taken");
        assert_eq!(
            (taken.service.as_str(), taken.holder.as_str()),
            ("accounts", "users")
        );
        claims
            .replace("third", &names(&["other"]))
            .expect("a failed claim takes nothing");
    }

    #[test]
    fn a_plugin_may_change_what_it_holds() {
        let mut claims = Claims::default();
        claims
            .replace("users", &names(&["users", "accounts"]))
            .expect("free");
        claims
            .replace("users", &names(&["users"]))
            .expect("its own");
        claims
            .replace("other", &names(&["accounts"]))
            .expect("given up");
    }

    #[test]
    fn a_released_service_is_free() {
        let mut claims = Claims::default();
        claims.replace("users", &names(&["users"])).expect("free");
        claims.release("users");
        claims
            .replace("other", &names(&["users"]))
            .expect("released");
    }
}
