//! Services of gRPC that the gateway answers itself: health and reflection. They take and give protobuf,
//! and JSON by their schemas like every other service that has one.

mod coded;
mod health;
mod known_methods;
mod reflection;

use std::sync::Arc;

use postern_core::Handler;

use self::{coded::CodedService, reflection::Reflection};
pub(crate) use self::{
    health::{HealthService, ServiceStates},
    known_methods::KnownMethods,
};
use crate::{
    config::Faults,
    proto::{LoadedSchemas, ProtoSchema},
};

/// A service of the gateway's own with its schema.
pub(crate) struct SchemaService {
    pub schema: ProtoSchema,
    pub handler: Arc<dyn Handler>,
}

/// Health, as `health` knows it, and both versions of reflection, over `schemas`.
///
/// # Errors
/// When one of their schemas is not good, which a test excludes.
pub(crate) fn services(
    health: &Arc<HealthService>,
    schemas: &Arc<LoadedSchemas>,
) -> Result<Vec<SchemaService>, Faults> {
    let coded = |name: &str, source: &str, handler: Arc<dyn Handler>| {
        let schema = ProtoSchema::of_source(name, source)?;
        let handler = Arc::new(CodedService::new(schema.codec(), handler));
        Ok(SchemaService { schema, handler })
    };
    let reflection: Arc<dyn Handler> =
        Arc::new(Reflection::new(Arc::clone(schemas), Arc::clone(health)));
    Ok(vec![
        coded(
            "grpc/health/v1/health.proto",
            include_str!("protos/health.proto"),
            Arc::clone(health) as Arc<dyn Handler>,
        )?,
        coded(
            "grpc/reflection/v1/reflection.proto",
            REFLECTION,
            Arc::clone(&reflection),
        )?,
        coded(
            "grpc/reflection/v1alpha/reflection.proto",
            &REFLECTION.replace(PACKAGE, "package grpc.reflection.v1alpha;"),
            reflection,
        )?,
    ])
}

/// Of version v1. Clients knew the same under the name v1alpha before.
const REFLECTION: &str = include_str!("protos/reflection.proto");
const PACKAGE: &str = "package grpc.reflection.v1;";
