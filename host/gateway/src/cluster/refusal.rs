//! What a caller is told when the gateway itself refuses a call, or gives up on it.

use postern_core::{Blame, Error, Kind, Retry, Text, error::push_json_string, transport::list};
use postern_net::dial;

use super::{
    admission::Shed,
    snapshot::{ClusterSnapshot, Nobody, Wish},
};

/// A try that failed, as callers are told of it.
#[derive(Debug, Clone)]
pub(super) struct Tried {
    pub(super) instance: Text,
    pub(super) error: String,
}

/// The bulkhead does not admit the call.
pub(super) fn shed(service: &Text, shed: Shed) -> Error {
    let after_ms = shed.retry_after.as_millis();
    let (reason, message) = (shed.reason.name(), "too many calls of");
    let message = format!("{message} {service} ({reason}), retry after {after_ms} ms");
    let details = format!("{{\"shed\":\"{reason}\",\"retry-after-ms\":{after_ms}}}");
    Error::new(Kind::ResourceExhausted, Blame::Gateway, message)
        .with_retry(Retry::After(shed.retry_after))
        .with_details(details)
}

/// Nobody can be picked.
pub(super) fn nobody(snapshot: &ClusterSnapshot, wish: &Wish, why: &Nobody) -> Error {
    let service = &snapshot.service;
    match why {
        Nobody::Empty => {
            let n_known = snapshot.n_known;
            let mut message = format!("service {service} has no live instance of {n_known} known");
            if !snapshot.undialled.is_empty() {
                let undialled = list(snapshot.undialled.iter().copied());
                let dialled = list(dial::sessions());
                let why = format!("; some are at {undialled}, and this gateway dials {dialled}");
                message.push_str(&why);
            }
            Error::unavailable(Blame::Gateway, message)
        }
        // As if there were no such service: nobody learns of what he may not use.
        Nobody::Hidden => Error::not_found(format!("no service {service}")),
        Nobody::Version => {
            let wanted = wish.version.as_ref().map(ToString::to_string);
            let versions = snapshot
                .candidates
                .iter()
                .map(|candidate| &candidate.record.entry.version);
            let versions: std::collections::BTreeSet<_> = versions.flatten().collect();
            let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
            let (has, wanted) = (versions.join(", "), wanted.unwrap_or_default());
            Error::not_found(format!("service {service} has version {has}, not {wanted}"))
        }
        Nobody::Subset => {
            let subset = wish.subset.iter().flat_map(|subset| &subset.metadata);
            let subset: Vec<_> = subset
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            let subset = subset.join(" and ");
            let message = format!("service {service} has no live instance with {subset}");
            Error::unavailable(Blame::Gateway, message)
        }
        Nobody::Open { names, retry_after } => {
            let after_ms = retry_after.as_millis();
            let message = format!(
                "every circuit breaker of service {service} is open, retry after {after_ms} ms"
            );
            let mut details = b"{\"open\":".to_vec();
            push_list(&mut details, names.iter().map(|name| quoted(name)));
            details.push(b'}');
            Error::unavailable(Blame::Gateway, message)
                .with_retry(Retry::After(*retry_after))
                .with_details(details)
        }
    }
}

impl Nobody {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Hidden => "hidden",
            Self::Version => "version",
            Self::Subset => "subset",
            Self::Open { .. } => "breakers-open",
        }
    }
}

/// A try that was not answered in time.
pub(super) fn silent(
    is_local: bool,
    instance: &Text,
    is_whole_call: bool,
    after_ms: u128,
) -> Error {
    let blame = if is_local {
        Blame::Guest
    } else {
        Blame::Upstream
    };
    let limit = if is_whole_call {
        "the deadline of the call"
    } else {
        "the per-try timeout"
    };
    let message = format!("no answer from {instance} within {after_ms} ms, {limit}");
    Error::deadline_exceeded(blame, message).with_retry(Retry::IfIdempotent)
}

/// `error` with what was tried and why there is no further try, unless it has details of its own.
pub(super) fn tell_tries(error: Error, tried: &[Tried], stopped: Option<&'static str>) -> Error {
    if error.details.is_some() || (tried.len() < 2 && stopped.is_none()) {
        return error;
    }
    let mut details = b"{\"tried\":".to_vec();
    let one = |tried: &Tried| {
        let (instance, error) = (quoted(&tried.instance), quoted(&tried.error));
        format!("{{\"instance\":{instance},\"error\":{error}}}")
    };
    push_list(&mut details, tried.iter().map(one));
    if let Some(reason) = stopped {
        details.extend_from_slice(b",\"stopped\":");
        push_json_string(&mut details, reason);
    }
    details.push(b'}');
    error.with_details(details)
}

fn quoted(text: &str) -> String {
    let mut json = Vec::with_capacity(text.len() + 2);
    push_json_string(&mut json, text);
    String::from_utf8(json).unwrap_or_default()
}

fn push_list(out: &mut Vec<u8>, items: impl Iterator<Item = String>) {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item.as_bytes());
    }
    out.push(b']');
}
