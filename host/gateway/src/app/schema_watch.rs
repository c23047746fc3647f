//! Follows the files of schemas of services elsewhere: `proto` of `[services.NAME]`.
//!
//! ```text
//! look ──changed──▶ look after `plugins.settle` ──at rest──▶ read ──▶ in force, service by service
//!                        ▲       │changed                      └─refused─▶ what it had before, with the reason
//!                        └───────┘
//! ```
//! Files that are imported, folders, and what was not there are looked at as well.

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
};

pub(super) struct SchemaWatch {
    /// Those in force when the watch was told of them last.
    followed: Arc<UpstreamSchemas>,
    sight: SchemaSight,
    settle: Duration,
    next_look: Instant,
    /// Whether the last look found a change.
    is_changing: bool,
    /// When what cannot be used is read again though nothing has changed.
    retry_at: Option<Instant>,
}

impl SchemaWatch {
    /// A watch on what was read for the schemas in force.
    pub(super) fn new(gateway: &Gateway) -> Self {
        let followed = gateway.control().fleet().grpc().schemas();
        Self {
            sight: followed.sight().clone(),
            followed,
            settle: gateway.loaded().config.plugins.settle,
            next_look: clock::now() + LOOK_INTERVAL,
            is_changing: false,
            retry_at: None,
        }
    }

    /// Waits until the files are to be read again. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) {
        loop {
            tokio::time::sleep_until(self.next_look.into()).await;
            let now = clock::now();
            let has_changed = !self.sight.changed().is_empty();
            let is_retried = self.retry_at.is_some_and(|at| at <= now);
            let is_due = !has_changed && (self.is_changing || is_retried);
            self.is_changing = has_changed;
            self.next_look = now
                + match has_changed {
                    true => self.settle,
                    false => LOOK_INTERVAL,
                };
            if is_due {
                return;
            }
        }
    }

    /// Takes all files as if they had just been saved.
    pub(super) fn read_again(&mut self) {
        self.is_changing = true;
        self.next_look = clock::now();
    }

    /// Reads the files again and puts in force what can be used of them.
    pub(super) async fn read(&mut self, gateway: &Gateway) {
        let grpc = gateway.control().fleet().grpc();
        let (config, before) = (gateway.loaded().config.clone(), grpc.schemas());
        let reading = move || UpstreamSchemas::read_each(&config, &before);
        let read = tokio::task::spawn_blocking(reading).await;
        let (schemas, refused) =
            read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        grpc.set_schemas(schemas);
        info!("the files of schemas of services elsewhere were read");
        *self = Self {
            retry_at: (!refused.is_empty()).then(|| clock::now() + RETRY_INTERVAL),
            ..Self::new(gateway)
        };
        tell(gateway.readiness(), refused);
    }

    /// Follows what was read for the schemas in force, where those are others than before. All of their
    /// files can be used.
    pub(super) fn follow(&mut self, gateway: &Gateway) {
        let in_force = gateway.control().fleet().grpc().schemas();
        if Arc::ptr_eq(&self.followed, &in_force) {
            return;
        }
        *self = Self::new(gateway);
        tell(gateway.readiness(), Vec::new());
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

const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// For what passes without a change of any file, such as a lack of descriptors.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);
