//! A listener for clients of Redis, as they find it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use postern_core::{Handler, Principal, Text};

use super::front::RedisFront;
use crate::{
    config::{Auth, RedisSettings},
    mqtt::credentials::KnownCredentials,
    pipeline::{ListenerHandler, Pipeline},
};

/// One listener, for its clients.
pub(crate) struct RedisListener {
    pub(super) front: Arc<RedisFront>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) name: Text,
    pub(super) settings: ArcSwap<ListenerRules>,
}

/// What holds for the clients of a listener. Replaced whole with the configuration.
#[derive(Debug, Clone)]
pub(crate) struct ListenerRules {
    pub redis: RedisSettings,
    /// Answers `CALL` that names no service.
    pub default_service: Option<Text>,
    pub known: KnownCredentials,
}

impl RedisListener {
    #[must_use]
    pub(crate) fn new(
        front: Arc<RedisFront>,
        pipeline: &Arc<Pipeline>,
        name: &str,
        rules: ListenerRules,
    ) -> Self {
        let handler: ListenerHandler = pipeline.listener_handler(name);
        Self {
            front,
            pipeline: Arc::clone(pipeline),
            handler: Arc::new(handler),
            name: name.into(),
            settings: ArcSwap::from_pointee(rules),
        }
    }

    /// What holds from each client's next request on.
    pub(crate) fn apply(&self, rules: ListenerRules) {
        self.settings.store(Arc::new(rules));
    }
}

impl ListenerRules {
    #[must_use]
    pub(crate) fn new(auth: &Auth, redis: &RedisSettings, default_service: Option<&str>) -> Self {
        Self {
            redis: redis.clone(),
            default_service: default_service.map(Text::from),
            known: KnownCredentials::of(auth),
        }
    }

    /// Whether stores are for some only.
    pub(super) fn has_grants(&self) -> bool {
        !self.redis.roles.is_empty() || !self.redis.principals.is_empty()
    }

    /// Whether `principal` may use the stores.
    pub(super) fn grants(&self, principal: Option<&Principal>) -> bool {
        if !self.has_grants() {
            return true;
        }
        principal.is_some_and(|principal| {
            let has_role = |role: &String| principal.roles.iter().any(|has| has == role.as_str());
            let mut names = self.redis.principals.iter();
            self.redis.roles.iter().any(has_role) || names.any(|name| name.matches(&principal.name))
        })
    }
}
