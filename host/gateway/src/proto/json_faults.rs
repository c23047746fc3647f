//! Why JSON is not a message: the field, and what is wrong with it. The reader of JSON says neither the
//! path nor what was meant, so what it has refused is looked through once more, part by part.

use bytes::Bytes;
use postern_core::Error;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

use super::codec::strictly;
use crate::nearest::nearest;

/// Where a fault is and what it is.
struct FieldFault {
    /// As callers write it: `user.emails.0`.
    path: String,
    reason: String,
}

/// What to say of `octets`, which were refused with `error`.
pub(super) fn explain(
    descriptor: &MessageDescriptor,
    octets: &Bytes,
    error: &serde_json::Error,
) -> Error {
    let name = descriptor.full_name();
    match find(descriptor, octets) {
        Some(FieldFault { path, reason }) => {
            let message = format!("field {path:?} of {name} {reason}");
            // google.rpc.BadRequest, as clients of gRPC expect it.
            let violation = json!({ "field": path, "description": reason });
            let details = json!([{ "@type": BAD_REQUEST, "fieldViolations": [violation] }]);
            Error::invalid_argument(message).with_details(details.to_string())
        }
        None => Error::invalid_argument(format!("no message {name} in JSON: {error}")),
    }
}

fn find(descriptor: &MessageDescriptor, octets: &Bytes) -> Option<FieldFault> {
    if octets.len() > SEARCHED_BYTES_MAX {
        return None;
    }
    let value: Json = serde_json::from_slice(octets).ok()?;
    let mut path = Vec::new();
    let reason = in_message(descriptor, &value, &mut path)?;
    let path = path.join(".");
    Some(FieldFault { path, reason }).filter(|fault| !fault.path.is_empty())
}

/// The first fault within a message, whose place is added to `path`. `None` where no part of it is
/// wrong by itself.
fn in_message(
    descriptor: &MessageDescriptor,
    value: &Json,
    path: &mut Vec<String>,
) -> Option<String> {
    // The JSON of these is not that of their fields.
    if descriptor.package_name() == "google.protobuf" {
        return None;
    }
    let members = value.as_object()?;
    for (name, member) in members {
        let Err(reason) = read(descriptor, name, member.clone()) else {
            continue;
        };
        path.push(name.clone());
        let field = descriptor.get_field_by_json_name(name);
        let Some(field) = field.or_else(|| descriptor.get_field_by_name(name)) else {
            return Some(unknown(descriptor, name));
        };
        return Some(in_field(descriptor, (&field, name), member, path).unwrap_or(reason));
    }
    None
}

/// The fault within the value of a field. `None` where it is wrong as a whole.
fn in_field(
    descriptor: &MessageDescriptor,
    (field, name): (&FieldDescriptor, &str),
    value: &Json,
    path: &mut Vec<String>,
) -> Option<String> {
    let kind = field.kind();
    let entry = kind.as_message().filter(|_| field.is_map());
    let entry = entry.map(|entry| entry.map_entry_value_field().kind());
    let (kind, parts) = match (value, entry) {
        (Json::Object(members), Some(kind)) => {
            let part = |(key, item): (&String, &Json)| {
                (key.clone(), json!({ key.as_str(): item }), item.clone())
            };
            (kind, members.iter().map(part).collect::<Vec<_>>())
        }
        (Json::Array(items), None) if field.is_list() => {
            let part = |(at, item): (usize, &Json)| (at.to_string(), json!([item]), item.clone());
            (field.kind(), items.iter().enumerate().map(part).collect())
        }
        (Json::Object(_), None) if !field.is_list() => {
            let Kind::Message(message) = field.kind() else {
                return None;
            };
            return in_message(&message, value, path);
        }
        _ => return None,
    };
    for (place, alone, item) in parts {
        let Err(reason) = read(descriptor, name, alone) else {
            continue;
        };
        path.push(place);
        let within = kind.as_message();
        let within = within.and_then(|message| in_message(message, &item, path));
        return Some(within.unwrap_or(reason));
    }
    None
}

/// Whether a message takes `value` for its member `name`, all else being absent.
fn read(descriptor: &MessageDescriptor, name: &str, value: Json) -> Result<(), String> {
    let alone = Json::Object(Map::from_iter([(name.to_owned(), value)]));
    let read = DynamicMessage::deserialize_with_options(descriptor.clone(), alone, &strictly());
    read.map(drop)
        .map_err(|error| format!("cannot be read: {error}"))
}

fn unknown(descriptor: &MessageDescriptor, name: &str) -> String {
    let names: Vec<_> = descriptor
        .fields()
        .map(|field| field.json_name().to_owned())
        .collect();
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("is unknown; did you mean {near:?}?"),
        None => "is unknown".to_owned(),
    }
}

const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
/// JSON that is looked through part by part, each of them as often as it is deep.
const SEARCHED_BYTES_MAX: usize = 64 * 1024;
