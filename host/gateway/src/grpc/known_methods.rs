//! What is known of methods before they are called: by fronts that have to know how many messages a
//! request has, and by those whose protocol tells a method that is not there from one that fails.

use std::sync::Arc;

use postern_core::{Blame, Error, Text, registry::Health, service::MethodInfo};

use crate::{
    directory::SharedDirectory,
    pipeline::route::{LOADING_RETRY, RouteTarget, Routes},
    proto::{LoadedSchemas, ProtoSchema},
};

/// The methods of everybody who answers at present. Costs no lock.
#[derive(Clone)]
pub(crate) struct KnownMethods {
    pub routes: Arc<Routes>,
    pub directory: Arc<SharedDirectory>,
    pub schemas: Arc<LoadedSchemas>,
}

impl KnownMethods {
    /// Whether a call of `service` has somewhere to go, or will have once all plugins are deployed.
    pub(crate) fn has_service(&self, service: &str) -> bool {
        self.routes.get(&service.into()).is_some() || !self.routes.is_complete()
    }

    /// What its schema says of a method, or else the directory. Nothing but its name where the service
    /// takes methods that it does not describe; `None` for one that is not there.
    pub(crate) fn method_info(&self, service: &str, method: &str) -> Option<MethodInfo> {
        let of_schema = |schema: &ProtoSchema| schema.method_info(service, method).cloned();
        if let Some(described) = self.schemas.of_service(service, of_schema) {
            return described;
        }
        let name = Text::from(service);
        let Some(route) = self.routes.get(&name) else {
            let unknown = || MethodInfo::new(method, false);
            return (!self.routes.is_complete()).then(unknown);
        };
        let snapshot = self.directory.snapshot();
        let found = snapshot.service(&name);
        let mut instances = found.iter().flat_map(|service| service.all());
        let described = instances.find_map(|instance| {
            let methods = instance.record.entry.methods.as_ref()?;
            methods.iter().find(|info| info.name == *method).cloned()
        });
        let may_be_there = match &route.methods {
            Some(methods) => methods.iter().any(|known| *known == *method),
            None => true,
        };
        described.or_else(|| may_be_there.then(|| MethodInfo::new(method, false)))
    }

    /// Why nobody answers for a service at present that is known or may yet come. The reasons are the pipeline's to
    /// tell, to those who may call.
    pub(crate) fn why_unavailable(&self, service: &str) -> Option<Error> {
        let name = Text::from(service);
        let Some(route) = self.routes.get(&name) else {
            return self.starting();
        };
        let is_there = match &route.target {
            RouteTarget::Live(_) => true,
            RouteTarget::Cluster(_) => self.is_up(&name),
            RouteTarget::Down(_) => false,
            RouteTarget::Loading => {
                let message = format!("service {name} is loading, try again");
                let error = Error::unavailable(Blame::Gateway, message);
                return Some(error.with_retry(LOADING_RETRY));
            }
        };
        let message = || format!("service {name} has no live instance");
        (!is_there).then(|| Error::unavailable(Blame::Gateway, message()))
    }

    /// Why a service without a route may yet come.
    pub(crate) fn starting(&self) -> Option<Error> {
        self.routes.starting()
    }

    fn is_up(&self, service: &Text) -> bool {
        let snapshot = self.directory.snapshot();
        let found = snapshot.service(service);
        let mut instances = found.iter().flat_map(|service| service.all());
        instances.any(|instance| instance.health == Health::Up)
    }
}
