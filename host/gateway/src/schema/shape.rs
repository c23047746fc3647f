//! The members of an object by its schema, and how one is written where there is only text.

use std::collections::{BTreeMap, BTreeSet};

use postern_core::route::ParamType;
use postern_net::http::ParamShape;
use serde_json::Value as Json;

use super::walk::pointed;

/// The members that an object may have.
#[derive(Debug, Default)]
pub(crate) struct Members<'a> {
    /// Their schemas, by name.
    pub all: BTreeMap<&'a str, &'a Json>,
    /// Those that are always there.
    pub required: BTreeSet<&'a str>,
}

/// The members of `schema`, which stands within `root`: its own, and those of what it is made of. What is
/// one of several is never required.
pub(crate) fn members<'a>(root: &'a Json, schema: &'a Json) -> Members<'a> {
    let mut members = Members::default();
    collect(root, schema, true, 0, &mut members);
    members
}

fn collect<'a>(
    root: &'a Json,
    schema: &'a Json,
    is_sure: bool,
    depth: usize,
    members: &mut Members<'a>,
) {
    if depth > DEPTH_MAX {
        return;
    }
    for (name, member) in schema
        .get("properties")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
    {
        members.all.entry(name).or_insert(member);
    }
    let required = schema.get("required").and_then(Json::as_array);
    if is_sure {
        let names = required.into_iter().flatten().filter_map(Json::as_str);
        members.required.extend(names);
    }
    if let Some(target) = target(root, schema) {
        collect(root, target, is_sure, depth + 1, members);
    }
    for (keyword, is_sure) in [("allOf", is_sure), ("anyOf", false), ("oneOf", false)] {
        for part in list(schema, keyword) {
            collect(root, part, is_sure, depth + 1, members);
        }
    }
}

/// How a value of `schema`, which stands within `root`, is written.
pub(super) fn shape(root: &Json, schema: &Json) -> ParamShape {
    let mut found = Found::default();
    found.collect(root, schema, 0);
    let list = found.items.map(|items| {
        let mut within = Found::default();
        within.collect(root, items, 0);
        within.kinds
    });
    let is_list = list.is_some();
    let mut kinds = found.kinds;
    kinds.extend(list.into_iter().flatten());
    // Bools and numbers read as nothing else, so texts come last.
    let order = [
        ParamType::Bool,
        ParamType::Int,
        ParamType::Number,
        ParamType::String,
    ];
    let kinds = order.into_iter().filter(|kind| kinds.contains(kind));
    ParamShape {
        kinds: kinds.collect(),
        is_list,
    }
}

/// What a schema allows.
#[derive(Default)]
struct Found<'a> {
    kinds: BTreeSet<ParamType>,
    /// Of the items, where it may be a list.
    items: Option<&'a Json>,
}

impl<'a> Found<'a> {
    fn collect(&mut self, root: &'a Json, schema: &'a Json, depth: usize) {
        if depth > DEPTH_MAX {
            return;
        }
        let types = match schema.get("type") {
            Some(Json::String(one)) => vec![one.as_str()],
            Some(Json::Array(many)) => many.iter().filter_map(Json::as_str).collect(),
            _ => Vec::new(),
        };
        let is_typed = !types.is_empty();
        for name in types {
            match name {
                "boolean" => drop(self.kinds.insert(ParamType::Bool)),
                "integer" => drop(self.kinds.insert(ParamType::Int)),
                "number" => drop(self.kinds.insert(ParamType::Number)),
                "string" => drop(self.kinds.insert(ParamType::String)),
                "array" => self.items = Some(schema.get("items").unwrap_or(&Json::Bool(true))),
                _ => {}
            }
        }
        let values = list(schema, "enum").iter().chain(schema.get("const"));
        for value in values.filter(|_| !is_typed) {
            match value {
                Json::Bool(_) => drop(self.kinds.insert(ParamType::Bool)),
                Json::Number(number) if number.is_f64() => {
                    self.kinds.insert(ParamType::Number);
                }
                Json::Number(_) => drop(self.kinds.insert(ParamType::Int)),
                Json::String(_) => drop(self.kinds.insert(ParamType::String)),
                Json::Null | Json::Array(_) | Json::Object(_) => {}
            }
        }
        if let Some(target) = target(root, schema) {
            self.collect(root, target, depth + 1);
        }
        for keyword in ["allOf", "anyOf", "oneOf"] {
            for part in list(schema, keyword) {
                self.collect(root, part, depth + 1);
            }
        }
    }
}

fn target<'a>(root: &'a Json, schema: &Json) -> Option<&'a Json> {
    let pointer = pointed(schema.get("$ref")?.as_str()?)?;
    root.pointer(&pointer)
}

fn list<'a>(schema: &'a Json, keyword: &str) -> &'a [Json] {
    let items = schema.get(keyword).and_then(Json::as_array);
    items.map_or(&[], Vec::as_slice)
}

/// Schemas within schemas that are gone into.
const DEPTH_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_are_those_of_all_parts() {
        let schema = json!({
            "properties": { "a": {} },
            "required": ["a"],
            "allOf": [{ "$ref": "#/$defs/B" }],
            "oneOf": [{ "properties": { "c": {} }, "required": ["c"] }],
            "$defs": { "B": { "properties": { "b": true }, "required": ["b"] } },
        });
        let members = members(&schema, &schema);
        assert_eq!(members.all.into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(members.required.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_shape_is_what_the_types_allow() {
        use ParamType::{Bool, Int, Number, String};
        let check = |schema: Json, kinds: &[ParamType], is_list: bool| {
            let root = json!({ "$defs": { "Id": { "type": "integer" } } });
            let kinds = kinds.to_vec();
            assert_eq!(
                shape(&root, &schema),
                ParamShape { kinds, is_list },
                "{schema}"
            );
        };
        check(json!({ "type": ["integer", "null"] }), &[Int], false);
        check(json!({ "type": "string", "enum": ["1"] }), &[String], false);
        check(
            json!({ "type": "array", "items": { "$ref": "#/$defs/Id" } }),
            &[Int],
            true,
        );
        check(
            json!({ "anyOf": [{ "$ref": "#/$defs/Id" }, { "type": "null" }] }),
            &[Int],
            false,
        );
        check(
            json!({ "anyOf": [{ "type": "string" }, { "type": "boolean" }] }),
            &[Bool, String],
            false,
        );
        check(
            json!({ "enum": ["a", 1, 2.5] }),
            &[Int, Number, String],
            false,
        );
        check(json!({ "type": "array" }), &[], true);
        check(json!({ "type": "object" }), &[], false);
        check(json!(true), &[], false);
    }
}
