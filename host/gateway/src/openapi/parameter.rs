//! Parameters of operations, and what operations of every kind are written with.

use postern_core::{
    route::ParamType,
    service::{CallKind, MethodInfo},
};
use serde_json::{Map, Value as Json, json};

/// An object with these members, without those that are null.
pub(super) fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
    let members = members.into_iter().filter(|(_, value)| !value.is_null());
    Json::Object(Map::from_iter(
        members.map(|(name, value)| (name.to_owned(), value)),
    ))
}

pub(super) fn path_parameter(name: &str, schema: Json, description: &str) -> Json {
    object([
        ("name", name.into()),
        ("in", "path".into()),
        ("required", true.into()),
        ("description", text(description)),
        ("schema", schema),
    ])
}

pub(super) fn query_parameter(name: &str, schema: Json, is_required: bool) -> Json {
    object([
        ("name", name.into()),
        ("in", "query".into()),
        ("required", is_required.into()),
        ("description", text(&description(&schema))),
        ("schema", schema),
    ])
}

pub(super) fn description(schema: &Json) -> String {
    let text = schema.get("description").and_then(Json::as_str);
    text.unwrap_or_default().to_owned()
}

/// A text, or nothing where it is empty.
pub(super) fn text(text: &str) -> Json {
    match text {
        "" => Json::Null,
        text => text.into(),
    }
}

pub(super) fn of_kind(kind: ParamType) -> Json {
    let name = match kind {
        ParamType::Int => "integer",
        ParamType::Number => "number",
        ParamType::Bool => "boolean",
        ParamType::String => "string",
    };
    json!({ "type": name })
}

/// What a request of the method is written in.
pub(super) const fn media_in(method: &MethodInfo) -> &'static str {
    match method.kind {
        Some(CallKind::ClientStream | CallKind::Bidirectional) => NDJSON,
        Some(CallKind::Unary | CallKind::ServerStream) | None => JSON,
    }
}

pub(super) const JSON: &str = "application/json";
pub(super) const NDJSON: &str = "application/x-ndjson";
pub(super) const EVENT_STREAM: &str = "text/event-stream";
