//! Files that every schema may import without having them: those of `google/protobuf`, which the
//! compiler has, and those of googleapis that describe HTTP and failures.

use protox::{
    Error,
    file::{File, FileResolver as _, GoogleFileResolver},
};

/// Names by which they are imported, and what stands in them.
const SOURCES: [(&str, &str); 6] = [
    (
        "google/api/annotations.proto",
        include_str!("google/api/annotations.proto"),
    ),
    (
        "google/api/http.proto",
        include_str!("google/api/http.proto"),
    ),
    (
        "google/api/httpbody.proto",
        include_str!("google/api/httpbody.proto"),
    ),
    (
        "google/rpc/code.proto",
        include_str!("google/rpc/code.proto"),
    ),
    (
        "google/rpc/error_details.proto",
        include_str!("google/rpc/error_details.proto"),
    ),
    (
        "google/rpc/status.proto",
        include_str!("google/rpc/status.proto"),
    ),
];

/// The file of that name.
///
/// # Errors
/// `is_file_not_found` where none is built in.
pub(super) fn open(name: &str) -> Result<File, Error> {
    let mut sources = SOURCES.iter();
    match sources.find(|(known, _)| *known == name) {
        Some((_, source)) => File::from_source(name, source),
        None => GoogleFileResolver::new().open_file(name),
    }
}

/// Names of the files of failures, whose messages stand in details of a status.
pub(super) const OF_FAILURES: [&str; 3] = [
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
    "google/protobuf/struct.proto",
];

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;

    use super::*;
    use crate::proto::compile::compile_built_in;

    fn pool() -> DescriptorPool {
        compile_built_in(SOURCES.iter().map(|(name, _)| *name)).expect("they are good")
    }

    #[test]
    fn field_numbers_are_those_of_the_public_files() {
        let pool = pool();
        let check = |message: &str, expected: &[(&str, u32)]| {
            let message = pool.get_message_by_name(message).expect("there");
            let fields = message
                .fields()
                .map(|field| (field.name().to_owned(), field.number()));
            let fields: std::collections::BTreeMap<_, _> = fields.collect();
            for (name, number) in expected {
                assert_eq!(fields.get(*name), Some(number), "{name}");
            }
            assert_eq!(fields.len(), expected.len(), "{}", message.full_name());
        };
        check(
            "google.rpc.Status",
            &[("code", 1), ("message", 2), ("details", 3)],
        );
        check(
            "google.rpc.ErrorInfo",
            &[("reason", 1), ("domain", 2), ("metadata", 3)],
        );
        check(
            "google.api.HttpRule",
            &[
                ("selector", 1),
                ("get", 2),
                ("put", 3),
                ("post", 4),
                ("delete", 5),
                ("patch", 6),
                ("custom", 8),
                ("body", 7),
                ("response_body", 12),
                ("additional_bindings", 11),
            ],
        );
        check(
            "google.api.HttpBody",
            &[("content_type", 1), ("data", 2), ("extensions", 3)],
        );
        let http = pool
            .get_extension_by_name("google.api.http")
            .expect("there");
        assert_eq!(http.number(), 72_295_728);
        let codes = pool.get_enum_by_name("google.rpc.Code").expect("there");
        let kinds = postern_core::Kind::ALL.map(|kind| i32::from(kind.grpc()));
        assert!(
            kinds
                .iter()
                .all(|number| codes.get_value(*number).is_some())
        );
        assert_eq!(codes.values().len(), kinds.len() + 1);
    }
}
