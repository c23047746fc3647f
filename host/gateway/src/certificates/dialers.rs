//! What those are shown and verified by whom this gateway dials, each by its table in the configuration:
//! `upstream-tls`, `bridges.NAME.tls`, `stores.NAME.tls`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use postern_net::tls::{ClientTls, ClientTlsSettings, TlsError};

use super::{
    UPSTREAM,
    files::{CertificatesError, FileContents, client_settings, read_all},
};
use crate::config::{Config, tls::UpstreamTls};

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Dialers(BTreeMap<String, Dialer>);

#[derive(Debug, Clone)]
struct Dialer {
    settings: UpstreamTls,
    tls: Arc<ClientTls>,
}

/// Dialers that can be put in force, and what those that stay are to be given.
#[derive(Debug)]
pub(super) struct PreparedDialers {
    dialers: Dialers,
    replaced: Vec<(Arc<ClientTls>, ClientTlsSettings)>,
}

/// The table of a bridge's TLS.
pub(crate) fn bridge_table(bridge: &str) -> String {
    format!("bridges.{bridge}.tls")
}

/// The table of a store's TLS.
pub(crate) fn store_table(store: &str) -> String {
    format!("stores.{store}.tls")
}

/// Every file that they are read from.
pub(super) fn files_of(config: &Config) -> BTreeSet<PathBuf> {
    let wanted = wanted(config).into_values();
    wanted.flat_map(|settings| settings.files()).collect()
}

fn wanted(config: &Config) -> BTreeMap<String, UpstreamTls> {
    let bridges = config.bridges.iter();
    let bridges = bridges.map(|(name, bridge)| (bridge_table(name), bridge.tls.to_upstream()));
    let stores = config.stores.iter();
    let stores = stores.map(|(name, store)| (store_table(name), store.tls.clone()));
    let upstream = (UPSTREAM.to_owned(), config.upstream_tls.clone());
    bridges.chain(stores).chain([upstream]).collect()
}

impl Dialers {
    /// That of `upstream-tls` alone, as it is by default.
    pub(super) fn new(upstream: Arc<ClientTls>) -> Self {
        let dialer = Dialer {
            settings: UpstreamTls::default(),
            tls: upstream,
        };
        Self([(UPSTREAM.to_owned(), dialer)].into())
    }

    pub(super) fn of(&self, table: &str) -> Option<Arc<ClientTls>> {
        self.0.get(table).map(|dialer| Arc::clone(&dialer.tls))
    }

    /// Makes ready what `config` wants, of files as they are `known`; adds what it reads to `files`.
    ///
    /// # Errors
    /// What cannot be read or used.
    pub(super) fn prepare(
        &self,
        config: &Config,
        known: &FileContents,
        files: &mut FileContents,
    ) -> Result<PreparedDialers, CertificatesError> {
        let (mut dialers, mut replaced) = (BTreeMap::new(), Vec::new());
        for (table, settings) in wanted(config) {
            read_all(&table, &settings.files(), known, files)?;
            let before = self.0.get(&table);
            if let Some(before) = before.filter(|before| before.settings == settings) {
                dialers.insert(table, before.clone());
                continue;
            }
            let wanted = client_settings(&settings, files);
            let made = ClientTls::new(wanted.clone());
            let made = made.map_err(|source| CertificatesError::Unusable {
                table: table.clone(),
                source,
            })?;
            let tls = match before {
                Some(before) => {
                    replaced.push((Arc::clone(&before.tls), wanted));
                    Arc::clone(&before.tls)
                }
                None => Arc::new(made),
            };
            dialers.insert(table, Dialer { settings, tls });
        }
        let dialers = Self(dialers);
        Ok(PreparedDialers { dialers, replaced })
    }

    /// What leads from `prepared` back to these.
    pub(super) fn undo(&self, prepared: &PreparedDialers, files: &FileContents) -> PreparedDialers {
        let is_other = |(table, dialer): &(&String, &Dialer)| {
            let after = prepared.dialers.0.get(*table);
            after.is_some_and(|after| after.settings != dialer.settings)
        };
        let replaced = self.0.iter().filter(is_other);
        let replaced = replaced.map(|(_, dialer)| {
            let settings = client_settings(&dialer.settings, files);
            (Arc::clone(&dialer.tls), settings)
        });
        PreparedDialers {
            dialers: self.clone(),
            replaced: replaced.collect(),
        }
    }

    /// Whether a table says the same in `prepared`; none where it is no dialer's.
    pub(super) fn is_same(&self, table: &str, prepared: &PreparedDialers) -> Option<bool> {
        let before = self.0.get(table)?;
        let after = prepared.dialers.0.get(table);
        Some(after.is_some_and(|after| after.settings == before.settings))
    }

    /// Puts in force what `files` say for those whose files `are_named`, with what came of it.
    pub(super) fn take_changes(
        &self,
        are_named: impl Fn(&BTreeSet<PathBuf>) -> bool,
        files: &FileContents,
    ) -> Vec<(String, Result<(), TlsError>)> {
        let named = self.0.iter();
        let named = named.filter(|(_, dialer)| are_named(&dialer.settings.files()));
        let outcomes = named.map(|(table, dialer)| {
            let settings = client_settings(&dialer.settings, files);
            (table.clone(), dialer.tls.replace(settings))
        });
        outcomes.collect()
    }
}

impl PreparedDialers {
    /// Puts in force what was made of the same settings a moment ago, so that nothing can fail.
    pub(super) fn apply(self) -> Dialers {
        for (tls, settings) in self.replaced {
            let _ = tls.replace(settings);
        }
        self.dialers
    }
}
