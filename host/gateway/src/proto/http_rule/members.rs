//! What a request says beside its body, field by field, and its body, as one object of JSON.
//!
//! A body is looked through where the path says something of it, and never built: what it has stays as
//! it is written. What the path says counts, also where the body says it again, as a resource that is
//! sent whole does with its name: guards and rules have seen the path.

use std::collections::{BTreeMap, BTreeSet};

use postern_core::json::{self, JsonError};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::field::FieldPath;

/// Members of an object by their names in JSON.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<String, Member>);

/// What a member is, in JSON.
#[derive(Debug)]
enum Member {
    One(String),
    List(Vec<String>),
    Object(Members),
}

/// Where the body of a request goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum BodyRule<'a> {
    Nowhere,
    /// It has the other members.
    Whole(&'a [u8]),
    /// It is this member.
    Field(&'a FieldDescriptor, &'a [u8]),
}

/// Why members and a body are not one object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum MembersError {
    #[error("the body is no JSON: {0}")]
    Json(#[from] JsonError),
    #[error("{0} is no JSON object, which the path could add a member to")]
    NoObject(String),
    #[error("it stands twice, and is one value")]
    Twice,
}

impl Members {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the field at `path`, or adds a value to it where it is repeated.
    ///
    /// # Errors
    /// A field that is one value and has one.
    pub(super) fn set(&mut self, path: &FieldPath, value: String) -> Result<(), MembersError> {
        let Some((last, before)) = path.fields().split_last() else {
            return Ok(());
        };
        let mut members = self;
        for field in before {
            let name = field.json_name().to_owned();
            let member = members.0.entry(name).or_insert_with(Member::object);
            members = match member {
                Member::Object(members) => members,
                // One field has one type.
                Member::One(_) | Member::List(_) => return Err(MembersError::Twice),
            };
        }
        let entry = members.0.entry(last.json_name().to_owned());
        let member = entry.or_insert_with(|| Member::List(Vec::new()));
        match member {
            Member::List(values) if last.is_list() => values.push(value),
            Member::List(values) if values.is_empty() => *member = Member::One(value),
            Member::List(_) | Member::One(_) | Member::Object(_) => {
                return Err(MembersError::Twice);
            }
        }
        Ok(())
    }

    /// The object of type `message` that these and the body are.
    ///
    /// # Errors
    /// A body that is no JSON, or no object where it has to be one.
    pub(super) fn to_object(
        &self,
        message: &MessageDescriptor,
        body: BodyRule<'_>,
    ) -> Result<Vec<u8>, MembersError> {
        let mut out = Vec::with_capacity(64 * self.0.len() + 64);
        match body {
            BodyRule::Nowhere => self.write(&mut out, &BTreeSet::new(), None)?,
            BodyRule::Whole(body) => self.merge(&mut out, message, "the body", body)?,
            BodyRule::Field(field, body) => {
                json::check(body)?;
                self.write(&mut out, &BTreeSet::new(), Some((field, body)))?;
            }
        }
        Ok(out)
    }

    /// Writes an object of these but for those that are `done`, and of `body` as one more.
    fn write(
        &self,
        out: &mut Vec<u8>,
        done: &BTreeSet<String>,
        body: Option<(&FieldDescriptor, &[u8])>,
    ) -> Result<(), MembersError> {
        out.push(b'{');
        self.write_left(out, done, body)?;
        out.push(b'}');
        Ok(())
    }

    /// The members of an object whose brace is open.
    fn write_left(
        &self,
        out: &mut Vec<u8>,
        done: &BTreeSet<String>,
        body: Option<(&FieldDescriptor, &[u8])>,
    ) -> Result<(), MembersError> {
        let (field, body) = body.unzip();
        if let (Some(field), Some(body)) = (field, body) {
            begin_member(out, field.json_name());
            match (self.0.get(field.json_name()), field.kind()) {
                (Some(Member::Object(within)), Kind::Message(message)) => {
                    within.merge(out, &message, field.name(), body)?;
                }
                (_, _) => out.extend_from_slice(body),
            }
        }
        let is_body = |name: &str| field.is_some_and(|field| field.json_name() == name);
        for (name, member) in &self.0 {
            if done.contains(name) || is_body(name) {
                continue;
            }
            begin_member(out, name);
            match member {
                Member::One(value) => out.extend_from_slice(value.as_bytes()),
                Member::List(values) => {
                    out.push(b'[');
                    out.extend_from_slice(values.join(",").as_bytes());
                    out.push(b']');
                }
                Member::Object(members) => members.write(out, &BTreeSet::new(), None)?,
            }
        }
        Ok(())
    }

    /// Writes an object of these and of what `body`, an object of type `message`, has beside them.
    fn merge(
        &self,
        out: &mut Vec<u8>,
        message: &MessageDescriptor,
        name: &str,
        body: &[u8],
    ) -> Result<(), MembersError> {
        let body = body.trim_ascii();
        if body == b"null" {
            return self.write(out, &BTreeSet::new(), None);
        }
        let mut found = Vec::new();
        json::visit_members(body, &mut |key, value| found.push((key, value)))?;
        if !body.starts_with(b"{") {
            return Err(MembersError::NoObject(name.to_owned()));
        }
        let mut done = BTreeSet::new();
        out.push(b'{');
        for (key, value) in found {
            let written = json::string(key).unwrap_or_default();
            // Both names are one field. Those that are none are refused with the rest of the body.
            let field = message
                .get_field_by_json_name(&written)
                .or_else(|| message.get_field_by_name(&written));
            let own = field.as_ref().and_then(|field| {
                let member = self.0.get(field.json_name())?;
                Some((field, member))
            });
            match own {
                None => {
                    begin_raw_member(out, key);
                    out.extend_from_slice(value);
                }
                Some((_, Member::One(_) | Member::List(_))) => {}
                Some((field, Member::Object(within))) => {
                    if let Kind::Message(message) = field.kind() {
                        begin_raw_member(out, key);
                        within.merge(out, &message, &written, value)?;
                        done.insert(field.json_name().to_owned());
                    }
                }
            }
        }
        self.write_left(out, &done, None)?;
        out.push(b'}');
        Ok(())
    }
}

impl Member {
    fn object() -> Self {
        Self::Object(Members::default())
    }
}

fn begin_member(out: &mut Vec<u8>, name: &str) {
    let mut key = Vec::with_capacity(name.len() + 2);
    json::push_string(&mut key, name);
    begin_raw_member(out, &key);
}

/// `key` is a string of JSON.
fn begin_raw_member(out: &mut Vec<u8>, key: &[u8]) {
    if !out.ends_with(b"{") {
        out.push(b',');
    }
    out.extend_from_slice(key);
    out.push(b':');
}
