//! JSON Schemas (2020-12) of what methods take and give: whether one can be used, how parameters are read
//! by it, and whether a message fits it.
//!
//! Plugins write schemas and anybody writes messages, so both are bounded. References stay within their
//! schema, none comes back to itself at one place of a message, patterns take linear time, and a check
//! ends after a number of steps that grows with the message (`checker.rs`).

mod audit;
mod checker;
mod faults;
mod method;
mod shape;
mod unique;
mod walk;

use postern_core::service::TypeSchemas;
use serde_json::Value as Json;

pub(crate) use self::{
    audit::SchemaError,
    method::MethodSchema,
    shape::members,
    walk::{children_mut, pointed},
};

/// Reads a schema and says whether it can be used.
///
/// # Errors
/// Why it cannot.
pub(crate) fn parse(text: &str) -> Result<Json, SchemaError> {
    let schema =
        serde_json::from_str(text).map_err(|error| SchemaError::Json(error.to_string()))?;
    audit::audit(&schema)?;
    Ok(schema)
}

/// Whether each of `schemas` can be used, also to check messages.
///
/// # Errors
/// The name of the first that cannot, and why.
pub(crate) fn check_all(schemas: &TypeSchemas) -> Result<(), String> {
    for (name, text) in schemas {
        let refused = |error: SchemaError| format!("the schema of type {name} {error}");
        let schema = parse(text).map_err(refused)?;
        checker::Checker::compile(&schema).map_err(refused)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_that_cannot_be_used_is_named() {
        let schemas = |text: &'static str| TypeSchemas::from([("User".into(), text.into())]);
        assert_eq!(check_all(&schemas("{\"type\":\"object\"}")), Ok(()));
        for (text, why) in [
            (
                "{",
                "is no JSON: EOF while parsing an object at line 1 column 1",
            ),
            ("7", "is neither an object nor true or false"),
            (
                "{\"$ref\":\"#/$defs/Id\"}",
                "refers to \"#/$defs/Id\", which is not in it",
            ),
            (
                "{\"pattern\":\"(\"}",
                "cannot be used: \"(\" is not a \"regex\"",
            ),
        ] {
            let expected = format!("the schema of type User {why}");
            assert_eq!(check_all(&schemas(text)), Err(expected), "{text}");
        }
    }
}
