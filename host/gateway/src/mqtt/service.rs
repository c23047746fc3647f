//! The built-in service `mqtt`: its method `connect` is what CONNECT calls, so that whatever stands
//! between callers and services judges clients of MQTT as it judges calls: credentials of every kind,
//! plugins that know callers, `[authorization]`, `[limits]`, the record.
//!
//! | method | message | answer |
//! |---|---|---|
//! | `connect` | none | who the caller is: `{"name":"…","roles":["…"],"claims":[["…","…"]]}`, or `{}` |

use bytes::Bytes;
use postern_core::{
    Blame, BoxFuture, Call, Error, Handler, Headers, Kind, Principal, Reply, Text,
    service::{MethodInfo, ServiceInfo},
};
use serde::{Deserialize, Serialize};

/// The service that clients call by connecting.
pub(crate) const SERVICE: &str = "mqtt";
pub(crate) const CONNECT: &str = "connect";

/// Says who calls.
#[derive(Debug)]
pub(crate) struct ConnectService;

/// A principal as the service answers it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Caller {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    claims: Vec<(String, String)>,
}

/// What the service says of itself.
pub(crate) fn info() -> ServiceInfo {
    let connect = MethodInfo::unary(Text::from_static(CONNECT), true);
    ServiceInfo {
        name: Text::from_static(SERVICE),
        summary: Text::from_static("Clients of MQTT."),
        methods: vec![connect.with_summary("Says who the caller is.")],
        ..ServiceInfo::default()
    }
}

/// Who an answer of `connect` says that the caller is.
///
/// # Errors
/// `internal`: something in between has answered in the service's stead, and not as it does.
pub(crate) fn read(answer: &Bytes) -> Result<Option<Principal>, Error> {
    let caller: Caller = serde_json::from_slice(answer).map_err(|error| {
        let message = format!("{SERVICE}/{CONNECT} has an answer that it does not give: {error}");
        Error::new(Kind::Internal, Blame::Gateway, message).with_source(error)
    })?;
    let Caller {
        name,
        roles,
        claims,
    } = caller;
    Ok(name.map(|name| Principal {
        name: name.into(),
        roles: roles.into_iter().map(Text::from).collect(),
        claims: claims
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    }))
}

fn write(principal: Option<&Principal>) -> Vec<u8> {
    let caller = principal.map_or_else(Caller::default, |principal| Caller {
        name: Some(principal.name.to_string()),
        roles: principal.roles.iter().map(ToString::to_string).collect(),
        claims: principal
            .claims
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect(),
    });
    // Texts always are JSON.
    serde_json::to_vec(&caller).unwrap_or_default()
}

impl Handler for ConnectService {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let answer = match call.method.as_str() {
            CONNECT => {
                let mut headers = Headers::new();
                // Two dozen octets fit.
                let _ = headers.push("content-type", "application/json");
                let principal = call.context.principal.as_deref();
                Ok(Reply {
                    headers,
                    ..Reply::one(write(principal))
                })
            }
            method => {
                let message = format!("service mqtt has no method {}", method.escape_debug());
                Err(Error::new(Kind::Unimplemented, Blame::Client, message))
            }
        };
        Box::pin(std::future::ready(answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_written_is_read() {
        let principal = Principal {
            name: "d1".into(),
            roles: vec!["device".into()],
            claims: vec![("exp".into(), "7".into())],
        };
        let read_again =
            |principal: Option<&Principal>| read(&write(principal).into()).expect("it");
        assert_eq!(read_again(Some(&principal)), Some(principal.clone()));
        assert_eq!(read_again(None), None);
        let error = read(&Bytes::from_static(b"[]")).expect_err("no object");
        assert_eq!(error.kind, Kind::Internal);
    }
}
