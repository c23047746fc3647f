//! Role `health`: asked before a generation takes calls, and regularly after.

use std::{sync::Arc, time::Instant};

use postern_core::Error;

use crate::{
    bindings::{Report, Status},
    convert,
    generation::Home,
    stats::Outcome,
};

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
}

/// Asks the guest. Without the role it is serving.
///
/// # Errors
/// As a call: a trap, the time limit, no instance in time.
pub(crate) async fn check(
    home: Arc<Home>,
    deadline: Option<Instant>,
) -> Result<HealthReport, Error> {
    let mut lease = home.lease_fiber(deadline).await?;
    let instance = lease.begin(None);
    match instance.check().await {
        None => {
            lease.finish(Outcome::Ok);
            Ok(HealthReport {
                status: HealthStatus::Serving,
                message: None,
            })
        }
        Some(Ok(report)) => {
            lease.finish(Outcome::Ok);
            Ok(report.into())
        }
        Some(Err(trapped)) => Err(lease.trap(trapped)),
    }
}

impl HealthStatus {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Degraded => "degraded",
            Self::NotServing => "not-serving",
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
