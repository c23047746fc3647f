//! What does not fit, in words for whoever sent it: which member, what it is, what is expected.

use jsonschema::{ValidationError, error::ValidationErrorKind};
use postern_net::http::SchemaFault;
use serde_json::Value as Json;

/// The faults of `errors`, as many as a reply has room for.
pub(super) fn of<'a>(errors: impl Iterator<Item = ValidationError<'a>>) -> Vec<SchemaFault> {
    let mut faults = Vec::new();
    for error in errors {
        push(&error, &mut faults);
        if faults.len() >= FAULTS_MAX {
            faults.truncate(FAULTS_MAX);
            break;
        }
    }
    faults
}

/// One fault for each member that an error is about: of what is missing and what is too much, the
/// library tells at the object around it.
fn push(error: &ValidationError<'_>, faults: &mut Vec<SchemaFault>) {
    let at = error.instance_path().as_str();
    let member = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    let kind = error.kind();
    if let ValidationErrorKind::Required { property } = kind {
        faults.push(SchemaFault {
            pointer: property.as_str().map_or_else(|| at.to_owned(), member),
            detail: "is missing".to_owned(),
        });
    } else if let ValidationErrorKind::AdditionalProperties { unexpected }
    | ValidationErrorKind::UnevaluatedProperties { unexpected } = kind
    {
        let many = unexpected.iter().take(FAULTS_MAX);
        faults.extend(many.map(|name| SchemaFault {
            pointer: member(name),
            detail: "is not known here".to_owned(),
        }));
    } else {
        // Every other kind is about the value where it is.
        faults.push(SchemaFault {
            pointer: at.to_owned(),
            detail: short(&error.masked_with(shown(error.instance())).to_string()),
        });
    }
}

/// A value at a length fit for a message; of what is long, what it is.
fn shown(value: &Json) -> String {
    let text = match value {
        Json::Array(items) => return format!("a list of {}", items.len()),
        Json::Object(_) => return "an object".to_owned(),
        Json::String(text) if text.len() > SHOWN_CHARS_MAX => {
            let begin: String = text.chars().take(SHOWN_CHARS_MAX / 2).collect();
            return format!("{begin:?}...");
        }
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => value.to_string(),
    };
    short(&text)
}

fn short(text: &str) -> String {
    match text.char_indices().nth(DETAIL_CHARS_MAX) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Faults of one message that are told.
const FAULTS_MAX: usize = 32;
const SHOWN_CHARS_MAX: usize = 100;
/// An expectation may name every value of an enumeration.
const DETAIL_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_member_is_named_with_its_value_and_what_is_expected() {
        let schema = json!({
            "properties": {
                "age": { "type": "integer", "minimum": 0 },
                "name": { "type": "string", "maxLength": 3 },
                "a/b": { "items": { "enum": ["x"] } },
            },
            "required": ["name", "email"],
            "additionalProperties": false,
        });
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let message = json!({ "age": -1, "name": "Adam", "a/b": ["x", 7], "c": 1, "d~": 2 });
        let mut told: Vec<_> = of(validator.iter_errors(&message))
            .into_iter()
            .map(|fault| format!("{}: {}", fault.pointer, fault.detail))
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                "/age: -1 is less than the minimum of 0",
                "/a~1b/1: 7 is not one of \"x\"",
                "/c: is not known here",
                "/d~0: is not known here",
                "/email: is missing",
                "/name: \"Adam\" is longer than 3 characters",
            ]
        );
    }

    #[test]
    fn there_are_as_many_as_a_reply_has_room_for() {
        let schema = json!({ "items": { "type": "null" } });
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let message = json!(vec!["x".repeat(5000); 100]);
        let faults = of(validator.iter_errors(&message));
        assert_eq!(faults.len(), FAULTS_MAX);
        assert!(faults.iter().all(|fault| fault.detail.len() < 200));
    }
}
