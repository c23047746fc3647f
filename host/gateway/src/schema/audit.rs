//! Whether a schema can be used: what it refers to is in it, and no check of it runs in a circle.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use super::walk::{Reach, children, pointed};

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("is no JSON: {0}")]
    Json(String),
    #[error("is neither an object nor true or false")]
    NoSchema,
    #[error("is of {0:?}; write it in https://json-schema.org/draft/2020-12/schema")]
    Dialect(String),
    #[error("has {0:?} within, which moves references; write them as \"#/$defs/NAME\"")]
    Keyword(&'static str),
    #[error("refers to {0:?}, which is not in it")]
    Reference(String),
    #[error("refers to {0:?} in a circle, at one and the same place of a message")]
    Circle(String),
    #[error("cannot be used: {0}")]
    Unusable(String),
}

/// What is about the same place of a message as the schema at a pointer, by pointers.
type SameInstance = BTreeMap<String, Vec<String>>;

/// # Errors
/// The first reason why the schema cannot be used.
pub(super) fn audit(schema: &Json) -> Result<(), SchemaError> {
    if let Some(dialect) = schema.get("$schema")
        && dialect.as_str().map(|name| name.trim_end_matches('#')) != Some(DIALECT)
    {
        return Err(SchemaError::Dialect(short(&dialect.to_string())));
    }
    let mut same_instance = SameInstance::new();
    let mut references = Vec::new();
    let mut left = vec![(String::new(), schema)];
    while let Some((at, schema)) = left.pop() {
        let within = match schema {
            Json::Object(within) => within,
            Json::Bool(_) => {
                same_instance.insert(at, Vec::new());
                continue;
            }
            Json::Null | Json::Number(_) | Json::String(_) | Json::Array(_) => {
                return Err(SchemaError::NoSchema);
            }
        };
        check_keywords(within, at.is_empty())?;
        let mut same = Vec::new();
        if let Some(reference) = within.get("$ref") {
            let written = reference.as_str().unwrap_or_default();
            let unresolved = || SchemaError::Reference(short(written));
            let target = pointed(written).ok_or_else(unresolved)?;
            references.push((target.clone(), written));
            same.push(target);
        }
        children(within, &mut |reach, pointer, child| {
            let pointer = format!("{at}{pointer}");
            if reach == Reach::Same {
                same.push(pointer.clone());
            }
            left.push((pointer, child));
        });
        same_instance.insert(at, same);
    }
    for (target, written) in references {
        if !same_instance.contains_key(&target) {
            return Err(SchemaError::Reference(short(written)));
        }
    }
    match circle(&same_instance) {
        Some(at) => Err(SchemaError::Circle(short(&format!("#{at}")))),
        None => Ok(()),
    }
}

fn check_keywords(schema: &Map<String, Json>, is_root: bool) -> Result<(), SchemaError> {
    // An address of the whole moves nothing: no reference may lead there.
    let mut moving = MOVING.into_iter().filter(|name| !is_root || *name != "$id");
    let found = moving.find(|name| schema.contains_key(*name));
    found.map_or(Ok(()), |keyword| Err(SchemaError::Keyword(keyword)))
}

/// A place of the schema that a check would come back to without going on in the message.
fn circle(same_instance: &SameInstance) -> Option<&str> {
    let mut done = BTreeSet::new();
    for start in same_instance.keys() {
        // The way to where it is, and what of each place is still to be looked at.
        let mut path: Vec<(&str, &[String])> =
            vec![(start.as_str(), children_of(same_instance, start))];
        let mut on_path = BTreeSet::from([start.as_str()]);
        while let Some((at, rest)) = path.last_mut() {
            let Some((next, others)) = rest.split_first() else {
                done.insert(*at);
                on_path.remove(*at);
                path.pop();
                continue;
            };
            *rest = others;
            if on_path.contains(next.as_str()) {
                return Some(next.as_str());
            }
            if !done.contains(next.as_str()) {
                on_path.insert(next.as_str());
                path.push((next.as_str(), children_of(same_instance, next)));
            }
        }
    }
    None
}

fn children_of<'a>(same_instance: &'a SameInstance, at: &str) -> &'a [String] {
    same_instance.get(at).map_or(&[], Vec::as_slice)
}

/// At a length fit for a message.
fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Keywords that give places of a schema other names than their pointers: Core sections 8.2.1 to 8.2.3.
const MOVING: [&str; 6] = [
    "$id",
    "$anchor",
    "$dynamicAnchor",
    "$dynamicRef",
    "$recursiveAnchor",
    "$recursiveRef",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused(schema: Json, why: &str) {
        let told = audit(&schema).expect_err("refused").to_string();
        assert!(told.contains(why), "{told}");
    }

    #[test]
    fn what_is_in_a_schema_may_be_referred_to() {
        let tree = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": "https://example.org/tree",
            "$ref": "#/$defs/Tree",
            "$defs": { "Tree": {
                "properties": { "left": { "$ref": "#/$defs/Tree" }, "right": { "$ref": "#" } },
            } },
        });
        assert_eq!(audit(&tree), Ok(()));
        assert_eq!(audit(&Json::Bool(true)), Ok(()));
        // Data is no schema.
        assert_eq!(
            audit(&json!({ "default": { "$ref": "#/nowhere" } })),
            Ok(())
        );
    }

    #[test]
    fn references_lead_to_schemas_within() {
        for reference in [
            "#/$defs/B",
            "other.json",
            "https://example.org/a",
            "#a",
            "#/title",
        ] {
            let schema = json!({ "title": "A", "items": { "$ref": reference } });
            refused(schema, &format!("refers to {reference:?}"));
        }
        refused(json!({ "$ref": 7 }), "refers to \"\"");
        let id = json!({ "items": { "$id": "https://example.org/a" } });
        refused(id, "has \"$id\" within");
        refused(json!({ "$anchor": "a" }), "has \"$anchor\" within");
        refused(
            json!({ "$schema": "http://json-schema.org/draft-07/schema#" }),
            "draft-07",
        );
    }

    #[test]
    fn no_check_runs_in_a_circle() {
        refused(json!({ "$ref": "#" }), "refers to \"#\" in a circle");
        let around = json!({
            "$ref": "#/$defs/A",
            "$defs": {
                "A": { "allOf": [{ "anyOf": [true, { "$ref": "#/$defs/B" }] }] },
                "B": { "not": { "$ref": "#/$defs/A" } },
            },
        });
        refused(around, "in a circle");
        // Twice the same is no circle.
        let twice = json!({
            "allOf": [{ "$ref": "#/$defs/A" }, { "$ref": "#/$defs/A" }],
            "$defs": { "A": {} },
        });
        assert_eq!(audit(&twice), Ok(()));
    }
}
