//! One rule beside the types of its method: every name in it is a field, and every field is of a kind
//! that can stand there.

use std::collections::BTreeMap;

use bytes::Bytes;
use postern_core::{
    Error, Text,
    route::{BodyField, HttpRequest, PathTemplate, QueryField, Transcoded, Transcoder},
    service::CallKind,
};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};

use super::{
    fault::RuleProblem,
    field::{self, FieldPath, is_one_value, shape},
    rule::HttpRule,
    value,
};

/// How one rule asks its method.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) kind: CallKind,
    pub(super) input: MessageDescriptor,
    pub(super) output: MessageDescriptor,
    /// Fields of the path by its variables.
    pub(super) variables: BTreeMap<Text, FieldPath>,
    pub(super) body: BodyField,
    /// The field that is the body.
    pub(super) body_field: Option<FieldDescriptor>,
    /// The field that is sent of a reply, by its name in JSON.
    pub(super) response_body: Option<(Text, FieldDescriptor)>,
}

impl Binding {
    /// The path of `rule`, which is the binding `number` of `method`, and what it asks the method.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn new(
        method: &MethodDescriptor,
        number: usize,
        rule: &HttpRule,
    ) -> Result<(PathTemplate, Self), Vec<RuleProblem>> {
        let (input, output) = (method.input(), method.output());
        let mut problems = Vec::new();
        if rule.is_nested && number > 0 {
            problems.push(RuleProblem::Nested);
        }
        problems.extend(wrong_verb(rule));
        let path = rule.path.as_deref().ok_or(RuleProblem::NoPattern);
        let path = path.and_then(|path| Ok(PathTemplate::parse_http_rule(path)?));
        let path = path.map_err(|problem| problems.push(problem)).ok();
        let variables = path
            .iter()
            .flat_map(PathTemplate::names)
            .filter_map(|name| {
                let found = variable(&input, name);
                let found = found.map_err(|problem| problems.push(problem)).ok()?;
                Some((name.clone(), found))
            })
            .collect::<BTreeMap<_, _>>();
        let body_field = body_field(&input, &rule.body, &variables);
        let body_field = body_field.unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let response_body = response_field(&output, &rule.response_body);
        let response_body = response_body.unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        let Some(path) = path.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        let body = match (&*rule.body, &body_field) {
            ("*", _) => BodyField::Whole,
            (_, Some(field)) => BodyField::Field(field.json_name().into()),
            (_, None) => BodyField::None,
        };
        let binding = Self {
            kind: kind_of(method),
            input,
            output,
            variables,
            body,
            body_field,
            response_body,
        };
        Ok((path, binding))
    }

    /// Whether the body is octets of some media type.
    pub(super) fn takes_http_body(&self) -> bool {
        match (&self.body, &self.body_field) {
            (BodyField::Whole, _) => is_http_body(&self.input),
            (BodyField::None | BodyField::Field(_), Some(field)) => {
                field.kind().as_message().is_some_and(is_http_body)
            }
            (BodyField::None | BodyField::Field(_), None) => false,
        }
    }

    /// The type of what is sent of a reply, where it is a message.
    pub(super) fn response_type(&self) -> Option<MessageDescriptor> {
        match &self.response_body {
            None => Some(self.output.clone()),
            Some((_, field)) => field.kind().as_message().cloned(),
        }
    }

    /// Whether a variable of the path says the field at `path`.
    pub(super) fn is_in_path(&self, path: &FieldPath) -> bool {
        self.variables.values().any(|known| known == path)
    }

    fn add_query_fields(
        &self,
        message: &MessageDescriptor,
        within: &[FieldDescriptor],
        found: &mut Vec<QueryField>,
    ) {
        let fields = message.fields().filter(|field| !field.is_map());
        for field in fields {
            if within.is_empty() && self.body_field.as_ref() == Some(&field) {
                continue;
            }
            let mut fields = within.to_vec();
            fields.push(field.clone());
            let names: Vec<_> = fields.iter().map(FieldDescriptor::json_name).collect();
            let name = names.join(".");
            let kind = field.kind();
            if value::has_text(&kind) {
                let path = FieldPath::find(&self.input, &name);
                let is_in_path = path.is_ok_and(|path| self.is_in_path(&path));
                if !is_in_path && found.len() < QUERY_FIELDS_MAX {
                    found.push(QueryField {
                        name: name.into(),
                        kind: value::param_type(&kind),
                        is_list: field.is_list(),
                    });
                }
            } else if let Kind::Message(inner) = kind
                && !field.is_list()
                && !is_one_value(&inner)
                && fields.len() < QUERY_DEPTH_MAX
            {
                self.add_query_fields(&inner, &fields, found);
            }
        }
    }
}

impl Transcoder for Binding {
    fn kind(&self) -> CallKind {
        self.kind
    }

    fn body(&self) -> &BodyField {
        &self.body
    }

    fn takes_octets(&self) -> bool {
        self.takes_http_body()
    }

    fn gives_octets(&self) -> bool {
        self.response_type().is_some_and(|sent| is_http_body(&sent))
    }

    fn response_body(&self) -> Option<&Text> {
        self.response_body.as_ref().map(|(name, _)| name)
    }

    fn query_fields(&self) -> Vec<QueryField> {
        let mut found = Vec::new();
        if self.body != BodyField::Whole {
            self.add_query_fields(&self.input, &[], &mut found);
        }
        found
    }

    fn message(&self, request: &HttpRequest<'_>) -> Result<Bytes, Error> {
        self.to_message(request)
    }

    fn reply(&self, message: &Bytes) -> Result<Transcoded, Error> {
        self.to_reply(message)
    }
}

/// What JSON has of `google.api.HttpBody` is not sent as JSON: google/api/httpbody.proto.
pub(super) fn is_http_body(message: &MessageDescriptor) -> bool {
    message.full_name() == "google.api.HttpBody"
}

fn kind_of(method: &MethodDescriptor) -> CallKind {
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => CallKind::Unary,
        (true, false) => CallKind::ClientStream,
        (false, true) => CallKind::ServerStream,
        (true, true) => CallKind::Bidirectional,
    }
}

/// A method is a token (RFC 9110 section 9.1).
fn wrong_verb(rule: &HttpRule) -> Option<RuleProblem> {
    let verb = rule.verb.as_deref()?;
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let is_verb = !verb.is_empty() && verb.chars().all(is_token);
    (!is_verb).then(|| RuleProblem::Verb(verb.to_owned()))
}

/// The field that a variable of the path says: "must not refer to any repeated or mapped field", and a
/// message has no text.
fn variable(input: &MessageDescriptor, name: &Text) -> Result<FieldPath, RuleProblem> {
    let found = FieldPath::find(input, name).map_err(|error| RuleProblem::Variable {
        name: name.to_string(),
        error,
    })?;
    let what = found.last().and_then(|field| {
        let is_message = || field.kind().as_message().is_some();
        shape(field).or_else(|| is_message().then_some("a message"))
    });
    match what {
        Some(what) => Err(RuleProblem::VariableType {
            name: name.to_string(),
            what,
        }),
        None => Ok(found),
    }
}

fn body_field(
    input: &MessageDescriptor,
    name: &str,
    variables: &BTreeMap<Text, FieldPath>,
) -> Result<Option<FieldDescriptor>, RuleProblem> {
    if matches!(name, "" | "*") {
        return Ok(None);
    }
    let name_of = || name.to_owned();
    let found = field::field(input, name).map_err(|error| RuleProblem::Body {
        name: name_of(),
        error,
    })?;
    if let Some(what) = shape(&found) {
        return Err(RuleProblem::BodyType {
            name: name_of(),
            what,
        });
    }
    let is_variable = |path: &FieldPath| path.fields() == [found.clone()];
    match variables.values().any(is_variable) {
        true => Err(RuleProblem::BodyInPath { name: name_of() }),
        false => Ok(Some(found)),
    }
}

fn response_field(
    output: &MessageDescriptor,
    name: &str,
) -> Result<Option<(Text, FieldDescriptor)>, RuleProblem> {
    if name.is_empty() {
        return Ok(None);
    }
    let found = field::field(output, name).map_err(|error| RuleProblem::ResponseBody {
        name: name.to_owned(),
        error,
    })?;
    Ok(Some((found.json_name().into(), found)))
}

/// Messages within each other whose fields are shown as parameters of a query; a type may hold itself.
const QUERY_DEPTH_MAX: usize = 4;
/// Parameters that are shown.
const QUERY_FIELDS_MAX: usize = 256;
