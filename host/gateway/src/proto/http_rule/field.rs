//! Fields by their paths: `name`, `shelf.theme`. A name is that of the schema or that of JSON.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::nearest::nearest;

/// A field of a message, or of a message within it. There is at least one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldPath(Vec<FieldDescriptor>);

/// Why a text is no path of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FieldError {
    #[error("{message} has no field {name:?}{}", .nearest.as_ref().map(|name| format!("; did you mean {name:?}?")).unwrap_or_default())]
    Unknown {
        message: String,
        name: String,
        nearest: Option<String>,
    },
    #[error("{name:?} is {what} and has no fields of its own here")]
    NoFields { name: String, what: &'static str },
}

impl FieldPath {
    /// The field at `path` in `message`.
    ///
    /// # Errors
    /// The first name that leads nowhere.
    pub(super) fn find(message: &MessageDescriptor, path: &str) -> Result<Self, FieldError> {
        let mut fields: Vec<FieldDescriptor> = Vec::new();
        let mut within = message.clone();
        for name in path.split('.') {
            if let Some(last) = fields.last() {
                within = inner(last).map_err(|what| FieldError::NoFields {
                    name: last.name().to_owned(),
                    what,
                })?;
            }
            fields.push(field(&within, name)?);
        }
        Ok(Self(fields))
    }

    pub(super) fn fields(&self) -> &[FieldDescriptor] {
        &self.0
    }

    /// The field itself. A path has at least one.
    pub(super) fn last(&self) -> Option<&FieldDescriptor> {
        self.0.last()
    }
}

/// The field of `message` that is called `name`, there or in JSON.
///
/// # Errors
/// That there is none, and the name that was probably meant.
pub(super) fn field(
    message: &MessageDescriptor,
    name: &str,
) -> Result<FieldDescriptor, FieldError> {
    let found = message
        .get_field_by_json_name(name)
        .or_else(|| message.get_field_by_name(name));
    found.ok_or_else(|| {
        let names: Vec<_> = message.fields().collect();
        let names = names.iter().map(FieldDescriptor::name);
        FieldError::Unknown {
            message: message.full_name().to_owned(),
            nearest: nearest(name, names).map(str::to_owned),
            name: name.chars().take(SHOWN_CHARS_MAX).collect(),
        }
    })
}

/// The message whose fields a path may go on with.
fn inner(field: &FieldDescriptor) -> Result<MessageDescriptor, &'static str> {
    match (shape(field), field.kind()) {
        (Some(what), _) => Err(what),
        (None, Kind::Message(message)) if is_one_value(&message) => Err("one value"),
        (None, Kind::Message(message)) => Ok(message),
        (None, _) => Err("one value"),
    }
}

/// What a field is that has several values.
pub(super) fn shape(field: &FieldDescriptor) -> Option<&'static str> {
    match (field.is_map(), field.is_list()) {
        (true, _) => Some("a map"),
        (false, true) => Some("a repeated field"),
        (false, false) => None,
    }
}

/// Whether JSON has messages of this type as something else than objects of their fields
/// (<https://protobuf.dev/programming-guides/json/>).
pub(super) fn is_one_value(message: &MessageDescriptor) -> bool {
    let name = message.full_name();
    let own = name.strip_prefix("google.protobuf.");
    own.is_some_and(|own| ONE_VALUE.contains(&own) || is_wrapper(own))
}

/// Whether `google.protobuf.NAME` is one value in a message of its own.
pub(super) fn is_wrapper(name: &str) -> bool {
    WRAPPERS.contains(&name)
}

const ONE_VALUE: [&str; 7] = [
    "Timestamp",
    "Duration",
    "FieldMask",
    "Struct",
    "Value",
    "ListValue",
    "Any",
];
const WRAPPERS: [&str; 9] = [
    "DoubleValue",
    "FloatValue",
    "Int64Value",
    "UInt64Value",
    "Int32Value",
    "UInt32Value",
    "BoolValue",
    "StringValue",
    "BytesValue",
];
const SHOWN_CHARS_MAX: usize = 100;
