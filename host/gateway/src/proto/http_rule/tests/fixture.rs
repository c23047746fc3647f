//! Schemas of these tests, and the routes that they make.

use postern_core::{
    Error,
    route::{
        HttpRequest, MethodEnd, RequestPath, RouteEnd, RouteMatch, RouteRequest, RouteTable,
        SharedTranscoder,
    },
};
use prost_reflect::{DescriptorPool, DynamicMessage};

use super::super::routes;
use crate::proto::compile::compile_source;

/// A schema with what is built in.
pub(super) fn pool(file: &str, text: &str) -> DescriptorPool {
    compile_source(file, text).expect("a schema")
}

/// All routes of the three APIs.
pub(super) struct Api {
    table: RouteTable,
    pools: Vec<DescriptorPool>,
}

/// What a request comes to.
pub(super) struct Found {
    pub method: String,
    pub message: Result<serde_json::Value, Error>,
}

impl Api {
    pub(super) fn new() -> Self {
        let pools = vec![
            pool("library.proto", include_str!("library.proto")),
            pool("pubsub.proto", include_str!("pubsub.proto")),
            pool("storage.proto", include_str!("storage.proto")),
        ];
        let made = pools.iter().flat_map(|pool| {
            let services: Vec<_> = pool
                .services()
                .map(|one| one.full_name().to_owned())
                .collect();
            let names = services.iter().map(String::as_str);
            routes(pool, names).expect("rules without faults")
        });
        let table = RouteTable::new(made);
        assert_eq!(table.conflicts().len(), 0);
        Self { table, pools }
    }

    /// `METHOD TARGET`, and a body with its media type where it is no JSON.
    pub(super) fn ask(&self, line: &str, content_type: Option<&str>, body: &str) -> Found {
        let (verb, target) = line.split_once(' ').expect("a method and a target");
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (target, None),
        };
        let path = RequestPath::parse(path).expect("a path");
        let request = RouteRequest {
            listener: "",
            authority: "h",
            method: verb,
            path: &path,
            query,
            has_header: &|_, _| false,
        };
        let RouteMatch::Route(route) = self.table.find(&request) else {
            return Found {
                method: "-".to_owned(),
                message: Err(Error::not_found("nothing")),
            };
        };
        let end = method_end(&route.end);
        let params = route.rule.path.params(&path).expect("taken");
        let request = HttpRequest {
            params: &params,
            query,
            content_type,
            body: body.to_owned().into(),
        };
        let message = end.transcoder.as_ref().expect("one").message(&request);
        let message = message.map(|message| {
            self.check(end, &message);
            serde_json::from_slice(&message).expect("JSON")
        });
        Found {
            method: route.name.to_string(),
            message,
        }
    }

    /// Whoever makes protobuf of it finds that it is of the method's type.
    fn check(&self, end: &MethodEnd, message: &[u8]) {
        let services = self
            .pools
            .iter()
            .filter_map(|pool| pool.get_service_by_name(&end.service));
        let service = services.last().expect("a service");
        let method = service.methods().find(|one| *one.name() == *end.method);
        let input = method.expect("a method").input();
        let mut reader = serde_json::Deserializer::from_slice(message);
        DynamicMessage::deserialize(input, &mut reader).expect("a message of the type");
    }

    /// The transcoder of the route with that name.
    pub(super) fn transcoder(&self, name: &str) -> SharedTranscoder {
        let route = self.table.named(name).expect("a route");
        method_end(&route.end).transcoder.clone().expect("one")
    }
}

fn method_end(end: &RouteEnd) -> &MethodEnd {
    match end {
        RouteEnd::Method(end) => end,
        other @ (RouteEnd::Upstream(_)
        | RouteEnd::Redirect(_)
        | RouteEnd::Fixed(_)
        | RouteEnd::Files(_)) => panic!("a route to {}", other.name()),
    }
}
