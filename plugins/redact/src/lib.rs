//! Hides JSON fields in replies. A reply without them goes on as it is and is not sent back.
//!
//! What cannot be looked through may hold what is to be hidden: a payload over the bound, a stream,
//! broken JSON. Such a reply is refused unless the manifest says `unseen = "pass"`.

mod json;

use postern_guest::{
    Failure, Kind, Octets, Plugin, Request, Response, ResponseInterceptor, Result, config,
};
use serde::Deserialize;

use crate::json::Path;

const WITH_DEFAULT: &str = "***";
/// 1 MiB: at 20 ns of budget per octet it is looked through well within the budget.
const BYTES_MAX_DEFAULT: usize = 1 << 20;

struct Redact {
    fields: Vec<Path>,
    /// A JSON value.
    with: String,
    bytes_max: usize,
    unseen: Unseen,
}

/// What becomes of a reply that cannot be looked through.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unseen {
    Refuse,
    Pass,
}

impl Plugin for Redact {
    fn start() -> Result<Self> {
        let fields: Vec<String> = config::require("fields")?;
        let path = |text: &String| {
            let refused =
                || format!("config key `fields` names `{text}`, which is no path of keys");
            Path::parse(text).ok_or_else(|| Failure::failed_precondition(refused()))
        };
        let with = config::text("with").unwrap_or_else(|| WITH_DEFAULT.to_owned());
        Ok(Self {
            fields: fields.iter().map(path).collect::<Result<_>>()?,
            with: serde_json::Value::from(with).to_string(),
            bytes_max: config::get("max-bytes")?.unwrap_or(BYTES_MAX_DEFAULT),
            unseen: config::get("unseen")?.unwrap_or(Unseen::Refuse),
        })
    }
}

impl ResponseInterceptor for Redact {
    fn on_response(&mut self, _: &Request, response: &mut Response) -> Result<()> {
        if let Some(failure) = response.failed() {
            return self.redact_failure(failure);
        }
        let content_type = response.header("content-type");
        let said = content_type.as_deref().map(is_json);
        if said == Some(false) {
            return Ok(());
        }
        let payload: Octets = match response.payload() {
            Ok(payload) => payload,
            Err(failure) => return self.unseen(&failure.message),
        };
        if payload.len() > self.bytes_max {
            let limit = self.bytes_max;
            return self.unseen(&format!(
                "it has {} octets, the limit is {limit}",
                payload.len()
            ));
        }
        let text = str::from_utf8(&payload).map_err(|error| error.to_string());
        let replaced = text.and_then(|text| {
            json::replace(text, &self.fields, &self.with).map_err(|error| error.to_string())
        });
        match replaced {
            Ok(Some(text)) => response.set_payload(Octets::from(text)),
            Ok(None) => Ok(()),
            // Without a content type it may be anything; what says that it is JSON should be.
            Err(_) if payload.is_empty() || (said.is_none() && !looks_like_json(&payload)) => {
                Ok(())
            }
            Err(reason) => self.unseen(&reason),
        }
    }
}

postern_guest::export!(Redact: ResponseInterceptor);

impl Redact {
    /// The details of a failure are JSON, too.
    fn redact_failure(&self, failure: Failure) -> Result<()> {
        let details = failure.details.as_deref();
        let replaced = details.map(|text| json::replace(text, &self.fields, &self.with));
        match replaced {
            Some(Ok(Some(text))) => Err(Failure {
                details: Some(text),
                ..failure
            }),
            Some(Err(_)) if self.unseen == Unseen::Refuse => Err(Failure {
                details: None,
                ..failure
            }),
            Some(Ok(None) | Err(_)) | None => Ok(()),
        }
    }

    fn unseen(&self, reason: &str) -> Result<()> {
        match self.unseen {
            Unseen::Pass => Ok(()),
            Unseen::Refuse => Err(Failure::new(
                Kind::Internal,
                format!("the reply cannot be looked through for fields to hide: {reason}"),
            )),
        }
    }
}

/// `application/json`, `application/problem+json`, with or without parameters.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence.ends_with("/json") || essence.ends_with("+json")
}

fn looks_like_json(payload: &[u8]) -> bool {
    matches!(payload.trim_ascii_start().first(), Some(b'{' | b'['))
}

#[cfg(test)]
mod tests;
