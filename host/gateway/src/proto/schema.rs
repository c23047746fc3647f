//! A compiled schema: its descriptors, the services that it declares, and the codec of their messages.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use postern_core::{
    message_codec::MessageCodec,
    route::{HttpRoute, RouteEnd},
    service::{MethodInfo, ServiceInfo},
};
use prost_reflect::DescriptorPool;

use super::{
    codec::DescriptorCodec,
    compile::{self, Compiled},
    files::SchemaFiles,
    http_rule, section, services,
};
use crate::config::Faults;

/// What a schema says, of everything that it was compiled from.
#[derive(Clone)]
pub(crate) struct ProtoSchema {
    pool: DescriptorPool,
    services: Arc<[ServiceInfo]>,
    codec: Arc<DescriptorCodec>,
    /// Routes by `google.api.http`, each named `SERVICE.METHOD`.
    routes: Arc<[HttpRoute]>,
}

impl ProtoSchema {
    /// That of a deployment: of the files beside the component, or else the one that it has built in.
    /// Blocks for some milliseconds.
    ///
    /// # Errors
    /// What is wrong with it, with the place where it is one of a source.
    pub(crate) fn of_deployment(
        files: Option<&SchemaFiles>,
        component: &[u8],
    ) -> Result<Option<Self>, Faults> {
        if let Some(files) = files {
            let first = files.roots.iter().next().map_or("", String::as_str);
            return Self::of(first, compile::compile(files)?, Some(files)).map(Some);
        }
        let set = section::find(component);
        set.map(|set| Self::of_set(section::SECTION, &set))
            .transpose()
    }

    /// That of a serialized `google.protobuf.FileDescriptorSet`, which has all that its files import but
    /// what is built in. `name` says where it is from.
    ///
    /// # Errors
    /// As `of_deployment`.
    pub(crate) fn of_set(name: &str, set: &Bytes) -> Result<Self, Faults> {
        Self::of(name, compile::compile_set(name, set)?, None)
    }

    /// That of one source of the gateway's own.
    ///
    /// # Errors
    /// When it is none.
    pub(crate) fn of_source(name: &str, source: &str) -> Result<Self, Faults> {
        let pool = compile::compile_source(name, source);
        let pool = pool.map_err(|error| compile::whole(name, error.to_string(), String::new()))?;
        let roots = vec![name.to_owned()];
        Self::of(name, Compiled { pool, roots }, None)
    }

    fn of(name: &str, compiled: Compiled, files: Option<&SchemaFiles>) -> Result<Self, Faults> {
        let Compiled { pool, roots } = compiled;
        let services = services::of_files(&pool, &roots);
        if services.is_empty() {
            let reason = "no service is declared".to_owned();
            let remedy = "declare the service of the plugin, or take the schema away".to_owned();
            return Err(compile::whole(name, reason, remedy));
        }
        let names = services.iter().map(|service| service.name.as_str());
        let routes = http_rule::routes(&pool, names);
        let routes =
            routes.map_err(|faults| http_rule::drawn(&faults, |name| files?.text(name)))?;
        Ok(Self {
            routes: routes.into(),
            codec: Arc::new(DescriptorCodec::new(&pool, &services)),
            pool,
            services: services.into(),
        })
    }

    pub(crate) const fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// The services of the files that were asked for, with JSON Schemas of their types.
    pub(crate) const fn services(&self) -> &Arc<[ServiceInfo]> {
        &self.services
    }

    /// The routes that its rules make for those of its services that `is_answered`.
    pub(crate) fn routes(
        &self,
        is_answered: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = HttpRoute> {
        let routes = self.routes.iter();
        routes
            .filter(move |route| match &route.end {
                RouteEnd::Method(end) => is_answered(&end.service),
                RouteEnd::Upstream(_)
                | RouteEnd::Redirect(_)
                | RouteEnd::Fixed(_)
                | RouteEnd::Files(_) => false,
            })
            .cloned()
    }

    /// What it says of a method.
    pub(crate) fn method_info(&self, service: &str, method: &str) -> Option<&MethodInfo> {
        self.codec.method(service, method)
    }

    pub(crate) fn codec(&self) -> Arc<dyn MessageCodec> {
        Arc::clone(&self.codec) as Arc<dyn MessageCodec>
    }
}

impl fmt::Debug for ProtoSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.services.iter().map(|service| &service.name);
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_beside_the_component_comes_before_the_one_in_it() {
        let source = |service: &str| {
            format!(
                "syntax = \"proto3\"; message A {{}} service {service} {{ rpc Get(A) returns (A); }}"
            )
        };
        let within = compile::compile_source("a.proto", &source("Within")).expect("good");
        let set = within.encode_to_vec();
        let name = section::SECTION;
        let length = 1 + name.len() + set.len();
        let leb = |n: usize| {
            let low = u8::try_from(n & 0x7F).expect("seven bits");
            [low | 0x80, u8::try_from(n >> 7).expect("short")]
        };
        let head = [
            &[0][..],
            &leb(length),
            &[u8::try_from(name.len()).expect("short")],
        ]
        .concat();
        let component = wat::parse_str("(component)").expect("a component");
        let component = [&component[..], &head, name.as_bytes(), &set].concat();
        let names = |files: Option<&SchemaFiles>| {
            let schema = ProtoSchema::of_deployment(files, &component);
            let schema = schema
                .unwrap_or_else(|faults| panic!("{faults}"))
                .expect("one");
            format!("{schema:?}")
        };
        assert_eq!(names(None), "[\"Within\"]");
        let mut files = SchemaFiles::default();
        files.roots.insert("b.proto".to_owned());
        let octets = crate::proto::files::FileOctets(source("Beside").into_bytes().into());
        files.files.insert("b.proto".to_owned(), octets);
        assert_eq!(names(Some(&files)), "[\"Beside\"]");
        let empty = wat::parse_str("(component)").expect("a component");
        assert!(matches!(ProtoSchema::of_deployment(None, &empty), Ok(None)));
    }

    #[test]
    fn a_schema_without_a_service_is_none() {
        let refused = ProtoSchema::of_source("a.proto", "syntax = \"proto3\"; message A {}");
        let told = refused.err().map(|faults| faults.to_string());
        assert_eq!(told.as_deref(), Some("a.proto: no service is declared"));
    }
}
