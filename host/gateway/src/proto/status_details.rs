//! Details of failures between JSON, as handlers give them, and the messages of a `google.rpc.Status`.
//!
//! | JSON | messages |
//! | --- | --- |
//! | an array with members that have `@type` | one for each member |
//! | an object with `@type` | that one |
//! | anything else | one `google.protobuf.Value` |
//!
//! A member whose type nobody has loaded, or that is none of its type, is a `google.protobuf.Value` too.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use postern_net::http::StatusDetails;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use prost_types::Any;
use serde_json::{Map, Value as Json};

use super::{built_in, codec, compile, loaded::LoadedSchemas};

/// Knows the types of failures that googleapis has, and those of loaded schemas.
pub(crate) struct PoolDetails {
    failures: DescriptorPool,
    loaded: Arc<LoadedSchemas>,
}

impl PoolDetails {
    #[must_use]
    pub(crate) fn new(loaded: Arc<LoadedSchemas>) -> Self {
        let failures = compile::compile_built_in(built_in::OF_FAILURES.into_iter());
        Self {
            // A test compiles them; without them the types of loaded schemas are known.
            failures: failures.unwrap_or_default(),
            loaded,
        }
    }

    /// The message that `member` names and is.
    fn typed(&self, member: &Json) -> Option<Any> {
        let mut members = member.as_object()?.clone();
        let type_url = members.remove(TYPE)?.as_str()?.to_owned();
        let message = self.message(name_of(&type_url))?;
        let json = match message.package_name() == "google.protobuf" {
            // The JSON of these may be no object.
            true => members.remove(VALUE_MEMBER)?,
            false => Json::Object(members),
        };
        let value = codec::to_protobuf(&message, &json.to_string().into()).ok()?;
        Some(Any {
            type_url,
            value: value.to_vec(),
        })
    }

    fn value(&self, json: &Json) -> Option<Any> {
        let value = codec::to_protobuf(&self.message(VALUE)?, &json.to_string().into());
        Some(Any {
            type_url: format!("type.googleapis.com/{VALUE}"),
            value: value.ok()?.to_vec(),
        })
    }

    /// The members of a message of a known type in JSON.
    fn members(&self, any: &Any) -> Option<Map<String, Json>> {
        let message = self.message(name_of(&any.type_url))?;
        let json = codec::to_json(&message, &any.value.clone().into()).ok()?;
        let json: Json = serde_json::from_slice(&json).ok()?;
        let is_well_known = message.package_name() == "google.protobuf";
        match json.as_object().filter(|_| !is_well_known) {
            Some(members) => Some(members.clone()),
            None => Some(Map::from_iter([(VALUE_MEMBER.to_owned(), json)])),
        }
    }

    fn message(&self, name: &str) -> Option<MessageDescriptor> {
        let loaded = || self.loaded.find(|pool| pool.get_message_by_name(name));
        self.failures.get_message_by_name(name).or_else(loaded)
    }
}

impl StatusDetails for PoolDetails {
    fn to_any(&self, details: &[u8]) -> Vec<Any> {
        let Ok(details) = serde_json::from_slice::<Json>(details) else {
            return Vec::new();
        };
        let has_type = |member: &Json| member.get(TYPE).is_some();
        let listed = details.as_array();
        let listed = listed.filter(|members| members.iter().any(has_type));
        let members = listed.cloned().unwrap_or_else(|| vec![details]);
        let any = |member: Json| self.typed(&member).or_else(|| self.value(&member));
        members.into_iter().filter_map(any).collect()
    }

    fn to_json(&self, details: &[Any]) -> Option<Bytes> {
        if let [only] = details
            && name_of(&only.type_url) == VALUE
        {
            return codec::to_json(&self.message(VALUE)?, &only.value.clone().into()).ok();
        }
        let mut is_known = false;
        let members = details.iter().map(|any| {
            let known = self.members(any);
            is_known |= known.is_some();
            let unknown =
                || Map::from_iter([(VALUE_MEMBER.to_owned(), STANDARD.encode(&any.value).into())]);
            let mut members = known.unwrap_or_else(unknown);
            members.insert(TYPE.to_owned(), any.type_url.as_str().into());
            Json::Object(members)
        });
        let members = Json::Array(members.collect());
        is_known.then(|| members.to_string().into())
    }
}

impl fmt::Debug for PoolDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PoolDetails")
    }
}

/// The name in the URL of a type: what follows its last slash.
fn name_of(type_url: &str) -> &str {
    type_url.rsplit_once('/').map_or(type_url, |(_, name)| name)
}

const TYPE: &str = "@type";
const VALUE: &str = "google.protobuf.Value";
/// Where the JSON of a message stands that may be no object (protobuf.dev, "ProtoJSON format", Any).
const VALUE_MEMBER: &str = "value";

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::proto::{ProtoSchema, SchemaOwner};

    fn details() -> PoolDetails {
        let loaded = Arc::<LoadedSchemas>::default();
        let source = "syntax = \"proto3\"; package t; message Why { string text = 1; }\n\
            service S { rpc Get(Why) returns (Why); }";
        let schema = ProtoSchema::of_source("t.proto", source);
        let schema = schema.unwrap_or_else(|faults| panic!("{faults}"));
        loaded.set(&SchemaOwner::Plugin("t".into()), Some(schema.into()));
        PoolDetails::new(loaded)
    }

    fn there_and_back(json: &str, types: &[&str]) {
        let details = details();
        let any = details.to_any(json.as_bytes());
        let urls: Vec<_> = any.iter().map(|any| name_of(&any.type_url)).collect();
        assert_eq!(urls, types);
        let back = details.to_json(&any).expect("known");
        let value = |text: &[u8]| serde_json::from_slice::<Json>(text).expect("JSON");
        assert_eq!(value(&back), value(json.as_bytes()));
    }

    #[test]
    fn details_with_types_are_messages_of_those_types() {
        there_and_back(
            r#"[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"R","metadata":{"a":"b"}},
                {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.500s"},
                {"@type":"t.Why","text":"so"},
                {"@type":"type.googleapis.com/google.protobuf.Duration","value":"2s"}]"#,
            &[
                "google.rpc.ErrorInfo",
                "google.rpc.RetryInfo",
                "t.Why",
                "google.protobuf.Duration",
            ],
        );
        let any = details().to_any(br#"{"@type":"t.Why","text":"so"}"#);
        assert_eq!(any[0].value, b"\x0A\x02so");
    }

    #[test]
    fn all_other_details_are_a_value() {
        there_and_back(r#"{"userId":"7","n":[1.0,null]}"#, &[VALUE]);
        there_and_back(r#""text""#, &[VALUE]);
        let any = details().to_any(br#"[{"@type":"no.Such","a":1},{"@type":"t.Why","txt":"so"}]"#);
        let value = format!("type.googleapis.com/{VALUE}");
        assert!(any.iter().all(|any| any.type_url == value) && any.len() == 2);
        assert_eq!(details().to_any(b"{"), Vec::new());
    }

    #[test]
    fn messages_of_unknown_types_are_kept_beside_those_of_known_ones() {
        let unknown = Any {
            type_url: "type.googleapis.com/no.Such".to_owned(),
            value: vec![0xFF],
        };
        assert_eq!(details().to_json(std::slice::from_ref(&unknown)), None);
        let status = prost_types::Value::from(true);
        let value = Any {
            type_url: format!("type.googleapis.com/{VALUE}"),
            value: status.encode_to_vec(),
        };
        let json = details().to_json(&[unknown, value]).expect("one is known");
        let json: Json = serde_json::from_slice(&json).expect("JSON");
        assert_eq!(json[0]["value"], "/w==");
        assert_eq!(json[1]["value"], true);
    }
}
