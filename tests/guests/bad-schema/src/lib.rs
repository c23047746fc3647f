//! Tells a schema that refers to what is not there.

use std::borrow::Cow;

use postern_guest::Octets;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

#[derive(Deserialize)]
struct Note {
    _text: String,
}

impl JsonSchema for Note {
    fn schema_name() -> Cow<'static, str> {
        "Note".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "$ref": "#/$defs/Nowhere" })
    }
}

struct BadSchema;

/// Takes notes.
#[postern_guest::service]
impl BadSchema {
    fn take(_: Note) -> Octets {
        Octets::default()
    }
}
