//! Role `describe`: which services a plugin answers for. Where it is absent the manifest says, where
//! that is silent its schema, and without one the plugin's name. What a schema says of a service comes
//! before what the component says.

use std::sync::Arc;

use postern_core::{
    Blame, Error, Kind, Text,
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
        let services = from_manifest(plugin_of_slot(&plugin), &spec);
        return with_schema(services, &spec);
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
    let version = &spec.version;
    let described = services.into_iter().map(|service| ServiceInfo {
        version: service.version.or_else(|| version.clone()).map(Text::from),
        name: service.name.into(),
        summary: service.summary.into(),
        methods: service.methods.into_iter().map(method).collect(),
        ..ServiceInfo::default()
    });
    with_schema(described.collect(), &spec)
}

fn from_manifest(plugin: &str, spec: &PluginSpec) -> Vec<ServiceInfo> {
    let info = |name: &str| ServiceInfo {
        name: name.into(),
        version: spec.version.as_deref().map(Text::from),
        ..ServiceInfo::default()
    };
    if !spec.services.is_empty() {
        return spec.services.iter().map(|name| info(name)).collect();
    }
    match &spec.schema {
        Some(schema) => schema
            .services
            .iter()
            .map(|known| info(&known.name))
            .collect(),
        None => vec![info(plugin)],
    }
}

/// `services` with what the schema of `spec` says of them.
///
/// # Errors
/// `failed-precondition` where there is a schema and it is of none of them.
fn with_schema(
    mut services: Vec<ServiceInfo>,
    spec: &PluginSpec,
) -> Result<Vec<ServiceInfo>, Error> {
    let Some(schema) = &spec.schema else {
        return Ok(services);
    };
    let mut is_used = false;
    for service in &mut services {
        if let Some(known) = schema.service(&service.name) {
            add_schema(service, known);
            is_used = true;
        }
    }
    if is_used {
        return Ok(services);
    }
    let names = |services: &[ServiceInfo]| {
        let names: Vec<_> = services
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        names.join(", ")
    };
    let (known, answered) = (names(&schema.services), names(&services));
    let message = format!(
        "the schema has {known}, and the plugin answers for {answered}: one of them has to be the same"
    );
    Err(Error::new(Kind::FailedPrecondition, Blame::Guest, message))
}

/// The methods are those of the schema; what the component says of them for people stays.
fn add_schema(service: &mut ServiceInfo, known: &ServiceInfo) {
    let described = std::mem::take(&mut service.methods);
    let method = |method: &MethodInfo| {
        let mut others = described.iter();
        let said = others.find(|other| other.name == method.name && !other.summary.is_empty());
        match said {
            Some(said) => method.clone().with_summary(said.summary.clone()),
            None => method.clone(),
        }
    };
    service.methods = known.methods.iter().map(method).collect();
    if service.summary.is_empty() {
        service.summary = known.summary.clone();
    }
    service.add_schemas(&known.schemas);
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
        safe: false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postern_core::message_codec::{Direction, MessageCodec, MessageForm};

    use super::*;
    use crate::spec::PluginSchema;

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
        assert_eq!(names(&with_users(&[])), ["user.UserService"]);
        assert_eq!(names(&with_users(&["people"])), ["people"]);
    }

    #[test]
    fn a_schema_says_what_methods_there_are_and_the_component_what_they_are_for() {
        let mut described = ServiceInfo {
            name: "user.UserService".into(),
            methods: vec![
                MethodInfo::unary("GetUser", false).with_summary("One user."),
                MethodInfo::new("*", false),
            ],
            ..ServiceInfo::default()
        };
        let spec = with_users(&[]);
        let services = with_schema(vec![described.clone()], &spec).expect("of the schema");
        let expected = [MethodInfo::unary("GetUser", true).with_summary("One user.")];
        assert_eq!(services[0].methods, expected);
        described.name = "users".into();
        let refused = with_schema(vec![described], &spec).expect_err("of another service");
        assert_eq!(
            refused.message,
            "the schema has user.UserService, and the plugin answers for users: one of them has to be the same"
        );
    }

    fn with_users(services: &[&str]) -> PluginSpec {
        let known = ServiceInfo {
            name: "user.UserService".into(),
            methods: vec![MethodInfo::unary("GetUser", true)],
            ..ServiceInfo::default()
        };
        PluginSpec {
            services: services.iter().map(ToString::to_string).collect(),
            schema: Some(PluginSchema {
                codec: Arc::new(NoMessages),
                form: MessageForm::Json,
                services: Arc::new([known]),
            }),
            ..PluginSpec::default()
        }
    }

    #[derive(Debug)]
    struct NoMessages;

    impl MessageCodec for NoMessages {
        fn has_service(&self, _: &str) -> bool {
            false
        }

        fn method(&self, _: &str, _: &str) -> Option<&MethodInfo> {
            None
        }

        fn convert(
            &self,
            _: &str,
            _: &str,
            _: Direction,
            _: MessageForm,
            message: &Bytes,
        ) -> Result<Bytes, Error> {
            Ok(message.clone())
        }
    }
}
