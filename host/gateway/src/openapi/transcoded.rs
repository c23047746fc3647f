//! Operations of routes that a schema says itself, by `google.api.http`: what of a request is which field
//! of the message, as the rule has it.

use postern_core::{
    route::{BodyField, QueryField, SharedTranscoder},
    service::{CallKind, MethodInfo, ServiceInfo},
};
use serde_json::{Map, Value as Json, json};

use super::{
    components::{Components, FAILURE_RESPONSES, HoistedType},
    parameter::{
        EVENT_STREAM, JSON, NDJSON, media_in, object, of_kind, path_parameter, query_parameter,
        text,
    },
    paths::PathName,
};
use crate::schema;

/// A method by a rule.
pub(super) struct TranscodedOperation<'a> {
    pub transcoder: &'a SharedTranscoder,
    pub service: &'a ServiceInfo,
    pub method: &'a MethodInfo,
    pub names: &'a [PathName],
}

impl TranscodedOperation<'_> {
    pub(super) fn to_json(&self, components: &mut Components) -> Json {
        let Self {
            service, method, ..
        } = self;
        let request = components.hoist(service, &method.request);
        let request = request.as_ref();
        let in_path = self.names.iter().map(|name| in_path(name, request));
        let query = self.transcoder.query_fields();
        let in_query = query.iter().map(|field| in_query(field, request));
        let parameters: Vec<_> = in_path.chain(in_query).collect();
        let rest = self.names.iter().find(|name| name.is_rest);
        let note = rest.map(|name| {
            let shown = &name.shown;
            format!("{shown:?} takes all segments that are left.")
        });
        object([
            ("tags", json!([service.name.as_str()])),
            ("summary", text(&method.summary)),
            ("description", text(&note.unwrap_or_default())),
            (
                "parameters",
                match parameters.is_empty() {
                    true => Json::Null,
                    false => parameters.into(),
                },
            ),
            ("requestBody", self.body(request)),
            ("responses", self.responses(components)),
        ])
    }

    fn body(&self, request: Option<&HoistedType>) -> Json {
        let schema = match self.transcoder.body() {
            BodyField::None => return Json::Null,
            _ if self.transcoder.takes_octets() => {
                return json!({ "content": { "*/*": { "schema": {} } } });
            }
            BodyField::Whole => request.map(|request| self.whole(request)),
            BodyField::Field(name) => request.and_then(|request| request.member(name)),
        };
        let schema = schema.unwrap_or_else(|| json!({}));
        let media = media_in(self.method);
        json!({ "content": { media: { "schema": schema } } })
    }

    /// The message without the members that the path says.
    fn whole(&self, request: &HoistedType) -> Json {
        let members = schema::members(&request.root, &request.root);
        let is_in_path = |member: &str| {
            let mut names = self.names.iter();
            names.any(|name| json_name(&name.name) == member)
        };
        if !members.all.keys().any(|member| is_in_path(member)) {
            return request.schema();
        }
        let left = members.all.iter().filter(|(member, _)| !is_in_path(member));
        let left: Map<_, _> = left
            .map(|(member, schema)| ((*member).to_owned(), request.rewritten(schema)))
            .collect();
        json!({ "type": "object", "properties": left })
    }

    fn responses(&self, components: &mut Components) -> Json {
        let response = components.hoist(self.service, &self.method.response);
        let response = response.as_ref();
        let schema = match self.transcoder.response_body() {
            None => response.map(HoistedType::schema),
            Some(name) => response.and_then(|response| response.member(name)),
        };
        let schema = schema.unwrap_or_else(|| json!({}));
        let streams = matches!(
            self.transcoder.kind(),
            CallKind::ServerStream | CallKind::Bidirectional
        );
        let content = if self.transcoder.gives_octets() {
            json!({ "*/*": { "schema": {} } })
        } else if streams {
            json!({
                JSON: { "schema": { "type": "array", "items": schema } },
                NDJSON: { "schema": schema },
                EVENT_STREAM: { "schema": schema },
            })
        } else {
            json!({ JSON: { "schema": schema } })
        };
        let description = match streams {
            true => "Messages: elements of an array, lines or events.",
            false => "The reply.",
        };
        let [_, _, failure] = FAILURE_RESPONSES;
        json!({
            "200": { "description": description, "content": content },
            "default": { "$ref": format!("#/components/responses/{failure}") },
        })
    }
}

fn in_path(name: &PathName, request: Option<&HoistedType>) -> Json {
    if !name.is_whole {
        let description = match &*name.name {
            "" => String::new(),
            field => format!("A part of {field:?}."),
        };
        return path_parameter(&name.shown, of_kind(name.kind), &description);
    }
    let schema = request.and_then(|request| field(request, &name.name));
    path_parameter(
        &name.shown,
        schema.unwrap_or_else(|| of_kind(name.kind)),
        "",
    )
}

fn in_query(query: &QueryField, request: Option<&HoistedType>) -> Json {
    let schema = request.and_then(|request| field(request, &query.name));
    let schema = schema.unwrap_or_else(|| match query.is_list {
        true => json!({ "type": "array", "items": of_kind(query.kind) }),
        false => of_kind(query.kind),
    });
    query_parameter(&query.name, schema, false)
}

/// The schema of a field, `shelf.theme`, as far as it stands in that of the message.
fn field(request: &HoistedType, path: &str) -> Option<Json> {
    let mut within = &request.root;
    for name in path.split('.') {
        let members = schema::members(&request.root, within);
        within = members.all.get(json_name(name).as_str()).copied()?;
    }
    Some(request.rewritten(within))
}

/// The name in JSON of a field that a schema calls so: protoc makes `pageSize` of `page_size`.
fn json_name(name: &str) -> String {
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}
