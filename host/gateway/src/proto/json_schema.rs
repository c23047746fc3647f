//! JSON Schemas (2020-12) of messages: what the JSON mapping of proto3 takes for them. Each stands for
//! itself, with the types that it refers to.

use std::collections::{BTreeMap, btree_map::Entry};

use postern_core::{Text, service::TypeSchemas};
use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value as Json, json};

/// The schemas of `messages` by their full names. Those that come after `SCHEMAS_BYTES_MAX` octets are
/// left out: a method may name a type that nobody describes.
pub(super) fn of_messages(messages: impl IntoIterator<Item = MessageDescriptor>) -> TypeSchemas {
    let mut schemas = TypeSchemas::new();
    let mut n_bytes = 0;
    for message in messages {
        let name = Text::from(message.full_name());
        if schemas.contains_key(&name) {
            continue;
        }
        let schema = of_message(&message).to_string();
        n_bytes += schema.len();
        if n_bytes > SCHEMAS_BYTES_MAX {
            break;
        }
        schemas.insert(name, Text::from(schema));
    }
    schemas
}

fn of_message(message: &MessageDescriptor) -> Json {
    if let Some(schema) = well_known(message) {
        return schema;
    }
    let mut referred = Referred {
        root: message.full_name(),
        messages: Vec::new(),
    };
    let mut schema = object(message, &mut referred);
    let mut definitions = BTreeMap::new();
    while let Some(next) = referred.messages.pop() {
        let Entry::Vacant(vacant) = definitions.entry(next.full_name().to_owned()) else {
            continue;
        };
        vacant.insert(object(&next, &mut referred));
        if definitions.len() >= DEFINITIONS_MAX {
            break;
        }
    }
    // What there was no room for may be anything.
    for rest in referred.messages {
        definitions
            .entry(rest.full_name().to_owned())
            .or_insert(Json::Bool(true));
    }
    if let (false, Some(schema)) = (definitions.is_empty(), schema.as_object_mut()) {
        schema.insert("$defs".to_owned(), json!(definitions));
    }
    schema
}

/// What a schema refers to beside itself.
struct Referred<'a> {
    /// Its own type.
    root: &'a str,
    messages: Vec<MessageDescriptor>,
}

impl Referred<'_> {
    fn add(&mut self, message: &MessageDescriptor) -> String {
        let name = message.full_name();
        if name == self.root {
            return "#".to_owned();
        }
        self.messages.push(message.clone());
        // Names of types have letters, digits, `_` and `.`: nothing that a pointer has to escape.
        format!("#/$defs/{name}")
    }
}

fn object(message: &MessageDescriptor, referred: &mut Referred<'_>) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in message.fields() {
        let name = field.json_name().to_owned();
        if field.is_required() {
            required.push(name.clone());
        }
        properties.insert(name, of_field(&field, referred));
    }
    let mut object = json!({ "type": "object", "properties": properties });
    if let (false, Some(object)) = (required.is_empty(), object.as_object_mut()) {
        object.insert("required".to_owned(), required.into());
    }
    object
}

fn of_field(field: &FieldDescriptor, referred: &mut Referred<'_>) -> Json {
    if let (true, Kind::Message(entry)) = (field.is_map(), field.kind()) {
        let value = of_kind(&entry.map_entry_value_field().kind(), referred);
        return json!({ "type": "object", "additionalProperties": value });
    }
    let one = of_kind(&field.kind(), referred);
    if field.is_list() {
        json!({ "type": "array", "items": one })
    } else {
        one
    }
}

/// Integers of 64 bits are written as strings, because doubles do not hold them; both forms are read for
/// every number.
fn of_kind(kind: &Kind, referred: &mut Referred<'_>) -> Json {
    let number = |minimum: i64, maximum: i64| {
        json!({
            "type": ["integer", "string"],
            "minimum": minimum,
            "maximum": maximum,
            "pattern": INTEGER,
        })
    };
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => number(i32::MIN.into(), i32::MAX.into()),
        Kind::Uint32 | Kind::Fixed32 => number(0, u32::MAX.into()),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            json!({ "type": ["string", "integer"], "format": "int64", "pattern": INTEGER })
        }
        Kind::Uint64 | Kind::Fixed64 => {
            let pattern = "^[0-9]+$";
            json!({ "type": ["string", "integer"], "format": "uint64", "minimum": 0, "pattern": pattern })
        }
        Kind::Float | Kind::Double => json!({ "type": ["number", "string"] }),
        Kind::Enum(values) => of_enum(values),
        Kind::Message(message) => well_known(message).unwrap_or_else(|| {
            let reference = referred.add(message);
            json!({ "$ref": reference })
        }),
    }
}

fn of_enum(values: &EnumDescriptor) -> Json {
    if values.full_name() == "google.protobuf.NullValue" {
        return json!({ "type": "null" });
    }
    let names: Vec<_> = values
        .values()
        .map(|value| value.name().to_owned())
        .collect();
    // A number that has no name is a value too.
    json!({ "anyOf": [{ "type": "string", "enum": names }, { "type": "integer" }] })
}

/// Types whose JSON is not that of their fields (protobuf.dev, "ProtoJSON format").
fn well_known(message: &MessageDescriptor) -> Option<Json> {
    let name = message.full_name().strip_prefix("google.protobuf.")?;
    let or_null = |kind: &str| json!({ "type": [kind, "null"] });
    Some(match name {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$" }),
        "FieldMask" => json!({ "type": "string" }),
        "Empty" | "Struct" => json!({ "type": "object" }),
        "ListValue" => json!({ "type": "array" }),
        "Value" => Json::Bool(true),
        "Any" => {
            let properties = json!({ "@type": { "type": "string" } });
            json!({ "type": "object", "properties": properties })
        }
        "BoolValue" => or_null("boolean"),
        "StringValue" | "BytesValue" => or_null("string"),
        "Int32Value" | "UInt32Value" => json!({ "type": ["integer", "string", "null"] }),
        "Int64Value" | "UInt64Value" => json!({ "type": ["string", "integer", "null"] }),
        "FloatValue" | "DoubleValue" => json!({ "type": ["number", "string", "null"] }),
        _ => return None,
    })
}

const INTEGER: &str = "^-?[0-9]+$";
/// As for what a component tells of its types (`wasm`, role `schemas`).
const SCHEMAS_BYTES_MAX: usize = 1024 * 1024;
/// Types within one schema.
const DEFINITIONS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{proto::compile::compile_source, schema};

    fn schema_of(source: &str, message: &str) -> Json {
        let source = format!("syntax = \"proto3\"; package t;\n{source}");
        let pool = compile_source("t.proto", &source).expect("good");
        let message = pool.get_message_by_name(message).expect("there");
        let schemas = of_messages([message]);
        schema::check_all(&schemas).expect("it can be used");
        let text = schemas.into_values().next().expect("one");
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn fields_have_the_names_and_types_of_their_json() {
        let source = "import \"google/protobuf/timestamp.proto\";\n\
            enum Side { LEFT = 0; RIGHT = 1; }\n\
            message A { string user_id = 1; repeated int64 sizes = 2; map<string, Side> sides = 3;\n\
            google.protobuf.Timestamp at = 4; A next = 5; }";
        let schema = schema_of(source, "t.A");
        let properties = &schema["properties"];
        assert_eq!(properties["userId"], json!({ "type": "string" }));
        assert_eq!(properties["sizes"]["items"]["format"], "int64");
        let side = &properties["sides"]["additionalProperties"]["anyOf"][0];
        assert_eq!(side["enum"], json!(["LEFT", "RIGHT"]));
        assert_eq!(properties["at"]["format"], "date-time");
        assert_eq!(properties["next"], json!({ "$ref": "#" }));
    }

    #[test]
    fn schemas_are_bounded() {
        let n = DEFINITIONS_MAX + 10;
        let messages = (0..n).map(|n| format!("message M{n} {{ M{} next = 1; }}\n", n + 1));
        let source = format!("{}message M{n} {{}}", messages.collect::<String>());
        let schema = schema_of(&source, "t.M0");
        let definitions = schema["$defs"].as_object().expect("an object");
        assert_eq!(definitions.len(), DEFINITIONS_MAX + 1);
        assert_eq!(definitions[&format!("t.M{}", DEFINITIONS_MAX + 1)], true);
    }
}
