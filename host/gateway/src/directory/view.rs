//! The directory as operators see it: numbers for metrics, and everything for the admin views.

use serde::Serialize;

use postern_core::registry::{Health, Owner};
use postern_system::clock::now;

use super::{
    SharedDirectory, State,
    batch::CursorText,
    listing::{Listing, millis},
};

/// Counters since the start, and gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Numbers {
    /// Entries of plugins.
    pub plugins: usize,
    /// Entries of the configuration.
    pub configured: usize,
    /// Entries of remote providers.
    pub registered: usize,
    /// Entries that peers told.
    pub learned: usize,
    pub services: usize,
    /// Entries that go by time: those of providers, and those of lost peers.
    pub leases: usize,
    /// Instances that operators drained.
    pub drained: usize,
    pub peers: usize,
    pub peers_connected: usize,
    pub watchers: usize,
    pub added: u64,
    pub changed: u64,
    pub removed: u64,
    pub renewed: u64,
    /// Entries that went by time; counted in `removed` too.
    pub expired: u64,
    pub refused: u64,
}

/// Everything.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct View {
    pub cursor: String,
    pub services: Vec<ServiceView>,
    pub peers: Vec<PeerView>,
    pub numbers: Numbers,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ServiceView {
    pub service: String,
    /// Too few instances are up, so that all are used.
    pub panic: bool,
    /// Instances that a call may go to at present.
    pub usable: usize,
    pub instances: Vec<InstanceView>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct InstanceView {
    /// "plugin users", "configuration", "provider principal:NAME", "peer west".
    pub owner: String,
    pub health: &'static str,
    pub stale: bool,
    pub drained: bool,
    /// Until it goes without a heartbeat, or with its lost peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_ms: Option<u64>,
    #[serde(flatten)]
    pub entry: Listing,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PeerView {
    pub name: String,
    pub address: Option<String>,
    pub connected: bool,
    /// Since it was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost_for_ms: Option<u64>,
    pub entries: usize,
    /// Why it is not connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl SharedDirectory {
    #[must_use]
    pub(crate) fn numbers(&self) -> Numbers {
        let n_watchers = self.built_with.watchers_max;
        let watchers = n_watchers.saturating_sub(self.watchers.available_permits());
        let state = self.state.lock();
        Numbers {
            watchers,
            ..state.numbers()
        }
    }

    #[must_use]
    pub(crate) fn view(&self) -> View {
        let numbers = self.numbers();
        let snapshot = self.snapshot();
        let state = self.state.lock();
        let services = snapshot.services().map(|service| ServiceView {
            service: service.name().to_string(),
            panic: service.is_in_panic(),
            usable: service.usable().len(),
            instances: (service.all().iter())
                .map(|instance| state.instance_view(instance))
                .collect(),
        });
        View {
            cursor: CursorText(state.machine.cursor()).to_string(),
            services: services.collect(),
            peers: state.peer_views(),
            numbers,
        }
    }
}

impl State {
    fn numbers(&self) -> Numbers {
        let stats = self.machine.stats();
        let mut numbers = Numbers {
            services: stats.services,
            leases: stats.leases,
            drained: self.drains.len(),
            peers: self.peers.len(),
            added: stats.added,
            changed: stats.changed,
            removed: stats.removed,
            renewed: stats.renewed,
            expired: stats.expired,
            refused: stats.refused,
            ..Numbers::default()
        };
        let is_connected = |name| {
            self.machine
                .peer(name)
                .is_some_and(|peer| peer.is_connected)
        };
        numbers.peers_connected = self.peers.keys().filter(|name| is_connected(name)).count();
        for record in self
            .machine
            .watch_snapshot(&super::drains::everything())
            .records
        {
            *match record.key.owner {
                Owner::Local(_) => &mut numbers.plugins,
                Owner::Config => &mut numbers.configured,
                Owner::Registered(_) => &mut numbers.registered,
                Owner::Peer(_) => &mut numbers.learned,
            } += 1;
        }
        numbers
    }

    fn instance_view(&self, instance: &postern_core::registry::ServiceInstance) -> InstanceView {
        let record = &instance.record;
        let lease = self.machine.lease(&record.key);
        let expires = lease.and_then(|lease| lease.expires);
        InstanceView {
            owner: record.key.owner.to_string(),
            health: match instance.health {
                Health::Up => "up",
                Health::Down => "down",
            },
            stale: instance.stale,
            drained: self.drains.contains(&record.key.instance),
            expires_in_ms: expires.map(|at| millis(at.saturating_duration_since(now()))),
            entry: Listing::of(&self.drains.written(record), record.ttl),
        }
    }

    fn peer_views(&self) -> Vec<PeerView> {
        let view = |(name, note): (&postern_core::Text, &super::PeerNote)| {
            let state = self.machine.peer(name);
            let lost_at = state.and_then(|state| state.lost_at);
            PeerView {
                name: name.to_string(),
                address: note.address.as_ref().map(ToString::to_string),
                connected: state.is_some_and(|state| state.is_connected),
                lost_for_ms: lost_at.map(|at| millis(now().saturating_duration_since(at))),
                entries: state.map_or(0, |state| state.n_entries),
                error: note.error.clone(),
            }
        };
        self.peers.iter().map(view).collect()
    }
}
