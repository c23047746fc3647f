//! What a generation is asked before it takes calls.

use std::sync::Arc;

use super::{
    describe,
    health::{self, HealthStatus},
    schemas,
};
use crate::{
    generation::Serving,
    stage::{Needs, Refusal, Stage, told},
};

/// Asks for health and services; both within the plugin's time limit, and for health within its
/// own, which is also for a guest that is never polled.
pub(crate) async fn check(serving: &Serving) -> Result<(), Refusal> {
    let refuse = |reason: String| Stage::Healthy.refuse(reason).until(Needs::to_run());
    let generation = &serving.generation;
    let shard = serving.shard();
    let limit = generation.guest.spec.health_max;
    let report = health::check(Arc::clone(&shard), limit).await;
    let report = report.map_err(|error| refuse(format!("health: {}", told(error))))?;
    if report.status == HealthStatus::NotServing {
        let message = report.message.as_deref().unwrap_or("no reason given");
        return Err(refuse(format!("health: not-serving: {message}")));
    }
    if !generation.handles() {
        return Ok(());
    }
    let services = describe::services(Arc::clone(&shard)).await;
    let mut services = services.map_err(|error| refuse(format!("describe: {}", told(error))))?;
    let added = schemas::add(shard, &mut services).await;
    added.map_err(|error| refuse(format!("schemas: {}", told(error))))?;
    generation.set_services(services);
    Ok(())
}
