//! Registers, renews and deregisters, a round each interval: what the agent has forgotten is there again after
//! one. The agent may be away at any time; calls do not depend on it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use postern_core::Transport;
use postern_system::clock;
use tracing::{info, warn};

use super::{
    agent::{Agent, AgentError},
    registration::{Registration, Step, steps},
};
use crate::{
    app::gateway::Gateway,
    config::Consul,
    pipeline::route::{RouteTarget, Routes},
};

/// What is registered, and with whom.
struct Follower {
    gateway: Arc<Gateway>,
    routes: Arc<Routes>,
    /// By id.
    registered: BTreeMap<String, Registration>,
    /// The configuration that it was registered by.
    consul: Consul,
    /// When the agent is told or asked again.
    due: Instant,
    /// The last round failed; said once.
    is_away: bool,
    /// Somebody was told what velithon's client makes of the node's address.
    has_compared: bool,
}

/// Keeps services registered until the gateway leaves; then they are deregistered while calls are still taken.
pub(crate) async fn follow(gateway: Arc<Gateway>) {
    let mut follower = Follower::new(Arc::clone(&gateway));
    loop {
        follower.look().await;
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            () = gateway.leaving() => break,
        }
    }
    follower.end().await;
}

impl Follower {
    fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            routes: gateway.control().known_methods().routes,
            gateway,
            registered: BTreeMap::new(),
            consul: Consul::default(),
            due: clock::now(),
            is_away: false,
            has_compared: false,
        }
    }

    /// Does what is to be done.
    async fn look(&mut self) {
        let loaded = self.gateway.loaded();
        let consul = &loaded.config.consul;
        if *consul != self.consul {
            if consul.address != self.consul.address {
                self.end().await;
            }
            self.consul = consul.clone();
            self.due = clock::now();
            self.has_compared = false;
        }
        if self.consul.address.is_none() {
            return;
        }
        let wanted = self.wanted();
        let is_same = |one: &Registration| self.registered.get(&one.id) == Some(one);
        let is_as_wanted = wanted.len() == self.registered.len() && wanted.iter().all(is_same);
        let now = clock::now();
        // An agent that is away is asked at its times only.
        if now < self.due && (is_as_wanted || self.is_away) {
            return;
        }
        self.due = now + self.consul.check_interval;
        let outcome = self.apply(&wanted).await;
        match &outcome {
            Err(error) if !self.is_away => {
                warn!(%error, "services are not registered with Consul as they should be, it is tried again");
            }
            Ok(()) if self.is_away => info!("the agent of Consul answers again"),
            Ok(()) | Err(_) => {}
        }
        self.is_away = outcome.is_err();
    }

    /// The services of the configuration that somebody can answer for, at the listener's address.
    fn wanted(&self) -> Vec<Registration> {
        let Some((host, port)) = self.address() else {
            return Vec::new();
        };
        let is_answered = |service: &&String| {
            let route = self.routes.get(&service.as_str().into());
            route.is_some_and(|route| match route.target {
                RouteTarget::Live(_) | RouteTarget::Cluster(_) => true,
                RouteTarget::Down(_) | RouteTarget::Loading => false,
            })
        };
        let services = self.consul.services.iter();
        services
            .filter(is_answered)
            .map(|service| Registration::new(&self.consul, service, (&host, port)))
            .collect()
    }

    fn address(&self) -> Option<(String, u16)> {
        if let Some(advertised) = self.consul.advertised() {
            return Some(advertised);
        }
        let bound = self.gateway.bound_addresses();
        let mut bound = bound.get(self.consul.listener.as_ref()?)?.iter();
        let is_velithon =
            |transport| matches!(transport, Transport::Velithon | Transport::Velithons);
        let bound = bound.find(|bound| is_velithon(bound.transport))?;
        let address = bound.address.socket_addr()?;
        Some((address.ip().to_string(), address.port()))
    }

    async fn apply(&mut self, wanted: &[Registration]) -> Result<(), AgentError> {
        let agent = Agent::new(&self.consul, self.gateway.certificates().upstream())?;
        for step in steps(wanted, &self.registered) {
            match step {
                Step::Deregister { id } => self.deregister(&agent, &id).await?,
                Step::Register(registration) => self.register(&agent, registration).await?,
                Step::Renew(registration) => {
                    if !agent.renew(&registration).await? {
                        info!(
                            id = registration.id,
                            "the agent of Consul has forgotten a service"
                        );
                        self.register(&agent, registration).await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn register(
        &mut self,
        agent: &Agent,
        registration: Registration,
    ) -> Result<(), AgentError> {
        agent.register(&registration).await?;
        info!(id = registration.id, "registered with Consul");
        if !std::mem::replace(&mut self.has_compared, true) {
            compare_node(agent, registration.host()).await;
        }
        self.registered
            .insert(registration.id.clone(), registration);
        Ok(())
    }

    async fn deregister(&mut self, agent: &Agent, id: &str) -> Result<(), AgentError> {
        agent.deregister(id).await?;
        info!(id, "deregistered from Consul");
        self.registered.remove(id);
        Ok(())
    }

    /// Deregisters everything from the agent that it was registered with.
    async fn end(&mut self) {
        if self.registered.is_empty() {
            return;
        }
        if let Err(error) = self.apply(&[]).await {
            warn!(%error, "services stay registered with Consul until their checks fail");
        }
        self.registered.clear();
    }
}

/// Velithon's client connects to the address of the agent's node, whatever address the service has.
async fn compare_node(agent: &Agent, host: &str) {
    let node = agent.node_address().await;
    if let Some(node) = node.filter(|node| node != host) {
        warn!(
            node,
            host,
            "velithon's own client connects to the address of Consul's node, where this gateway does not listen: \
             register with an agent at the gateway's address"
        );
    }
}

/// How often it is looked whether services have come or gone, and whether the configuration is another.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
