//! What a method is called with, from path, query and body.
//!
//! | of the request | becomes |
//! | --- | --- |
//! | a variable of the path | its field |
//! | the body, where the rule says `*` | the message, but for what the path says |
//! | the body, where the rule names a field | that field |
//! | a parameter of the query | its field, one of those that are neither in the path nor the body |

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use postern_core::{
    Error, json,
    route::{BodyField, HttpRequest, query_pairs},
};

use super::{
    binding::Binding,
    field::{FieldPath, shape},
    members::{BodyRule, Members},
    value,
    violations::Violations,
};

impl Binding {
    /// The message in JSON.
    ///
    /// # Errors
    /// `invalid-argument` with all that does not fit.
    pub(super) fn to_message(&self, request: &HttpRequest<'_>) -> Result<Bytes, Error> {
        let (mut members, mut violations) = (Members::default(), Violations::default());
        for param in request.params {
            let Some(path) = self.variables.get(param.name) else {
                continue;
            };
            add(
                &mut members,
                &mut violations,
                param.name,
                path,
                &param.value,
            );
        }
        self.add_query(request.query, &mut members, &mut violations)?;
        violations.check()?;
        let octets;
        let body: &[u8] = match self.takes_http_body() {
            true if !request.body.is_empty() => {
                octets = http_body(request);
                &octets
            }
            true | false => request.body.trim_ascii(),
        };
        let place = match (&self.body, &self.body_field) {
            (_, _) if body.is_empty() => BodyRule::Nowhere,
            (BodyField::Whole, _) if members.is_empty() && body == request.body => {
                // Nothing to add: whoever answers looks at it.
                return Ok(request.body.clone());
            }
            (BodyField::Whole, _) => BodyRule::Whole(body),
            (BodyField::Field(_), Some(field)) => BodyRule::Field(field, body),
            (BodyField::Field(_) | BodyField::None, _) => {
                let message = "the rule of this path takes no body";
                return Err(Error::invalid_argument(message));
            }
        };
        let object = members.to_object(&self.input, place);
        let object = object.map_err(|error| Error::invalid_argument(error.to_string()))?;
        Ok(object.into())
    }

    fn add_query(
        &self,
        query: Option<&str>,
        members: &mut Members,
        violations: &mut Violations,
    ) -> Result<(), Error> {
        let pairs = query_pairs(query.unwrap_or_default());
        for (number, pair) in pairs.enumerate() {
            if number == PAIRS_MAX {
                let message = format!("a query of more than {PAIRS_MAX} parameters");
                return Err(Error::invalid_argument(message));
            }
            let (name, value) = pair.map_err(|error| Error::invalid_argument(error.to_string()))?;
            if is_of_system(&name, &value) {
                continue;
            }
            match self.query_field(&name) {
                Ok(path) => add(members, violations, &name, &path, &value),
                Err(reason) => violations.push(&name, reason),
            }
        }
        Ok(())
    }

    /// The field that parameter `name` of the query is.
    fn query_field(&self, name: &str) -> Result<FieldPath, String> {
        if self.body == BodyField::Whole {
            let message = "the body is the whole message, and a query adds nothing to it";
            return Err(message.to_owned());
        }
        let path = FieldPath::find(&self.input, name).map_err(|error| error.to_string())?;
        let first = path.fields().first();
        if self.body_field.is_some() && first == self.body_field.as_ref() {
            return Err("the body says it".to_owned());
        }
        if self.is_in_path(&path) {
            return Err("the path says it".to_owned());
        }
        let last = path.last();
        if last.is_some_and(|field| field.is_map()) {
            let what = last.and_then(shape).unwrap_or_default();
            return Err(format!("it is {what}, which a query cannot say"));
        }
        Ok(path)
    }
}

/// Sets a field, or notes why it has no such value.
fn add(
    members: &mut Members,
    violations: &mut Violations,
    name: &str,
    path: &FieldPath,
    text: &str,
) {
    let Some(field) = path.last() else {
        return;
    };
    match value::to_json(&field.kind(), text) {
        Ok(value) => {
            if let Err(error) = members.set(path, value) {
                violations.push(name, error.to_string());
            }
        }
        Err(error) => violations.push(name, error.to_string()),
    }
}

/// Parameters that clients of Google's APIs add to every request and that ask for what is sent anyway
/// (<https://cloud.google.com/apis/docs/system-parameters>).
fn is_of_system(name: &str, value: &str) -> bool {
    name == "$alt" && (value == "json" || value.starts_with("json;"))
}

/// A body of any media type as `google.api.HttpBody`.
fn http_body(request: &HttpRequest<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(request.body.len() / 3 * 4 + 128);
    out.extend_from_slice(b"{\"contentType\":");
    json::push_string(&mut out, request.content_type.unwrap_or_default());
    out.extend_from_slice(b",\"data\":");
    json::push_string(&mut out, &BASE64_STANDARD.encode(&request.body));
    out.push(b'}');
    out
}

/// Parameters of one query; as many as other routes take.
const PAIRS_MAX: usize = 256;
