//! What a schema says of its services, in the words of the catalogue.

use std::sync::Arc;

use postern_core::{
    Text,
    service::{CallKind, MethodInfo, ServiceInfo, TypeInfo},
};
use prost_reflect::{DescriptorPool, MethodDescriptor, ServiceDescriptor};
use prost_types::{FileDescriptorProto, method_options::IdempotencyLevel};

use super::json_schema;

/// The services of the files of those names, in the order of their own names.
pub(super) fn of_files(pool: &DescriptorPool, files: &[String]) -> Vec<ServiceInfo> {
    let is_wanted = |service: &ServiceDescriptor| {
        let file = service.parent_file();
        files.iter().any(|name| name == file.name())
    };
    let wanted = pool.services().filter(is_wanted);
    let mut services: Vec<_> = wanted.map(|service| describe(&service)).collect();
    services.sort_by(|one, other| one.name.cmp(&other.name));
    services
}

fn describe(service: &ServiceDescriptor) -> ServiceInfo {
    let methods: Vec<_> = service.methods().collect();
    let types = methods
        .iter()
        .flat_map(|method| [method.input(), method.output()]);
    let schemas = Arc::new(json_schema::of_messages(types));
    ServiceInfo {
        name: Text::from(service.full_name()),
        version: None,
        summary: summary(
            service.parent_file().file_descriptor_proto(),
            service.path(),
        ),
        methods: methods.iter().map(method_info).collect(),
        schemas,
    }
}

fn method_info(method: &MethodDescriptor) -> MethodInfo {
    let named = |name: &str| TypeInfo {
        name: Text::from(name),
    };
    let options = method.method_descriptor_proto().options.as_ref();
    let level = options.map_or(IdempotencyLevel::IdempotencyUnknown, |options| {
        options.idempotency_level()
    });
    let file = method.parent_file();
    MethodInfo {
        name: Text::from(method.name()),
        summary: summary(file.file_descriptor_proto(), method.path()),
        kind: Some(
            match (method.is_client_streaming(), method.is_server_streaming()) {
                (false, false) => CallKind::Unary,
                (true, false) => CallKind::ClientStream,
                (false, true) => CallKind::ServerStream,
                (true, true) => CallKind::Bidirectional,
            },
        ),
        request: named(method.input().full_name()),
        response: named(method.output().full_name()),
        idempotent: level != IdempotencyLevel::IdempotencyUnknown,
        safe: level == IdempotencyLevel::NoSideEffects,
    }
}

/// The first sentence or paragraph of the comment before what stands at `path` of `file`.
fn summary(file: &FileDescriptorProto, path: &[i32]) -> Text {
    let places = file.source_code_info.iter().flat_map(|info| &info.location);
    let mut comments = places
        .filter(|place| place.path == path)
        .filter_map(|place| place.leading_comments.as_deref());
    let comment = comments.next().unwrap_or_default();
    let lines = comment
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty());
    let paragraph = lines.collect::<Vec<_>>().join(" ");
    let sentence = paragraph.split_inclusive(". ").next().unwrap_or_default();
    let end = sentence.floor_char_boundary(SUMMARY_BYTES_MAX);
    Text::from(sentence.get(..end).unwrap_or_default().trim_end())
}

/// A sentence for people.
const SUMMARY_BYTES_MAX: usize = 240;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::compile::compile_source;

    #[test]
    fn services_are_described_as_they_are_written() {
        let source = "syntax = \"proto3\"; package user;\n\
            message User { string id = 1; }\n\
            // People. With more to say of them.\n\
            service Users {\n\
              // One of them,\n\
              // by its id.\n\
              //\n\
              // More than that.\n\
              rpc Get(User) returns (User) { option idempotency_level = NO_SIDE_EFFECTS; }\n\
              rpc Put(stream User) returns (User) { option idempotency_level = IDEMPOTENT; }\n\
              rpc All(User) returns (stream User);\n\
              rpc Chat(stream User) returns (stream User);\n\
            }";
        let pool = compile_source("user.proto", source).expect("good");
        let services = of_files(&pool, &["user.proto".to_owned()]);
        let [users] = &services[..] else {
            panic!("one service: {services:?}");
        };
        assert_eq!((&*users.name, &*users.summary), ("user.Users", "People."));
        let methods = users.methods.iter();
        let methods: Vec<_> = methods
            .map(|m| (&*m.name, m.kind.expect("known"), m.idempotent, &*m.summary))
            .collect();
        let expected = [
            ("Get", CallKind::Unary, true, "One of them, by its id."),
            ("Put", CallKind::ClientStream, true, ""),
            ("All", CallKind::ServerStream, false, ""),
            ("Chat", CallKind::Bidirectional, false, ""),
        ];
        assert_eq!(methods, expected);
        assert_eq!(users.methods[0].request.name, "user.User");
        assert!(users.schemas.contains_key("user.User"));
        assert!(of_files(&pool, &["other.proto".to_owned()]).is_empty());
    }
}
