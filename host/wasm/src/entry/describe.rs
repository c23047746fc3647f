//! Role `describe`: which services a plugin answers for. Where it is absent the manifest says, and
//! where that is silent the plugin's name.

use std::sync::Arc;

use postern_core::{
    Error, Text,
    service::{CallKind, MethodInfo, ServiceInfo, TypeInfo},
};
use wasmtime::{AsContext, component::Func};

use crate::{
    bindings::{self, CallKind as RawKind, Method, Service},
    exports::{self, Export, Functions},
    generation::WorkerShard,
    lease::Lease,
    offload::{self, Purpose},
    outcome::Outcome,
    plugin_name::plugin_of_slot,
    role::Role,
    spec::PluginSpec,
};

/// `describe.services`.
pub(crate) struct Services(bindings::Services);

impl Functions for Services {
    const ROLE: Role = Role::Describe;
    const EXPORTS: &'static [Export] = &[Export::new::<(), (Vec<Service>,)>("services")];

    fn find(funcs: &[Func], store: impl AsContext) -> wasmtime::Result<Self> {
        let [services] = exports::functions(funcs)?;
        Ok(Self(services.typed(store)?))
    }
}

/// Services that one plugin may offer.
const SERVICES_MAX: usize = 256;
/// Methods that one service may have.
const METHODS_MAX: usize = 1024;

/// The services of a generation; none when it has no role that answers calls.
///
/// # Errors
/// As a call; and `invalid-argument` for a description beyond its bounds.
pub(crate) async fn services(shard: Arc<WorkerShard>) -> Result<Vec<ServiceInfo>, Error> {
    let guest = Arc::clone(&shard.generation().guest);
    let entered = Box::pin(enter(shard));
    offload::run(&guest, Purpose::role("describe"), Err, entered).await
}

async fn enter(shard: Arc<WorkerShard>) -> Result<Vec<ServiceInfo>, Error> {
    let (plugin, spec) = {
        let generation = shard.generation();
        if !generation.handles() {
            return Ok(Vec::new());
        }
        let guest = &generation.guest;
        (Arc::clone(&guest.plugin), guest.spec.clone())
    };
    let mut lease = Lease::for_async(shard, None).await?;
    let instance = lease.begin(None);
    let (store, services) = instance.parts::<Services>();
    let Some(Services(services)) = services else {
        lease.finish(Outcome::Ok);
        return Ok(from_manifest(plugin_of_slot(&plugin), &spec));
    };
    let result = services.call_async(store, ()).await;
    let services = match instance.finish(result.map(|(services,)| services)) {
        Ok(services) => {
            lease.finish(Outcome::Ok);
            services
        }
        Err(trapped) => return Err(lease.trap(trapped, Role::Describe)),
    };
    check(&services)?;
    let version = spec.version;
    Ok(services
        .into_iter()
        .map(|service| ServiceInfo {
            version: service.version.or_else(|| version.clone()).map(Text::from),
            name: service.name.into(),
            summary: service.summary.into(),
            methods: service.methods.into_iter().map(method).collect(),
            ..ServiceInfo::default()
        })
        .collect())
}

fn from_manifest(plugin: &str, spec: &PluginSpec) -> Vec<ServiceInfo> {
    let info = |name: &str| ServiceInfo {
        name: name.into(),
        version: spec.version.as_deref().map(Text::from),
        ..ServiceInfo::default()
    };
    if spec.services.is_empty() {
        return vec![info(plugin)];
    }
    spec.services.iter().map(|name| info(name)).collect()
}

fn check(services: &[Service]) -> Result<(), Error> {
    let n_services = services.len();
    if n_services > SERVICES_MAX {
        let message = format!("{n_services} services exceed the limit of {SERVICES_MAX}");
        return Err(Error::invalid_argument(message));
    }
    for service in services {
        let (name, n_methods) = (&service.name, service.methods.len());
        if name.is_empty() || name.len() > 255 {
            let length = name.len();
            let message = format!("service name of {length} octets is not within 1 to 255");
            return Err(Error::invalid_argument(message));
        }
        if n_methods > METHODS_MAX {
            let message =
                format!("{n_methods} methods of service {name} exceed the limit of {METHODS_MAX}");
            return Err(Error::invalid_argument(message));
        }
    }
    Ok(())
}

fn method(method: Method) -> MethodInfo {
    let named = |name: String| TypeInfo { name: name.into() };
    MethodInfo {
        name: method.name.into(),
        summary: method.summary.into(),
        kind: Some(match method.kind {
            RawKind::Unary => CallKind::Unary,
            RawKind::ClientStream => CallKind::ClientStream,
            RawKind::ServerStream => CallKind::ServerStream,
            RawKind::Bidirectional => CallKind::Bidirectional,
        }),
        request: named(method.request),
        response: named(method.response),
        idempotent: method.idempotent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(n_methods: usize) -> Service {
        let method = || Method {
            name: "m".to_owned(),
            summary: String::new(),
            kind: RawKind::Unary,
            request: String::new(),
            response: String::new(),
            idempotent: false,
        };
        Service {
            name: "s".to_owned(),
            version: None,
            summary: String::new(),
            methods: (0..n_methods).map(|_| method()).collect(),
        }
    }

    #[test]
    fn descriptions_are_bounded() {
        assert!(check(&[service(METHODS_MAX)]).is_ok());
        assert!(check(&[service(METHODS_MAX + 1)]).is_err());
        let services = |n| (0..n).map(|_| service(0)).collect::<Vec<_>>();
        assert!(check(&services(SERVICES_MAX)).is_ok());
        assert!(check(&services(SERVICES_MAX + 1)).is_err());
        assert!(
            check(&[Service {
                name: String::new(),
                ..service(0)
            }])
            .is_err()
        );
    }

    #[test]
    fn without_a_word_the_plugins_name_is_its_service() {
        let names = |spec: &PluginSpec| {
            from_manifest("users", spec)
                .into_iter()
                .map(|info| info.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&PluginSpec::default()), ["users"]);
        let services = vec!["people".to_owned()];
        assert_eq!(
            names(&PluginSpec {
                services,
                ..PluginSpec::default()
            }),
            ["people"]
        );
    }
}
