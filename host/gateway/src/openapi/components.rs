//! Types of services as schemas of one document: each under a name of its own, their references led
//! there.

use std::collections::{BTreeMap, BTreeSet};

use postern_core::service::{ServiceInfo, TypeInfo};
use serde_json::{Map, Value as Json, json};

use crate::schema;

/// The schemas of a document.
#[derive(Default)]
pub(super) struct Components {
    schemas: Map<String, Json>,
    /// What each was before its references were led elsewhere, with all that it refers to.
    sources: BTreeMap<String, Json>,
    /// Types that are there, by service and name.
    known: BTreeMap<(String, String), Option<HoistedType>>,
}

/// A type whose parts have their places in the document.
#[derive(Debug, Clone)]
pub(super) struct HoistedType {
    /// The schema as its service tells it.
    pub root: Json,
    /// Names of components, by the pointers of what they were; that of the root is the empty one.
    names: BTreeMap<String, String>,
    /// Whether the root is a component; what is no object stands where it is used.
    is_named: bool,
}

impl Components {
    /// What the type of a message is; `None` where nobody says.
    pub(super) fn hoist(&mut self, service: &ServiceInfo, info: &TypeInfo) -> Option<HoistedType> {
        let key = (service.name.to_string(), info.name.to_string());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let hoisted = service
            .schema(info)
            .and_then(|text| schema::parse(text).ok());
        let hoisted = hoisted.map(|root| self.hoist_new(&service.name, &info.name, root));
        self.known.insert(key, hoisted.clone());
        hoisted
    }

    /// The schema of a message: a reference to a component, or the schema itself; `{}` where nobody says.
    pub(super) fn schema(&mut self, service: &ServiceInfo, info: &TypeInfo) -> Json {
        let hoisted = self.hoist(service, info);
        hoisted.map_or_else(|| json!({}), |hoisted| hoisted.schema())
    }

    pub(super) fn into_json(self) -> Json {
        let mut schemas = self.schemas;
        schemas.extend(failure_schemas());
        json!({ "schemas": schemas, "responses": failure_responses() })
    }

    fn hoist_new(&mut self, service: &str, name: &str, root: Json) -> HoistedType {
        let definitions = definitions(&root);
        let is_named = root.get("properties").is_some() || refers_to_root(&root);
        let mut names = BTreeMap::new();
        let mut new = Vec::new();
        let root_part = is_named.then(|| (String::new(), name.to_owned(), without(&root, name)));
        let parts = definitions
            .iter()
            .map(|(pointer, name, part)| (pointer.clone(), name.clone(), without(part, name)));
        for (pointer, name, part) in root_part.into_iter().chain(parts) {
            let source = json!({ "is": part, "with": reached(&root, &part) });
            let wanted = component_name(service, &name);
            let others = (2_u32..).map(|n| format!("{wanted}_{n}"));
            let mut candidates = std::iter::once(wanted.clone()).chain(others);
            let free = |name: &String| {
                let known = self.sources.get(name);
                known.is_none_or(|known| *known == source)
            };
            // Numbers do not end.
            let found = candidates.find(free).unwrap_or_default();
            if self.sources.insert(found.clone(), source).is_none() {
                new.push((found.clone(), part));
            }
            names.insert(pointer, found);
        }
        let hoisted = HoistedType {
            root,
            names,
            is_named,
        };
        for (name, part) in new {
            self.schemas.insert(name, hoisted.rewritten(&part));
        }
        hoisted
    }
}

impl HoistedType {
    /// The schema of the whole.
    pub(super) fn schema(&self) -> Json {
        match self.names.get("").filter(|_| self.is_named) {
            Some(name) => json!({ "$ref": format!("#/components/schemas/{name}") }),
            None => self.rewritten(&without(&self.root, "")),
        }
    }

    /// The schema of a member.
    pub(super) fn member(&self, name: &str) -> Option<Json> {
        let members = schema::members(&self.root, &self.root);
        let schema = members.all.get(name)?;
        Some(self.rewritten(schema))
    }

    /// A schema within, with its references led to where their targets are in the document.
    pub(super) fn rewritten(&self, part: &Json) -> Json {
        let mut part = part.clone();
        self.rewrite(&mut part);
        part
    }

    fn rewrite(&self, part: &mut Json) {
        let Json::Object(part) = part else {
            return;
        };
        if let Some(reference) = part.get_mut("$ref")
            && let Some(target) = reference.as_str().and_then(schema::pointed)
            && let Some(led) = self.led(&target)
        {
            *reference = led.into();
        }
        schema::children_mut(part, &mut |child| self.rewrite(child));
    }

    /// Where what a pointer names is in the document: below the definition that has it.
    fn led(&self, pointer: &str) -> Option<String> {
        let within = |known: &&String| {
            let rest = pointer.strip_prefix(known.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let known = self
            .names
            .keys()
            .filter(within)
            .max_by_key(|known| known.len())?;
        let (name, rest) = (self.names.get(known)?, pointer.get(known.len()..)?);
        Some(format!("#/components/schemas/{name}{rest}"))
    }
}

/// The definitions of a schema: pointer, name, schema.
fn definitions(root: &Json) -> Vec<(String, String, Json)> {
    let mut found = Vec::new();
    for keyword in DEFINITIONS {
        let all = root.get(keyword).and_then(Json::as_object);
        for (name, part) in all.into_iter().flatten() {
            let escaped = name.replace('~', "~0").replace('/', "~1");
            found.push((format!("/{keyword}/{escaped}"), name.clone(), part.clone()));
        }
    }
    found
}

/// A schema without what concerns a document of its own, and without a title that says its name again.
fn without(part: &Json, name: &str) -> Json {
    let mut part = part.clone();
    if let Some(members) = part.as_object_mut() {
        for member in ["$schema", "$id"].iter().chain(&DEFINITIONS) {
            members.remove(*member);
        }
        if members.get("title").is_some_and(|title| *title == *name) {
            members.remove("title");
        }
    }
    part
}

/// All that `part` refers to within `root`, and what that refers to, by its pointer.
fn reached(root: &Json, part: &Json) -> Map<String, Json> {
    let mut found = Map::new();
    let mut left: Vec<String> = references(part).into_iter().collect();
    while let Some(pointer) = left.pop() {
        let Some(target) = root
            .pointer(&pointer)
            .filter(|_| !found.contains_key(&pointer))
        else {
            continue;
        };
        let target = without(target, "");
        left.extend(references(&target));
        found.insert(pointer, target);
    }
    found
}

/// What a schema refers to.
fn references(part: &Json) -> BTreeSet<String> {
    fn collect(part: &mut Json, found: &mut BTreeSet<String>) {
        let Json::Object(part) = part else {
            return;
        };
        let reference = part.get("$ref").and_then(Json::as_str);
        found.extend(reference.and_then(schema::pointed));
        schema::children_mut(part, &mut |child| collect(child, found));
    }
    let mut found = BTreeSet::new();
    collect(&mut part.clone(), &mut found);
    found
}

/// Whether something within refers to the root, or to a part of it that is no definition.
fn refers_to_root(root: &Json) -> bool {
    let is_definition = |pointer: &String| {
        let mut keywords = DEFINITIONS.iter();
        keywords.any(|keyword| pointer.starts_with(&format!("/{keyword}/")))
    };
    references(root)
        .iter()
        .any(|pointer| !is_definition(pointer))
}

/// Section 4.8.7: letters, digits, dots, dashes and underscores.
fn component_name(service: &str, name: &str) -> String {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let legal = |c: char| if is_legal(c) { c } else { '_' };
    format!("{service}.{name}").chars().map(legal).collect()
}

/// The forms that errors have; names of services' types have a dot.
fn failure_schemas() -> Map<String, Json> {
    let fault = json!({
        "type": "object",
        "description": "What of a request does not fit.",
        "properties": {
            "pointer": { "type": "string", "description": "Where: a JSON Pointer." },
            "detail": { "type": "string" },
        },
        "required": ["pointer", "detail"],
    });
    let errors = json!({ "type": "array", "items": { "$ref": "#/components/schemas/Fault" } });
    let error = json!({
        "type": "object",
        "properties": {
            "error": { "type": "string" },
            "code": { "type": "integer", "description": "The status." },
            "details": { "description": "For programs." },
            "errors": errors,
        },
        "required": ["error", "code"],
    });
    let problem = json!({
        "type": "object",
        "description": "Problem details (RFC 9457).",
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "kind": { "type": "string", "description": "Why, in the terms of gRPC: not-found." },
            "details": { "description": "For programs." },
            "errors": errors,
        },
        "required": ["type", "title", "status", "detail", "kind"],
    });
    let status = json!({
        "type": "object",
        "description": "An error as Google's APIs have it (AIP-193).",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": { "type": "integer", "description": "The status of HTTP." },
                    "message": { "type": "string" },
                    "status": { "type": "string", "description": "The status of gRPC: NOT_FOUND." },
                    "details": {
                        "type": "array",
                        "items": { "type": "object", "properties": { "@type": { "type": "string" } } },
                    },
                },
                "required": ["code", "message", "status"],
            },
        },
        "required": ["error"],
    });
    let schemas = [
        ("Fault", fault),
        ("Error", error),
        ("Problem", problem),
        ("Status", status),
    ];
    schemas
        .into_iter()
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

fn failure_responses() -> Json {
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    let error = json!({ "schema": { "$ref": "#/components/schemas/Error" } });
    let description = "The call failed; the status is that of its kind.";
    let status = json!({ "schema": { "$ref": "#/components/schemas/Status" } });
    let [failure, problems, statuses] = FAILURE_RESPONSES;
    json!({
        failure: {
            "description": description,
            "content": { "application/json": error, "application/problem+json": problem },
        },
        problems: {
            "description": description,
            "content": { "application/problem+json": problem },
        },
        statuses: {
            "description": description,
            "content": { "application/json": status, "application/problem+json": problem },
        },
    })
}

/// Of routes that answer as the client asks, of those that always answer with problem details, and of those
/// that a schema says.
pub(super) const FAILURE_RESPONSES: [&str; 3] = ["Failure", "Problem", "Status"];
/// Keywords of definitions, the second of older drafts.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
