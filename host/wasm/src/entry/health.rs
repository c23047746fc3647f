//! Role `health`: asked before a generation takes calls, and regularly after.

use std::{sync::Arc, time::Duration};

use postern_core::{Blame, Error, Kind, Retry};
use postern_system::clock;
use wasmtime::{AsContext, component::Func};

use crate::{
    bindings::{self, Report, Status},
    convert,
    exports::{self, Export, Functions},
    generation::WorkerShard,
    lease::Lease,
    limits::time,
    offload::{self, Purpose},
    outcome::Outcome,
    role::Role,
};

/// `health.check`.
pub(crate) struct Check(bindings::Check);

impl Functions for Check {
    const ROLE: Role = Role::Health;
    const EXPORTS: &'static [Export] = &[Export::new::<(), (Report,)>("check")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [check] = exports::functions(funcs)?;
        Ok(Self(check.typed(store)?))
    }
}

/// Longest message of a report, in octets; the rest is cut.
const MESSAGE_BYTES_MAX: usize = 1024;

/// Whether a plugin can serve.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HealthReport {
    pub status: HealthStatus,
    /// Why, in the guest's words.
    pub message: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthStatus {
    /// Takes calls.
    Serving,
    /// Takes calls, and someone should look.
    Degraded,
    /// Takes no calls.
    NotServing,
    /// Every instance is at work and none was to be had for the question, which says nothing about
    /// the guest.
    Busy,
}

/// Asks the guest, which has `limit` to answer. Without the role it is serving; a plugin that has no
/// instance to spare within `limit` is busy.
///
/// # Errors
/// As a call: a trap, the time limit; and `deadline-exceeded` without an answer within `limit`.
pub(crate) async fn check(shard: Arc<WorkerShard>, limit: Duration) -> Result<HealthReport, Error> {
    let deadline = clock::now() + limit;
    let guest = Arc::clone(&shard.generation().guest);
    // One that backs off for its traps says nothing of its health; others that take no calls are ill.
    if let Some(error) = guest
        .refusal()
        .filter(|error| error.retry != Retry::Elsewhere)
    {
        return Ok(HealthReport {
            status: HealthStatus::Busy,
            message: Some(error.message.into_owned()),
        });
    }
    // No call bounds the question.
    let spare = tokio::time::timeout(limit, Lease::spare(shard, Some(deadline))).await;
    let lease = match spare.unwrap_or_else(|_| Err(late(limit))) {
        Ok(lease) => lease,
        Err(error) if error.kind == Kind::ResourceExhausted => {
            return Ok(HealthReport {
                status: HealthStatus::Busy,
                message: Some(error.message.into_owned()),
            });
        }
        Err(error) => return Err(error),
    };
    let entered = offload::run(&guest, Purpose::role("health"), Err, Box::pin(ask(lease)));
    let answered = tokio::time::timeout(limit, entered).await;
    answered.unwrap_or_else(|_| Err(late(limit)))
}

fn late(limit: Duration) -> Error {
    Error::deadline_exceeded(Blame::Guest, format!("no answer within {}", time(limit)))
}

async fn ask(mut lease: Lease) -> Result<HealthReport, Error> {
    let instance = lease.begin(None);
    let (store, check) = instance.parts::<Check>();
    let Some(Check(check)) = check else {
        lease.finish(Outcome::Ok);
        return Ok(HealthReport {
            status: HealthStatus::Serving,
            message: None,
        });
    };
    let result = check.call_async(store, ()).await;
    match instance.finish(result.map(|(report,)| report)) {
        Ok(report) => {
            lease.finish(Outcome::Ok);
            Ok(report.into())
        }
        Err(trapped) => Err(lease.trap(trapped, Role::Health)),
    }
}

impl HealthStatus {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Degraded => "degraded",
            Self::NotServing => "not-serving",
            Self::Busy => "busy",
        }
    }
}

impl From<Report> for HealthReport {
    fn from(report: Report) -> Self {
        let status = match report.status {
            Status::Serving => HealthStatus::Serving,
            Status::Degraded => HealthStatus::Degraded,
            Status::NotServing => HealthStatus::NotServing,
        };
        let mut message = report.message;
        if let Some(message) = &mut message {
            convert::cut(message, MESSAGE_BYTES_MAX);
        }
        Self { status, message }
    }
}
