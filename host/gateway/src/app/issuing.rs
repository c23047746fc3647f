//! Has certificates issued for the names that listeners await, and has them renewed: one order at a time,
//! by whichever of the gateways that share the folder is first.
//!
//! ```text
//! look ─▶ nothing due: wait until something is, or names change
//!   ▲        └ due ─▶ lock: another orders ─▶ wait a moment
//!   │                   └ ours ─▶ still due? ─▶ order ─▶ file | failure and pause
//!   └─────────────────────────────────────────────────────┘
//! ```
//! The wall clock is looked at anew each time, once a minute at least: it may be set.

use std::{io, sync::Arc, time::Duration};

use postern_net::Shutdown;
use postern_system::random;
use tokio::task::spawn_blocking;
use tracing::{debug, info, warn};

use super::gateway::Gateway;
use crate::{
    acme::{Attempts, Authority, AuthorityFolder, Pauses, Standing},
    certificates::unix_seconds,
    config::{Acme, ChallengeKind, Config},
};

/// What is in force while it looks.
struct Issuing {
    gateway: Arc<Gateway>,
    acme: Arc<Acme>,
    folder: AuthorityFolder,
    names: Vec<String>,
    /// Challenges that a listener answers, in the order of the configuration.
    kinds: Vec<ChallengeKind>,
    pauses: Pauses,
}

/// What a look has found.
enum Found {
    /// An order has ended; there may be more to do.
    Ordered,
    /// Nothing is to be done for so long.
    Nothing(Duration),
}

/// Looks until the gateway drains. An order that is under way then is given up.
pub(super) async fn issue(gateway: Arc<Gateway>, draining: Shutdown) {
    let looking = async {
        loop {
            let found = Issuing::new(&gateway).look().await;
            let Found::Nothing(pause) = found else {
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = gateway.certificates().acme().changed() => {}
            }
        }
    };
    tokio::select! {
        () = looking => {}
        () = draining.draining() => {}
    }
}

impl Issuing {
    fn new(gateway: &Arc<Gateway>) -> Self {
        let loaded = gateway.loaded();
        let config: &Config = &loaded.config;
        let kinds = config.acme.challenges.iter().copied();
        let kinds = kinds.filter(|kind| config.answering(*kind).next().is_some());
        Self {
            gateway: Arc::clone(gateway),
            acme: Arc::new(config.acme.clone()),
            folder: AuthorityFolder::of(config),
            names: config.acme_names().into_iter().collect(),
            kinds: kinds.collect(),
            pauses: Pauses {
                first: config.acme.retry_pause,
                longest: config.acme.retry_pause_max,
            },
        }
    }

    async fn look(&self) -> Found {
        let standings = self.standings().await;
        let now = unix_seconds();
        let due = standings.iter().map(|one| one.due(now, &self.pauses));
        let first = due.zip(&standings).min_by_key(|(due, _)| *due);
        let found = first.map(|(due, standing)| (due, standing.clone()));
        self.tell(standings);
        let Some((due, standing)) = found else {
            return Found::Nothing(LOOK_INTERVAL);
        };
        if due > now {
            let left = Duration::from_secs(due.abs_diff(now));
            return Found::Nothing(left.min(LOOK_INTERVAL));
        }
        match self.order_if_first(&standing.name).await {
            Ok(found) => found,
            Err(error) => {
                warn!(%error, "certificates cannot be kept, and none is asked for");
                Found::Nothing(self.pauses.first.min(LOOK_INTERVAL))
            }
        }
    }

    /// Orders unless another does, or has done so.
    ///
    /// # Errors
    /// What is wrong with the folder.
    async fn order_if_first(&self, name: &str) -> io::Result<Found> {
        let folder = self.folder.clone();
        let locking = move || folder.create().and_then(|()| folder.try_lock());
        let Some(lock) = blocking(locking).await? else {
            debug!(name, "another gateway orders");
            return Ok(Found::Nothing(LOCKED_PAUSE));
        };
        let (folder, known) = (self.folder.clone(), name.to_owned());
        let standing = blocking(move || folder.standing(&known)).await;
        if standing.due(unix_seconds(), &self.pauses) <= unix_seconds() {
            self.order(standing).await?;
        }
        drop(lock);
        Ok(Found::Ordered)
    }

    /// Orders, and notes what came of it. It is noted as failed before it begins: a gateway that is ended
    /// meanwhile, or cannot write, asks no more often than one that is refused.
    async fn order(&self, before: Standing) -> io::Result<()> {
        let Standing { name, attempts, .. } = before;
        let begun = "an order was begun and has not ended".to_owned();
        self.note(&name, &attempts, begun, None).await?;
        let authority = Authority::new(Arc::clone(&self.acme), self.folder.clone());
        let kinds = self.kinds_after(attempts.failures);
        info!(
            name,
            directory = self.acme.directory,
            "a certificate is asked for"
        );
        let ordered = authority.order(&name, &kinds).await;
        let (reason, retry_after) = match ordered {
            Ok(pem) => {
                let after = self.keep(&name, pem).await?;
                match self.not_good(&after) {
                    None => {
                        self.gateway.certificates().acme().count(true);
                        info!(name, "a certificate was issued");
                        return Ok(());
                    }
                    Some(reason) => (reason, None),
                }
            }
            Err(error) => (error.reason, error.retry_after),
        };
        self.gateway.certificates().acme().count(false);
        info!(name, %reason, ?retry_after, "no certificate was issued");
        self.note(&name, &attempts, reason, retry_after).await
    }

    /// Keeps that the name has failed once more than `before` says.
    async fn note(
        &self,
        name: &str,
        before: &Attempts,
        reason: String,
        retry_after: Option<Duration>,
    ) -> io::Result<()> {
        let failures = before.failures.saturating_add(1);
        let pause = self.pauses.after(failures, retry_after);
        let pause = pause + random::part_of(pause / JITTER_SHARE);
        let failed = before.failed(unix_seconds(), reason, pause);
        let (folder, name) = (self.folder.clone(), name.to_owned());
        blocking(move || folder.put_attempts(&name, &failed)).await
    }

    /// Keeps key and chain; what stands there afterwards.
    async fn keep(&self, name: &str, pem: String) -> io::Result<Standing> {
        let (folder, name) = (self.folder.clone(), name.to_owned());
        let keeping = move || {
            folder.put_issued(&name, &pem)?;
            Ok(folder.standing(&name))
        };
        blocking(keeping).await
    }

    /// Why a certificate that was issued a moment ago is not good for long: asking again at once would
    /// never end.
    fn not_good(&self, issued: &Standing) -> Option<String> {
        if issued.info.is_none() {
            return Some("what the authority issued cannot be used, see the log".to_owned());
        }
        let now = unix_seconds();
        (issued.due(now, &self.pauses) <= now).then(|| {
            "the certificate that was issued is to be renewed already: look at this machine's clock"
                .to_owned()
        })
    }

    /// After each failure another challenge comes first.
    fn kinds_after(&self, failures: u32) -> Vec<ChallengeKind> {
        let mut kinds = self.kinds.clone();
        if let Some(first) = (failures as usize).checked_rem(kinds.len()) {
            kinds.rotate_left(first);
        }
        kinds
    }

    async fn standings(&self) -> Vec<Standing> {
        let (folder, names) = (self.folder.clone(), self.names.clone());
        let reading = move || names.iter().map(|name| folder.standing(name)).collect();
        blocking(reading).await
    }

    fn tell(&self, standings: Vec<Standing>) {
        let certificates = self.gateway.certificates();
        certificates.acme().set(standings);
        certificates.tell(self.gateway.readiness());
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let worked = spawn_blocking(work).await;
    worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// How often the clock is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// An order takes seconds.
const LOCKED_PAUSE: Duration = Duration::from_secs(1);
/// Gateways that failed together are not to ask together again: up to a tenth is added to a pause.
const JITTER_SHARE: u32 = 10;
