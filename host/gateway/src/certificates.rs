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

mod dialers;
mod files;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_net::tls::{
    CertificateInfo, ChallengeAnswers, ClientTls, ServerTls, ServerTlsSettings,
};
use postern_system::clock;
use tracing::info;

use self::{
    dialers::{Dialers, PreparedDialers},
    files::{FileContents, IssuedFile, absolute, client_settings, read_all, server_settings},
    wanted::{WantedTls, authority_of, wanted},
};
pub(crate) use self::{
    dialers::{bridge_table, store_table},
    files::CertificatesError,
    wanted::table_of,
};
use crate::{
    acme::{AcmeStatus, Answers, AuthorityFolder},
    config::{
        Config,
        tls::{ListenerTls, UpstreamTls},
    },
    readiness::{Readiness, ReasonKind},
    sources::files::FileVersion,
};

/// What listeners show and what dialers are shown. Each part is named by its table in the
/// configuration: `listeners.http.tls`, `admin.tls`, `upstream-tls`.
pub(crate) struct Certificates {
    held: Mutex<Held>,
    /// Of `upstream-tls`, which every configuration has.
    upstream: Arc<ClientTls>,
    /// What authorities are answered that issue certificates.
    answers: Arc<Answers>,
    acme: AcmeStatus,
}

struct Held {
    /// What each file said last, whether it is of use or not, by its absolute path.
    files: FileContents,
    listeners: BTreeMap<String, Shown>,
    dialers: Dialers,
    authority: Option<AuthorityFolder>,
    /// Tables whose files cannot be used, with the reason.
    faults: BTreeMap<String, String>,
}

/// A listener with TLS.
#[derive(Clone)]
struct Shown {
    settings: ListenerTls,
    issued: Vec<IssuedFile>,
    protocols: &'static [&'static str],
    tls: Arc<ServerTls>,
}

/// A change of the configuration that can be put in force.
pub(crate) struct PreparedCertificates {
    files: FileContents,
    listeners: BTreeMap<String, Shown>,
    /// What listeners that stay show from here on.
    replaced: Vec<(Arc<ServerTls>, ServerTlsSettings)>,
    dialers: PreparedDialers,
    /// Of the authority that issues certificates; none where no listener has a name for it.
    authority: Option<AuthorityFolder>,
}

/// A certificate and the table that names it.
#[derive(Debug, Clone)]
pub(crate) struct ShownCertificate {
    pub table: String,
    pub info: CertificateInfo,
}

/// Every file that the TLS of a configuration is read from.
pub(crate) fn files_of(config: &Config) -> BTreeSet<PathBuf> {
    let listeners = wanted(config).flat_map(|wanted| wanted.settings.files());
    let authorities = config.acme.ca_files.iter().cloned();
    let files = listeners.chain(dialers::files_of(config));
    files.chain(authorities).collect()
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
        let upstream = Arc::<ClientTls>::default();
        let empty = Self {
            held: Mutex::new(Held {
                files: BTreeMap::new(),
                listeners: BTreeMap::new(),
                dialers: Dialers::new(Arc::clone(&upstream)),
                authority: None,
                faults: BTreeMap::new(),
            }),
            upstream,
            answers: Arc::default(),
            acme: AcmeStatus::default(),
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
        for wanted in wanted(config) {
            let (table, shown, other) = self.prepare_listener(wanted, &held, &mut files)?;
            replaced.extend(other.map(|settings| (Arc::clone(&shown.tls), settings)));
            listeners.insert(table, shown);
        }
        let authority = authority_of(config)?;
        let dialers = held.dialers.prepare(config, &held.files, &mut files)?;
        Ok(PreparedCertificates {
            files,
            listeners,
            replaced,
            dialers,
            authority,
        })
    }

    /// What the listener shows, and what is to be put in force for that where it serves already.
    fn prepare_listener(
        &self,
        wanted: WantedTls<'_>,
        held: &Held,
        files: &mut FileContents,
    ) -> Result<(String, Shown, Option<ServerTlsSettings>), CertificatesError> {
        let WantedTls {
            table,
            settings,
            issued,
            protocols,
        } = wanted;
        read_all(&table, &settings.files(), &held.files, files)?;
        for issued in &issued {
            issued.read(&held.files, files);
        }
        let before = held.listeners.get(&table);
        let before = before.filter(|shown| shown.protocols == protocols);
        if let Some(before) = before.filter(|shown| shown.shows(settings, &issued)) {
            return Ok((table, before.clone(), None));
        }
        let wanted = server_settings(settings, &issued, files);
        let made = ServerTls::new(wanted.clone(), protocols);
        let made = made.map_err(|source| CertificatesError::Unusable {
            table: table.clone(),
            source,
        })?;
        let answers = Arc::clone(&self.answers) as Arc<dyn ChallengeAnswers>;
        let (tls, other) = match before {
            Some(before) => (Arc::clone(&before.tls), Some(wanted)),
            None => (Arc::new(made.with_answers(answers)), None),
        };
        let shown = Shown {
            settings: settings.clone(),
            issued,
            protocols,
            tls,
        };
        Ok((table, shown, other))
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
        held.dialers = prepared.dialers.apply();
        self.answers.set_folder(prepared.authority.clone());
        held.files = prepared.files;
        held.listeners = prepared.listeners;
        held.authority = prepared.authority;
        undo
    }

    /// What authorities are answered that issue certificates.
    pub(crate) fn answers(&self) -> Arc<dyn ChallengeAnswers> {
        Arc::clone(&self.answers) as Arc<dyn ChallengeAnswers>
    }

    /// How it stands with certificates that an authority issues.
    pub(crate) const fn acme(&self) -> &AcmeStatus {
        &self.acme
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

    /// What whoever the configuration's table `table` dials is shown and verified by.
    pub(crate) fn dialer(&self, table: &str) -> Option<Arc<ClientTls>> {
        self.held.lock().dialers.of(table)
    }

    /// Files whose changes matter, without those of `issued_files`.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        let held = self.held.lock();
        let issued = held.issued_files();
        let files = held.files.keys();
        files
            .filter(|path| !issued.contains(*path))
            .cloned()
            .collect()
    }

    /// Files of certificates that an authority issues. They may come to be at any time.
    pub(crate) fn issued_files(&self) -> BTreeSet<PathBuf> {
        self.held.lock().issued_files()
    }

    /// Takes over what a file says.
    pub(crate) fn on_version(&self, version: &FileVersion, readiness: &Readiness) {
        {
            let mut held = self.held.lock();
            let content = Bytes::from(version.bytes.clone());
            if !held.takes(&version.path, &content) {
                return;
            }
            held.files.insert(version.path.clone(), content);
            held.take_changes(&version.path);
            if held.issued_files().contains(&version.path) {
                // Another gateway may have ordered it.
                self.acme.on_changed();
            }
        }
        self.tell(readiness);
    }

    /// Tells what cannot be used, and what expires within `EXPIRY_WARNING`.
    pub(crate) fn tell(&self, readiness: &Readiness) {
        let mut reasons: BTreeMap<_, _> = self.expiring().into_iter().collect();
        let (standings, now) = (self.acme.standings().into_iter(), unix_seconds());
        reasons.extend(standings.filter_map(|one| Some((one.name.clone(), one.trouble(now)?))));
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
        let issued = self.issued_files();
        let shown = self.shown().into_iter();
        let soon = shown.filter(|shown| {
            let CertificateInfo {
                not_before,
                not_after,
                name,
                ..
            } = &shown.info;
            // One that is renewed by itself is told of when that should have been long ago.
            let warning = match issued.contains(Path::new(name)) {
                true => not_after.saturating_sub(*not_before) / 6,
                false => EXPIRY_WARNING,
            };
            *not_after <= now.saturating_add(warning)
        });
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
            after.is_some_and(|after| !after.shows(&shown.settings, &shown.issued))
        };
        let replaced = self.listeners.iter().filter(is_other).map(|(_, shown)| {
            let settings = server_settings(&shown.settings, &shown.issued, &self.files);
            (Arc::clone(&shown.tls), settings)
        });
        PreparedCertificates {
            files: self.files.clone(),
            listeners: self.listeners.clone(),
            replaced: replaced.collect(),
            dialers: self.dialers.undo(&prepared.dialers, &self.files),
            authority: self.authority.clone(),
        }
    }

    fn issued_files(&self) -> BTreeSet<PathBuf> {
        let issued = self.listeners.values().flat_map(|shown| &shown.issued);
        issued.map(|issued| issued.path.clone()).collect()
    }

    /// Whether `content` of a file counts. Of a certificate that an authority issues only a good one
    /// does; others may be one half of what changes.
    fn takes(&self, path: &Path, content: &Bytes) -> bool {
        let mut issued = self.listeners.values().flat_map(|shown| &shown.issued);
        match issued.find(|issued| issued.path == path) {
            Some(issued) => issued.takes(content),
            None => self.files.contains_key(path),
        }
    }

    /// What was wrong with tables that `prepared` changes is wrong no more.
    fn forget_faults(&mut self, prepared: &PreparedCertificates) {
        let Self {
            faults,
            listeners,
            dialers,
            ..
        } = self;
        faults.retain(|table, _| {
            let before = listeners.get(table).map(|shown| &shown.settings);
            let after = prepared.listeners.get(table).map(|shown| &shown.settings);
            match dialers.is_same(table, &prepared.dialers) {
                Some(is_same) => is_same,
                None => before.is_some() && before == after,
            }
        });
    }

    fn take_changes(&mut self, path: &Path) {
        let names = |files: &BTreeSet<PathBuf>| files.iter().any(|file| absolute(file) == path);
        let mut outcomes = Vec::new();
        for (table, shown) in &self.listeners {
            let is_issued = shown.issued.iter().any(|issued| issued.path == path);
            if is_issued || names(&shown.settings.files()) {
                let settings = server_settings(&shown.settings, &shown.issued, &self.files);
                outcomes.push((table.clone(), shown.tls.replace(settings)));
            }
        }
        outcomes.extend(self.dialers.take_changes(names, &self.files));
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

impl Shown {
    fn shows(&self, settings: &ListenerTls, issued: &[IssuedFile]) -> bool {
        self.settings == *settings && self.issued == issued
    }
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
/// How long before it expires a certificate is told of, in seconds.
const EXPIRY_WARNING: i64 = 14 * DAY.cast_signed();
const EXPIRY_INTERVAL: Duration = Duration::from_secs(3600);
/// The table of the admin listener's TLS.
pub(crate) const ADMIN: &str = "admin.tls";
const UPSTREAM: &str = "upstream-tls";
