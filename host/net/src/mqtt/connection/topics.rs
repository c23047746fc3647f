//! The topics that a client publishes to, with what was found out of them.

use std::sync::Arc;

use postern_core::mqtt::{MqttNameError, Reason, SYS_PREFIX, TopicName};

use crate::mqtt::{
    MqttBackend, MqttClient,
    routes::{Route, Routes},
};

/// The last few topics, the most recent first.
#[derive(Debug, Default)]
pub(super) struct Topics(Vec<KnownTopic>);

#[derive(Debug)]
pub(super) struct KnownTopic {
    pub(super) name: TopicName,
    pub(super) allowed: Result<(), Reason>,
    pub(super) route: Arc<Route>,
    rules_version: u64,
}

impl Topics {
    /// What is known of `name`, as the rules and the subscriptions are.
    #[inline]
    pub(super) fn find(
        &mut self,
        name: &str,
        backend: &dyn MqttBackend,
        client: &MqttClient,
        routes: &Routes,
    ) -> Result<&KnownTopic, MqttNameError> {
        match self
            .0
            .iter()
            .position(|known| known.name.name.as_str() == name)
        {
            Some(0) => {}
            Some(idx) => self.0.swap(0, idx),
            None => {
                let known = KnownTopic::new(TopicName::new(name)?, backend, client, routes);
                self.0.truncate(TOPICS_MAX - 1);
                self.0.insert(0, known);
            }
        }
        // There is one by now.
        let known = self.0.first_mut().ok_or(MqttNameError::Empty)?;
        if known.rules_version != backend.rules_version() {
            *known = KnownTopic::new(known.name.clone(), backend, client, routes);
        }
        if !known.route.is_current(routes) {
            known.route = Arc::new(routes.route(name));
        }
        Ok(known)
    }
}

impl KnownTopic {
    fn new(
        name: TopicName,
        backend: &dyn MqttBackend,
        client: &MqttClient,
        routes: &Routes,
    ) -> Self {
        // Before the rules are asked: a change between the two makes them be asked once more.
        let rules_version = backend.rules_version();
        let allowed = match name.name.starts_with(SYS_PREFIX) {
            true => Err(Reason::NOT_AUTHORIZED),
            false => backend.may_publish(client, &name),
        };
        Self {
            route: Arc::new(routes.route(&name.name)),
            name,
            allowed,
            rules_version,
        }
    }
}

/// Devices publish to a handful of topics.
const TOPICS_MAX: usize = 8;
