//! The protobuf schema of a deployment: compiled when it is deployed, shown for as long as it serves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use postern_core::{Text, message_codec::MessageForm, route::HttpRoute, service::ServiceInfo};
use postern_wasm::PluginSchema;
use tokio::task::spawn_blocking;

use super::{Control, slot::PluginSlot};
use crate::{
    config::{Faults, PayloadForm},
    grpc::KnownMethods,
    plugins::store::Copy,
    proto::{LoadedSchema, ProtoSchema},
};

impl Control {
    /// What is known of methods before they are called.
    #[must_use]
    pub(crate) fn known_methods(&self) -> KnownMethods {
        KnownMethods {
            routes: Arc::clone(&self.routes),
            directory: Arc::clone(self.directory()),
            schemas: Arc::clone(self.fleet.schemas()),
        }
    }
}

/// The schema of `copy`, where one lies beside it or is built in.
///
/// # Errors
/// What is wrong with it.
pub(super) async fn compile(copy: &Copy) -> Result<Option<Arc<ProtoSchema>>, Faults> {
    let (files, component) = (copy.schema.clone(), copy.component.clone());
    let compiling = spawn_blocking(move || ProtoSchema::of_deployment(files.as_ref(), &component));
    let compiled = compiling.await;
    let compiled = compiled.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    Ok(compiled?.map(Arc::new))
}

/// As the components' host wants it, for a component that takes messages as `payload` says.
pub(super) fn of_plugin(schema: &ProtoSchema, payload: PayloadForm) -> PluginSchema {
    PluginSchema {
        codec: schema.codec(),
        form: match payload {
            PayloadForm::Json => MessageForm::Json,
            PayloadForm::Protobuf => MessageForm::Protobuf,
        },
        services: Arc::clone(schema.services()),
    }
}

/// The routes that the schema of `plugin` makes for those of its services that `plugin` answers for.
pub(super) fn routes(
    plugin: &str,
    schema: Option<&ProtoSchema>,
    services: &[ServiceInfo],
) -> Vec<HttpRoute> {
    let is_answered = |name: &str| services.iter().any(|service| service.name == *name);
    let made = schema.map(|schema| schema.routes(is_answered));
    let named = made.into_iter().flatten().map(|route| HttpRoute {
        name: format!("{plugin}.{}", route.name).into(),
        ..route
    });
    named.collect()
}

/// The schemas of the plugins that take calls, each with the services that its plugin answers for.
pub(super) fn loaded(slots: &BTreeMap<String, Arc<PluginSlot>>) -> BTreeMap<Text, LoadedSchema> {
    let loaded = slots.iter().filter_map(|(name, slot)| {
        let current = slot.shown().current?;
        let schema = Arc::clone(current.written.proto.as_ref()?);
        let answered: BTreeSet<_> = current
            .services
            .iter()
            .map(|service| &service.name)
            .collect();
        let services = schema.services().iter().map(|service| service.name.clone());
        let services = services.filter(|name| answered.contains(name)).collect();
        Some((Text::from(name.as_str()), LoadedSchema { schema, services }))
    });
    loaded.collect()
}
