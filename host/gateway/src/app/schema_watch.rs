//! Follows the files of schemas of services elsewhere: `proto` of `[services.NAME]`, what they import, and the
//! folders in which more of them may come to lie.
//!
//! ```text
//! versions of files ─▶ those that come together ─▶ read ─▶ in force, service by service
//! new files in a folder ─▲                          └─refused─▶ what it had before, with the reason
//! ```

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use postern_system::clock;
use tracing::info;

use super::gateway::Gateway;
use crate::{
    control::{UpstreamSchemaError, UpstreamSchemas},
    proto::SchemaSight,
    readiness::{Readiness, ReasonKind},
    sources::files::FileWatch,
};

pub(super) struct SchemaWatch {
    /// Those that were in force when their files were looked up.
    followed: Arc<UpstreamSchemas>,
    /// Files of those in force.
    held: FileWatch,
    /// What else was looked at: what was not there, and files of schemas that were refused.
    wanted: FileWatch,
    /// For the folders among it.
    sight: SchemaSight,
    settle: Duration,
    next_look: Instant,
    /// When the files are to be read again.
    due: Option<Instant>,
    /// Whether some of them could not be used.
    is_refused: bool,
}

impl SchemaWatch {
    /// A watch on what was read for the schemas in force.
    pub(super) fn new(gateway: &Gateway) -> Self {
        let settle = gateway.loaded().config.plugins.settle;
        let troubles = Arc::clone(gateway.troubles());
        let mut watch = Self {
            followed: Arc::default(),
            held: FileWatch::new(settle, LOOK_INTERVAL, Some(troubles)),
            wanted: FileWatch::new(settle, LOOK_INTERVAL, None),
            sight: SchemaSight::default(),
            settle,
            next_look: clock::now() + LOOK_INTERVAL,
            due: None,
            is_refused: false,
        };
        watch.follow(gateway);
        watch
    }

    /// Waits until the files are to be read again. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) {
        loop {
            let now = clock::now();
            if self.due.is_some_and(|due| due <= now) {
                self.due = None;
                return;
            }
            let wake = self
                .due
                .map_or(self.next_look, |due| due.min(self.next_look));
            let version = tokio::select! {
                version = self.held.next() => version,
                version = self.wanted.next() => version,
                () = tokio::time::sleep_until(wake.into()) => {
                    self.look();
                    continue;
                }
            };
            if version.is_new || self.is_refused {
                self.read_in(GATHER_TIME);
            }
        }
    }

    /// Takes all files as if they had just been saved.
    pub(super) fn read_again(&mut self) {
        self.read_in(Duration::ZERO);
    }

    /// Reads the files again and puts in force what can be used of them.
    pub(super) async fn read(&mut self, gateway: &Gateway) {
        let grpc = gateway.control().fleet().grpc();
        let (config, before) = (gateway.loaded().config.clone(), grpc.schemas());
        let known = Arc::clone(&before);
        let reading = move || UpstreamSchemas::read_each(&config, &known);
        let read = tokio::task::spawn_blocking(reading).await;
        let (schemas, refused) =
            read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        if !schemas.is_as(&before) {
            info!("other schemas of services elsewhere are in force");
        }
        grpc.set_schemas(schemas);
        self.set(grpc.schemas());
        self.is_refused = !refused.is_empty();
        if self.is_refused {
            self.read_in(RETRY_INTERVAL);
        }
        tell(gateway.readiness(), refused);
    }

    /// Follows the files of the schemas in force, where a configuration has put others there: all of them can
    /// be used.
    pub(super) fn follow(&mut self, gateway: &Gateway) {
        let in_force = gateway.control().fleet().grpc().schemas();
        if Arc::ptr_eq(&self.followed, &in_force) {
            return;
        }
        self.set(in_force);
        self.due = None;
        self.is_refused = false;
        tell(gateway.readiness(), Vec::new());
    }

    fn set(&mut self, schemas: Arc<UpstreamSchemas>) {
        let held = schemas.files().cloned().collect();
        let looked_at = schemas.sight().paths();
        let wanted = looked_at.filter(|path| !schemas.files().any(|file| file.as_path() == *path));
        self.wanted.set(&wanted.map(Into::into).collect());
        self.held.set(&held);
        self.sight = schemas.sight().clone();
        self.followed = schemas;
    }

    /// Files that come to lie in a folder are no change of a file that was known.
    fn look(&mut self) {
        let now = clock::now();
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_INTERVAL;
        if self.sight.changed().iter().any(|path| path.is_dir()) {
            self.read_in(self.settle);
        }
    }

    fn read_in(&mut self, pause: Duration) {
        let at = clock::now() + pause;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }
}

/// Tells which services have another schema than their files say.
fn tell(readiness: &Readiness, refused: Vec<UpstreamSchemaError>) {
    let refused = refused.into_iter().map(|error| {
        let message = format!("{}; the schema before stays in service", error.reason);
        (error.service.to_string(), message)
    });
    let refused: BTreeMap<_, _> = refused.collect();
    readiness.replace(ReasonKind::Schema, refused);
}

const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Files that are saved together are read together.
const GATHER_TIME: Duration = Duration::from_millis(100);
/// For what passes without a change of any file, such as a lack of descriptors.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
