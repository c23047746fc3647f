//! Certificates, keys, authorities and lists of revocations: read from files, followed, and replaced
//! under listeners and dialers while they are in use.
//!
//! ```text
//! file changes ─▶ on_version ─▶ good: in force for connections that come after
//!                     └ not good: what was good before stays in force, and the readiness says so
//! configuration changes ─▶ prepare (refused, or) ─▶ apply
//! ```
//! A certificate and its key are two files, and one is written before the other: what does not fit
//! together is kept and tried again with each file that changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_net::tls::{
    CertificateInfo, ClientCertificates, ClientTls, ClientTlsSettings, KeyPair, Pem, ServerTls,
    ServerTlsSettings, TlsError, Trust, alpn,
};
use postern_system::clock;
use tracing::info;

use crate::{
    config::{
        Config, Protocol,
        tls::{ClientCertificateMode, ListenerTls, UpstreamTls},
    },
    readiness::{Readiness, ReasonKind},
    sources::{
        files::{FILE_BYTES_MAX, FileVersion},
        sight::{self, ReadError},
    },
};

/// What listeners show and what dialers are shown. Each part is named by its table in the
/// configuration: `listeners.http.tls`, `admin.tls`, `upstream-tls`.
pub(crate) struct Certificates {
    held: Mutex<Held>,
    upstream: Arc<ClientTls>,
}

struct Held {
    /// What each file said last, whether it is of use or not, by its absolute path.
    files: FileContents,
    listeners: BTreeMap<String, Shown>,
    upstream: UpstreamTls,
    /// Tables whose files cannot be used, with the reason.
    faults: BTreeMap<String, String>,
}

type FileContents = BTreeMap<PathBuf, Bytes>;

/// A listener with TLS.
#[derive(Clone)]
struct Shown {
    settings: ListenerTls,
    protocols: &'static [&'static str],
    tls: Arc<ServerTls>,
}

/// A change of the configuration that can be put in force.
pub(crate) struct PreparedCertificates {
    files: FileContents,
    listeners: BTreeMap<String, Shown>,
    /// What listeners that stay show from here on.
    replaced: Vec<(Arc<ServerTls>, ServerTlsSettings)>,
    upstream: UpstreamTls,
    upstream_settings: Option<ClientTlsSettings>,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificatesError {
    #[error("{table}: {source}")]
    File { table: String, source: ReadError },
    #[error("{table}: {} is not there", path.display())]
    Absent { table: String, path: PathBuf },
    #[error("{table}: {source}")]
    Unusable { table: String, source: TlsError },
}

/// A certificate and the table that names it.
#[derive(Debug, Clone)]
pub(crate) struct ShownCertificate {
    pub table: String,
    pub info: CertificateInfo,
}

/// Every file that the TLS of a configuration is read from.
pub(crate) fn files_of(config: &Config) -> BTreeSet<PathBuf> {
    let listeners = wanted(config).flat_map(|(_, tls, _)| tls.files());
    listeners.chain(config.upstream_tls.files()).collect()
}

/// The TLS of somebody who dials and does not serve. Reads what `settings` names; blocks.
///
/// # Errors
/// What cannot be read or used.
pub(crate) fn client(settings: &UpstreamTls) -> Result<ClientTls, CertificatesError> {
    let mut files = BTreeMap::new();
    read_all(UPSTREAM, &settings.files(), &BTreeMap::new(), &mut files)?;
    let made = ClientTls::new(client_settings(settings, &files));
    made.map_err(|source| CertificatesError::Unusable {
        table: UPSTREAM.to_owned(),
        source,
    })
}

impl Certificates {
    /// Reads what `config` names. Blocks.
    ///
    /// # Errors
    /// What cannot be read or used, with the table that names it.
    pub(crate) fn open(config: &Config) -> Result<Self, CertificatesError> {
        let empty = Self {
            held: Mutex::new(Held {
                files: BTreeMap::new(),
                listeners: BTreeMap::new(),
                upstream: UpstreamTls::default(),
                faults: BTreeMap::new(),
            }),
            upstream: Arc::default(),
        };
        let prepared = empty.prepare(config)?;
        drop(empty.apply(prepared));
        Ok(empty)
    }

    /// Makes ready what `config` wants. A file that was read before counts as it was: it may be half
    /// written at this moment, and what it becomes is told. Blocks.
    ///
    /// # Errors
    /// As `open`; nothing has changed.
    pub(crate) fn prepare(
        &self,
        config: &Config,
    ) -> Result<PreparedCertificates, CertificatesError> {
        let held = self.held.lock();
        let mut files = BTreeMap::new();
        let (mut listeners, mut replaced) = (BTreeMap::new(), Vec::new());
        for (table, settings, protocols) in wanted(config) {
            read_all(&table, &settings.files(), &held.files, &mut files)?;
            let before = held.listeners.get(&table);
            let before = before.filter(|shown| shown.protocols == protocols);
            if let Some(before) = before.filter(|shown| shown.settings == *settings) {
                listeners.insert(table, before.clone());
                continue;
            }
            let unusable = |source| CertificatesError::Unusable {
                table: table.clone(),
                source,
            };
            let wanted = server_settings(settings, &files);
            let made = ServerTls::new(wanted.clone(), protocols).map_err(unusable)?;
            let tls = match before {
                Some(before) => {
                    replaced.push((Arc::clone(&before.tls), wanted));
                    Arc::clone(&before.tls)
                }
                None => Arc::new(made),
            };
            let shown = Shown {
                settings: settings.clone(),
                protocols,
                tls,
            };
            listeners.insert(table, shown);
        }
        let upstream = config.upstream_tls.clone();
        read_all(UPSTREAM, &upstream.files(), &held.files, &mut files)?;
        let upstream_settings =
            (upstream != held.upstream).then(|| client_settings(&upstream, &files));
        if let Some(settings) = &upstream_settings {
            let made = ClientTls::new(settings.clone());
            made.map_err(|source| CertificatesError::Unusable {
                table: UPSTREAM.to_owned(),
                source,
            })?;
        }
        Ok(PreparedCertificates {
            files,
            listeners,
            replaced,
            upstream,
            upstream_settings,
        })
    }

    /// Puts in force what was made ready; gives what undoes it.
    pub(crate) fn apply(&self, prepared: PreparedCertificates) -> PreparedCertificates {
        let mut held = self.held.lock();
        let undo = held.undo(&prepared);
        held.forget_faults(&prepared);
        // They were made of the same settings a moment ago, so neither can fail.
        for (tls, settings) in prepared.replaced {
            let _ = tls.replace(settings);
        }
        if let Some(settings) = prepared.upstream_settings {
            let _ = self.upstream.replace(settings);
        }
        held.files = prepared.files;
        held.listeners = prepared.listeners;
        held.upstream = prepared.upstream;
        undo
    }

    /// What the listener of `table` shows; none where it is plain.
    pub(crate) fn of(&self, table: &str) -> Option<Arc<ServerTls>> {
        let held = self.held.lock();
        held.listeners
            .get(table)
            .map(|shown| Arc::clone(&shown.tls))
    }

    /// What those who are dialled are shown and verified by.
    pub(crate) const fn upstream(&self) -> &Arc<ClientTls> {
        &self.upstream
    }

    /// Files whose changes matter.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        self.held.lock().files.keys().cloned().collect()
    }

    /// Takes over what a file says.
    pub(crate) fn on_version(&self, version: &FileVersion, readiness: &Readiness) {
        {
            let mut held = self.held.lock();
            let Some(content) = held.files.get_mut(&version.path) else {
                return;
            };
            *content = version.bytes.clone().into();
            held.take_changes(&version.path, &self.upstream);
        }
        self.tell(readiness);
    }

    /// Tells what cannot be used, and what expires within `EXPIRY_WARNING`.
    pub(crate) fn tell(&self, readiness: &Readiness) {
        let mut reasons: BTreeMap<_, _> = self.expiring().into_iter().collect();
        let held = self.held.lock();
        let faults = held.faults.iter().map(|(table, reason)| {
            let message = format!("{reason}; what was good before stays in force");
            (table.clone(), message)
        });
        reasons.extend(faults);
        readiness.replace(ReasonKind::Certificate, reasons);
    }

    /// Certificates that expire within `EXPIRY_WARNING` or have expired, by their files, each with
    /// what is to be said of it.
    pub(crate) fn expiring(&self) -> Vec<(String, String)> {
        let now = unix_seconds();
        let warned = now.saturating_add_unsigned(EXPIRY_WARNING.as_secs());
        let shown = self.shown().into_iter();
        let soon = shown.filter(|shown| shown.info.not_after <= warned);
        soon.map(|shown| {
            let left = shown.info.not_after - now;
            let message = match u64::try_from(left) {
                Ok(left) => format!("it expires in {}", days(left)),
                Err(_) => format!("it expired {} ago", days(left.unsigned_abs())),
            };
            (shown.info.name, message)
        })
        .collect()
    }

    /// What all listeners show at present, by their tables.
    pub(crate) fn shown(&self) -> Vec<ShownCertificate> {
        let held = self.held.lock();
        let shown = held.listeners.iter().flat_map(|(table, shown)| {
            let certificates = shown.tls.certificates().into_iter();
            certificates.map(|info| ShownCertificate {
                table: table.clone(),
                info,
            })
        });
        shown.collect()
    }

    /// Looks at the calendar for ever.
    pub(crate) async fn follow_expiry(&self, readiness: &Readiness) {
        loop {
            self.tell(readiness);
            tokio::time::sleep(EXPIRY_INTERVAL).await;
        }
    }
}

impl Held {
    /// What leads from `prepared` back to this.
    fn undo(&self, prepared: &PreparedCertificates) -> PreparedCertificates {
        let is_other = |(table, shown): &(&String, &Shown)| {
            let after = prepared.listeners.get(*table);
            after.is_some_and(|after| after.settings != shown.settings)
        };
        let replaced = self.listeners.iter().filter(is_other).map(|(_, shown)| {
            let settings = server_settings(&shown.settings, &self.files);
            (Arc::clone(&shown.tls), settings)
        });
        let is_same_upstream = self.upstream == prepared.upstream;
        PreparedCertificates {
            files: self.files.clone(),
            listeners: self.listeners.clone(),
            replaced: replaced.collect(),
            upstream: self.upstream.clone(),
            upstream_settings: (!is_same_upstream)
                .then(|| client_settings(&self.upstream, &self.files)),
        }
    }

    /// What was wrong with tables that `prepared` changes is wrong no more.
    fn forget_faults(&mut self, prepared: &PreparedCertificates) {
        let Self {
            faults,
            listeners,
            upstream,
            ..
        } = self;
        faults.retain(|table, _| {
            let before = listeners.get(table).map(|shown| &shown.settings);
            let after = prepared.listeners.get(table).map(|shown| &shown.settings);
            match table.as_str() {
                UPSTREAM => *upstream == prepared.upstream,
                _ => before.is_some() && before == after,
            }
        });
    }

    fn take_changes(&mut self, path: &Path, upstream: &ClientTls) {
        let names = |files: &BTreeSet<PathBuf>| files.iter().any(|file| absolute(file) == path);
        let mut outcomes = Vec::new();
        for (table, shown) in &self.listeners {
            if names(&shown.settings.files()) {
                let settings = server_settings(&shown.settings, &self.files);
                outcomes.push((table.clone(), shown.tls.replace(settings)));
            }
        }
        if names(&self.upstream.files()) {
            let settings = client_settings(&self.upstream, &self.files);
            outcomes.push((UPSTREAM.to_owned(), upstream.replace(settings)));
        }
        for (table, outcome) in outcomes {
            match outcome {
                Ok(()) => {
                    info!(table, file = %path.display(), "certificates are in force");
                    self.faults.remove(&table);
                }
                Err(error) => drop(self.faults.insert(table, error.to_string())),
            }
        }
    }
}

/// Listeners with TLS, by their tables, with what they speak.
fn wanted(
    config: &Config,
) -> impl Iterator<Item = (String, &ListenerTls, &'static [&'static str])> {
    let listeners = config
        .listeners
        .iter()
        .filter(|(_, listener)| listener.enabled);
    let listeners = listeners.map(|(name, listener)| {
        let protocols = match listener.protocol {
            Protocol::Http => &alpn::HTTP[..],
            Protocol::Vstp => &[alpn::VSTP],
        };
        (table_of(name), &listener.tls, protocols)
    });
    let admin = config.admin.enabled.then_some(&config.admin.tls);
    let admin = admin.map(|tls| (ADMIN.to_owned(), tls, &alpn::HTTP[..]));
    listeners.chain(admin).filter(|(_, tls, _)| tls.is_on())
}

/// The table of a listener's TLS.
pub(crate) fn table_of(listener: &str) -> String {
    format!("listeners.{listener}.tls")
}

/// Adds what `paths` hold to `files`, from `known` where that is known.
fn read_all(
    table: &str,
    paths: &BTreeSet<PathBuf>,
    known: &FileContents,
    files: &mut FileContents,
) -> Result<(), CertificatesError> {
    for path in paths {
        let path = absolute(path);
        let content = match known.get(&path) {
            Some(content) => content.clone(),
            None => read(table, &path)?,
        };
        files.insert(path, content);
    }
    Ok(())
}

fn read(table: &str, path: &Path) -> Result<Bytes, CertificatesError> {
    let content = sight::read(path, FILE_BYTES_MAX);
    let content = content.map_err(|source| CertificatesError::File {
        table: table.to_owned(),
        source,
    })?;
    content
        .map(Bytes::from)
        .ok_or_else(|| CertificatesError::Absent {
            table: table.to_owned(),
            path: path.to_owned(),
        })
}

fn server_settings(settings: &ListenerTls, files: &FileContents) -> ServerTlsSettings {
    let trust = Trust {
        authorities: pems(&settings.client_ca_files, files),
        revocations: pems(&settings.client_crl_files, files),
    };
    ServerTlsSettings {
        pairs: settings
            .pairs()
            .map(|(certificate, key)| pair(certificate, key, files))
            .collect(),
        clients: match settings.client_certificates {
            ClientCertificateMode::Off => ClientCertificates::Off,
            ClientCertificateMode::Optional => ClientCertificates::Optional(trust),
            ClientCertificateMode::Required => ClientCertificates::Required(trust),
        },
        version_min: settings.version_min.into(),
        resumption: settings.resumption,
    }
}

fn client_settings(settings: &UpstreamTls, files: &FileContents) -> ClientTlsSettings {
    let named = settings
        .certificate_file
        .as_ref()
        .zip(settings.key_file.as_ref());
    let authorities = pems(&settings.ca_files, files);
    ClientTlsSettings {
        authorities: (!authorities.is_empty()).then_some(authorities),
        pair: named.map(|(certificate, key)| pair(certificate, key, files)),
        version_min: settings.version_min.into(),
    }
}

fn pair(certificate: &Path, key: &Path, files: &FileContents) -> KeyPair {
    KeyPair {
        certificate: pem(certificate, files),
        key: pem(key, files),
    }
}

fn pems(paths: &[PathBuf], files: &FileContents) -> Vec<Pem> {
    paths.iter().map(|path| pem(path, files)).collect()
}

/// Every file of a table is read before this.
fn pem(path: &Path, files: &FileContents) -> Pem {
    let content = files.get(&absolute(path)).cloned().unwrap_or_default();
    Pem::new(path.display().to_string(), content)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn days(seconds: u64) -> String {
    match seconds / DAY {
        1 => "1 day".to_owned(),
        0 => format!("{} hours", seconds / 3600),
        days => format!("{days} days"),
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds() -> i64 {
    let since = clock::wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

const DAY: u64 = 24 * 3600;
/// How long before it expires a certificate is told of.
const EXPIRY_WARNING: Duration = Duration::from_secs(14 * DAY);
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);
/// The table of the admin listener's TLS.
pub(crate) const ADMIN: &str = "admin.tls";
const UPSTREAM: &str = "upstream-tls";
