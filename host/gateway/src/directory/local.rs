//! What this gateway's plugins and its configuration answer for.

use std::collections::{BTreeMap, BTreeSet};

use postern_core::{
    Text,
    registry::{
        Address, Draft, Entry, Owner, ToldEntry, Version, directory::Replaced,
        entry::WEIGHT_DEFAULT,
    },
    service::MethodInfo,
};
use tracing::warn;

use super::{PeerNote, SharedDirectory, State};
use crate::config::{Config, DirectorySettings};

/// One service of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LocalService {
    pub name: Text,
    /// A semantic version; one that is none is left out and told in the log.
    pub version: Option<Text>,
    /// One sentence for people; may be empty.
    pub summary: Text,
    /// `None` where the plugin does not describe itself.
    pub methods: Option<Vec<MethodInfo>>,
    /// Share of calls beside other instances. Default 100.
    pub weight: u32,
    pub metadata: BTreeMap<Text, Text>,
}

/// What a configuration changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Of the configured instances.
    pub instances: Replaced,
    /// Keys of `[directory]` that differ and are taken at the next start only.
    pub at_next_start: Vec<&'static str>,
}

impl LocalService {
    /// A service of which nothing but the name is known.
    #[must_use]
    pub(crate) fn new(name: impl Into<Text>) -> Self {
        Self {
            name: name.into(),
            version: None,
            summary: Text::default(),
            methods: None,
            weight: WEIGHT_DEFAULT,
            metadata: BTreeMap::new(),
        }
    }
}

impl SharedDirectory {
    /// Makes `services` all that `plugin` answers for, when one of its generations goes active. An
    /// instance is called like the plugin, with the service behind it where that is another name.
    pub(crate) fn set_local(&self, plugin: &str, services: Vec<LocalService>) -> Replaced {
        let settings = self.settings();
        let plugin = Text::from(plugin);
        self.change(|state, now| {
            state.locals.insert(plugin.clone(), services);
            state.publish_plugin(now, &plugin, &settings)
        })
    }

    /// The plugin answers for nothing any more; how many entries went.
    pub(crate) fn remove_local(&self, plugin: &str) -> usize {
        let plugin = Text::from(plugin);
        self.change(|state, _| {
            state.locals.remove(&plugin);
            state.machine.forget(&Owner::Local(plugin))
        })
    }

    /// Where this gateway's VSTP and HTTP listeners are, one address per scheme: others reach its
    /// plugins there. The key `advertise` goes before. A host may be unspecified: whoever learns it
    /// takes the host by which it reaches this gateway.
    pub(crate) fn set_addresses(&self, addresses: Vec<Address>) {
        let settings = self.settings();
        self.change(|state, now| {
            state.addresses = addresses;
            state.publish_plugins(now, &settings);
        });
    }

    /// Takes what a configuration says: instances and peers, and all of `[directory]` but the
    /// bounds and thresholds that `Applied::at_next_start` names.
    pub(crate) fn apply(&self, config: &Config) -> Applied {
        let settings = &config.directory;
        let at_next_start = differing(&self.built_with, settings);
        self.settings.store(settings.clone().into());
        let entries = config.instances.iter().filter_map(|(name, instance)| {
            let entry = instance.entry(name);
            // A checked configuration has entries only.
            let entry = entry.inspect_err(|error| warn!(instance = %name, %error, "no entry"));
            entry.ok()
        });
        let entries: Vec<_> = entries.collect();
        let enabled = config.peers.iter().filter(|(_, peer)| peer.enabled);
        let peers: BTreeMap<Text, _> = enabled
            .map(|(name, peer)| (Text::from(name.as_str()), peer.clone()))
            .collect();
        let instances = self.change(|state, now| {
            let replaced = state.replace(now, &Owner::Config, entries);
            let known: BTreeSet<Text> = state.peers.keys().cloned().collect();
            for name in known.iter().filter(|name| !peers.contains_key(*name)) {
                state.peers.remove(name);
                state.machine.forget(&Owner::Peer(name.clone()));
            }
            for (name, peer) in &peers {
                let note = state.peers.entry(name.clone());
                note.or_insert_with(PeerNote::default).address = peer.address.clone();
            }
            state.publish_plugins(now, settings);
            replaced
        });
        self.followed.send_if_modified(|followed| {
            let differs = *followed != peers;
            *followed = peers;
            differs
        });
        Applied {
            instances,
            at_next_start,
        }
    }
}

impl State {
    fn publish_plugins(&mut self, now: std::time::Instant, settings: &DirectorySettings) {
        let plugins: Vec<Text> = self.locals.keys().cloned().collect();
        for plugin in plugins {
            self.publish_plugin(now, &plugin, settings);
        }
    }

    fn publish_plugin(
        &mut self,
        now: std::time::Instant,
        plugin: &Text,
        settings: &DirectorySettings,
    ) -> Replaced {
        let addresses = if settings.advertise.is_empty() {
            &self.addresses
        } else {
            &settings.advertise
        };
        let services = self.locals.get(plugin).into_iter().flatten();
        let entries = services.filter_map(|service| {
            let draft = Draft {
                incarnation: self.life,
                ..draft_of(plugin, service, settings, addresses)
            };
            // What an entry has no room for, or what no entry may hold, is told by this gateway only.
            let entry = Entry::new(&draft).or_else(|_| Entry::new(&bare(draft)));
            let (service, told) = (&service.name, "a service cannot be in the directory");
            let entry = entry.inspect_err(|error| warn!(%plugin, %service, %error, "{told}"));
            entry.ok()
        });
        let entries = entries.collect();
        self.replace(now, &Owner::Local(plugin.clone()), entries)
    }

    /// Makes `entries` all that an owner without leases has.
    fn replace(&mut self, now: std::time::Instant, owner: &Owner, entries: Vec<Entry>) -> Replaced {
        let told = entries.into_iter().map(|entry| ToldEntry {
            entry: self.drains.adapt(owner, entry),
            ttl: None,
        });
        let told = told.collect();
        let replaced = self.machine.replace_all_of(now, owner, told);
        for (instance, error) in &replaced.refused {
            warn!(%owner, %instance, %error, "not taken into the directory");
        }
        replaced
    }
}

/// Without what is for people only.
fn bare(draft: Draft) -> Draft {
    let methods = draft.methods.as_ref();
    Draft {
        summary: Text::default(),
        methods: methods.map(|methods| methods.iter().map(MethodInfo::bare).collect()),
        ..draft
    }
}

fn draft_of(
    plugin: &Text,
    service: &LocalService,
    settings: &DirectorySettings,
    addresses: &[Address],
) -> Draft {
    let gateway = settings.name.as_deref().map(|name| format!("{name}/"));
    let gateway = gateway.unwrap_or_default();
    let instance = if *plugin == service.name {
        format!("{gateway}{plugin}")
    } else {
        format!("{gateway}{plugin}/{}", service.name)
    };
    let version = service.version.as_ref().and_then(|text| {
        let version = Version::parse(text);
        let version = version.inspect_err(|error| warn!(%plugin, %error, "version is left out"));
        version.ok()
    });
    Draft {
        version,
        addresses: addresses.to_vec(),
        vnets: settings
            .vnets
            .iter()
            .map(|vnet| vnet.as_str().into())
            .collect(),
        weight: service.weight,
        zone: settings.zone.as_deref().map(Text::from),
        metadata: service.metadata.clone(),
        summary: service.summary.clone(),
        methods: service.methods.clone(),
        ..Draft::new(instance, service.name.clone())
    }
}

/// Keys whose new values need a start: the pure machine is built with them.
fn differing(old: &DirectorySettings, new: &DirectorySettings) -> Vec<&'static str> {
    let (a, b) = (old.to_core(), new.to_core());
    let differs = [
        ("entries-max", a.entries_max != b.entries_max),
        ("entries-reserved", a.entries_reserved != b.entries_reserved),
        (
            "entries-per-owner-max",
            a.entries_per_owner_max != b.entries_per_owner_max,
        ),
        (
            "entries-per-peer-max",
            a.entries_per_peer_max != b.entries_per_peer_max,
        ),
        ("history-max", a.history_max != b.history_max),
        ("peer-grace", a.peer_grace != b.peer_grace),
        ("peer-sync", a.peer_sync != b.peer_sync),
        ("panic-percent", a.panic_percent != b.panic_percent),
        (
            "failure-threshold",
            a.health.failure_threshold != b.health.failure_threshold,
        ),
        (
            "recovery-threshold",
            a.health.recovery_threshold != b.health.recovery_threshold,
        ),
        ("flap-window", a.health.flap_window != b.health.flap_window),
        ("hold", a.health.hold != b.health.hold),
        ("hold-max", a.health.hold_max != b.health.hold_max),
        ("watchers-max", old.watchers_max != new.watchers_max),
    ];
    let differs = differs.into_iter().filter(|(_, differs)| *differs);
    differs.map(|(key, _)| key).collect()
}
