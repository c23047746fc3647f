//! Operations: what a request has, and what comes of it.

use std::collections::BTreeSet;

use postern_core::{
    HttpStatus,
    route::{BodyForm, HttpRoute, MethodEnd, ParamType},
    service::{CallKind, MethodInfo, ServiceInfo},
};
use serde_json::{Map, Value as Json, json};

use super::{
    components::{Components, FAILURE_RESPONSES, HoistedType},
    parameter::{
        EVENT_STREAM, JSON, NDJSON, description, media_in, object, of_kind, path_parameter,
        query_parameter, text,
    },
    paths::PathName,
};
use crate::schema;

/// A method at the path of the listener itself.
pub(super) struct MethodOperation<'a> {
    pub service: &'a ServiceInfo,
    pub method: &'a MethodInfo,
}

/// A method by a route, for one method of HTTP.
pub(super) struct RouteOperation<'a> {
    pub route: &'a HttpRoute,
    pub end: &'a MethodEnd,
    pub service: &'a ServiceInfo,
    pub method: &'a MethodInfo,
    pub verb: &'a str,
    pub names: &'a [PathName],
}

/// A body of a request: its schema, and whether there must be one.
struct BodySchema {
    schema: Json,
    is_required: bool,
}

impl MethodOperation<'_> {
    pub(super) fn to_json(&self, components: &mut Components) -> Json {
        let Self { service, method } = self;
        let hoisted = components.hoist(service, &method.request);
        let schema = hoisted
            .as_ref()
            .map_or_else(|| json!({}), HoistedType::schema);
        let is_required = hoisted.as_ref().is_some_and(|hoisted| {
            let root = &hoisted.root;
            !schema::members(root, root).required.is_empty()
        });
        // One that is described and names no type takes nothing.
        let takes_nothing = method.kind.is_some() && method.request.name.is_empty();
        let body = (!takes_nothing).then_some(BodySchema {
            schema,
            is_required,
        });
        let parameters = match &*method.name {
            "*" => json!([path_parameter("method", json!({ "type": "string" }), "")]),
            _ => Json::Null,
        };
        object([
            ("tags", json!([service.name.as_str()])),
            ("summary", text(&method.summary)),
            ("parameters", parameters),
            (
                "requestBody",
                body.map_or(Json::Null, |body| body.content(&[media_in(method)])),
            ),
            (
                "responses",
                responses(service, method, None, &[], FAILURE_RESPONSES[0], components),
            ),
        ])
    }
}

impl RouteOperation<'_> {
    pub(super) fn to_json(&self, components: &mut Components) -> Json {
        let Self {
            route,
            end,
            service,
            method,
            ..
        } = self;
        let hoisted = components.hoist(service, &method.request);
        let is_raw = end.body == BodyForm::Raw;
        let takes_query = ["get", "head", "delete"].contains(&self.verb);
        let mut parameters: Vec<_> = self
            .names
            .iter()
            .map(|name| self.in_path(name, hoisted.as_ref()))
            .collect();
        if takes_query && !is_raw {
            parameters.extend(self.in_query(hoisted.as_ref()));
        }
        parameters.extend(self.demanded());
        let body = match takes_query {
            true => Json::Null,
            false => self.request_body(hoisted.as_ref()),
        };
        let produces: Vec<_> = end.produces.iter().map(|media| media.as_str()).collect();
        let [failure, problem, _] = FAILURE_RESPONSES;
        let failure = match route.has_problems {
            true => problem,
            false => failure,
        };
        let note = match self.names.iter().any(|name| name.is_rest) {
            true => "The last parameter of the path takes all segments that are left.",
            false => "",
        };
        object([
            ("tags", json!([service.name.as_str()])),
            ("summary", text(&method.summary)),
            ("description", text(note)),
            (
                "parameters",
                match parameters.is_empty() {
                    true => Json::Null,
                    false => parameters.into(),
                },
            ),
            ("requestBody", body),
            (
                "responses",
                responses(
                    service,
                    method,
                    route.status,
                    &produces,
                    failure,
                    components,
                ),
            ),
        ])
    }

    /// What a body may be, by the route.
    fn request_body(&self, hoisted: Option<&HoistedType>) -> Json {
        let media: &[&str] = match (self.end.body, media_in(self.method)) {
            (BodyForm::Raw, _) => {
                let anything = BodySchema {
                    schema: json!({}),
                    is_required: false,
                };
                return anything.content(&["*/*"]);
            }
            (BodyForm::Form, JSON) => &[JSON, FORM, MULTIPART],
            (BodyForm::Json | BodyForm::Form, media) => &[media],
        };
        let body = self.body(hoisted);
        body.map_or(Json::Null, |body| body.content(media))
    }

    /// A parameter of the path, with the schema of the member that it becomes.
    fn in_path(&self, name: &PathName, hoisted: Option<&HoistedType>) -> Json {
        let member = hoisted.and_then(|hoisted| hoisted.member(&name.name));
        let description = member.as_ref().map(description).unwrap_or_default();
        let schema = match self.end.types.get(name.name.as_str()) {
            _ if name.kind != ParamType::String => of_kind(name.kind),
            Some(kind) => of_kind(*kind),
            None => member.unwrap_or_else(|| of_kind(ParamType::String)),
        };
        path_parameter(&name.shown, schema, &description)
    }

    /// The members that the path does not have, as parameters of the query.
    fn in_query(&self, hoisted: Option<&HoistedType>) -> Vec<Json> {
        let Some(hoisted) = hoisted else {
            // Names that the route gives types are known in any case.
            let stated = self.end.types.iter();
            let stated = stated.filter(|(name, _)| !self.is_in_path(name));
            return stated
                .map(|(name, kind)| query_parameter(name, of_kind(*kind), false))
                .collect();
        };
        let members = schema::members(&hoisted.root, &hoisted.root);
        let left = members
            .all
            .iter()
            .filter(|(name, _)| !self.is_in_path(name));
        let parameters = left.map(|(name, schema)| {
            let schema = match self.end.types.get(*name) {
                Some(kind) => of_kind(*kind),
                None => hoisted.rewritten(schema),
            };
            query_parameter(name, schema, members.required.contains(name))
        });
        parameters.collect()
    }

    /// Fields and parameters without which the route takes no request.
    fn demanded(&self) -> Vec<Json> {
        let rule = &self.route.rule;
        let schema = |value: &Option<postern_core::Text>| match value {
            Some(value) => json!({ "type": "string", "enum": [value.as_str()] }),
            None => json!({ "type": "string" }),
        };
        let headers = rule.headers.iter();
        // Section 4.8.12.2.1: these are said elsewhere.
        let headers = headers
            .filter(|rule| !["accept", "content-type", "authorization"].contains(&&*rule.name));
        let headers = headers.map(|rule| {
            json!({ "name": rule.name.as_str(), "in": "header", "required": true, "schema": schema(&rule.value) })
        });
        let query = rule.query.iter();
        let query = query.map(|rule| query_parameter(&rule.name, schema(&rule.value), true));
        headers.chain(query).collect()
    }

    /// What is left for the body once the path has its members.
    fn body(&self, hoisted: Option<&HoistedType>) -> Option<BodySchema> {
        let Some(hoisted) = hoisted else {
            let takes_nothing = self.method.kind.is_some() && self.method.request.name.is_empty();
            return (!takes_nothing).then(|| BodySchema {
                schema: json!({}),
                is_required: false,
            });
        };
        let members = schema::members(&hoisted.root, &hoisted.root);
        let in_path: BTreeSet<_> = self.names.iter().map(|name| name.name.as_str()).collect();
        let required: Vec<_> = members.required.difference(&in_path).copied().collect();
        let is_required = !required.is_empty();
        if !members.all.keys().any(|name| in_path.contains(name)) {
            return Some(BodySchema {
                schema: hoisted.schema(),
                is_required,
            });
        }
        let left: Map<_, _> = members
            .all
            .iter()
            .filter(|(name, _)| !in_path.contains(*name))
            .map(|(name, schema)| ((*name).to_owned(), hoisted.rewritten(schema)))
            .collect();
        let is_closed = hoisted.root.get("additionalProperties") == Some(&Json::Bool(false));
        if left.is_empty() && is_closed {
            return None;
        }
        let schema = object([
            ("type", "object".into()),
            ("properties", Json::Object(left)),
            (
                "required",
                match is_required {
                    true => json!(required),
                    false => Json::Null,
                },
            ),
            (
                "additionalProperties",
                match is_closed {
                    true => Json::Bool(false),
                    false => Json::Null,
                },
            ),
        ]);
        Some(BodySchema {
            schema,
            is_required,
        })
    }

    fn is_in_path(&self, name: &str) -> bool {
        self.names.iter().any(|known| known.name == name)
    }
}

impl BodySchema {
    fn content(&self, media: &[&str]) -> Json {
        let content = media.iter();
        let content: Map<_, _> = content
            .map(|media| ((*media).to_owned(), json!({ "schema": self.schema })))
            .collect();
        json!({ "content": content, "required": self.is_required })
    }
}

/// What comes of a call: its reply, and failures under every other status.
fn responses(
    service: &ServiceInfo,
    method: &MethodInfo,
    status: Option<HttpStatus>,
    produces: &[&str],
    failure: &str,
    components: &mut Components,
) -> Json {
    let schema = components.schema(service, &method.response);
    let streams = matches!(
        method.kind,
        Some(CallKind::ServerStream | CallKind::Bidirectional)
    );
    let media: Vec<(&str, Json)> = match (streams, produces) {
        (true, _) => vec![(NDJSON, schema.clone()), (EVENT_STREAM, schema)],
        (false, []) => vec![(JSON, schema)],
        // What is written there is no JSON of a type.
        (false, produces) => produces
            .iter()
            .map(|media| match media.ends_with("json") {
                true => (*media, schema.clone()),
                false => (*media, json!({})),
            })
            .collect(),
    };
    let content: Map<_, _> = media
        .into_iter()
        .map(|(media, schema)| (media.to_owned(), json!({ "schema": schema })))
        .collect();
    let description = match streams {
        true => "Messages, each a line or an event.",
        false => "The reply.",
    };
    let code = status.map_or(200, HttpStatus::number);
    let reply = match code {
        // RFC 9110 sections 15.3.5 and 15.4.5: no content.
        204 | 304 => json!({ "description": description }),
        _ => json!({ "description": description, "content": content }),
    };
    json!({
        code.to_string(): reply,
        "default": { "$ref": format!("#/components/responses/{failure}") },
    })
}

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";
