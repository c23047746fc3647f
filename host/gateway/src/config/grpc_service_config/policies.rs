//! `retryPolicy` and `hedgingPolicy` (gRPC proposal A6).

use std::{collections::BTreeSet, time::Duration};

use postern_core::{Blame, Kind, Symptom};
use serde_json::{Map, Value as Json};

use super::translation::Translation;
use crate::config::value::{Node, Value};

pub(super) fn retry(translation: &mut Translation<'_>, part: &str, policy: &Map<String, Json>) {
    for (name, value) in policy {
        let part = format!("{part}.{name}");
        let (key, value) = match name.as_str() {
            "maxAttempts" => (
                "attempts",
                attempts(translation, &part, value).map(Value::Integer),
            ),
            "initialBackoff" => ("backoff-min", duration(translation, &part, value)),
            "maxBackoff" => ("backoff-max", duration(translation, &part, value)),
            "backoffMultiplier" => ("backoff-factor", number(translation, &part, value)),
            "retryableStatusCodes" => ("kinds", retried(translation, &part, value)),
            "perAttemptRecvTimeout" => {
                if let Some(value) = duration(translation, &part, value) {
                    translation.key(&["per-try-timeout"], value);
                }
                continue;
            }
            _ => {
                translation.refuse(&part, "unknown key");
                continue;
            }
        };
        if let Some(value) = value {
            translation.key(&["retry", key], value);
        }
    }
    for name in [
        "maxAttempts",
        "initialBackoff",
        "maxBackoff",
        "backoffMultiplier",
        CODES,
    ] {
        if !policy.contains_key(name) {
            translation.refuse(part, format!("{name} is missing"));
        }
    }
}

/// Attempts that end with a status that is not fatal are followed by the next at once: that is a retry.
pub(super) fn hedging(translation: &mut Translation<'_>, part: &str, policy: &Map<String, Json>) {
    for (name, value) in policy {
        let part = format!("{part}.{name}");
        match name.as_str() {
            "maxAttempts" => {
                if let Some(attempts) = attempts(translation, &part, value) {
                    translation.key(&["hedge", "max"], Value::Integer(attempts - 1));
                    translation.key(&["retry", "attempts"], Value::Integer(attempts));
                }
            }
            "hedgingDelay" => {
                if let Some(delay) = duration(translation, &part, value) {
                    translation.key(&["hedge", "delay"], delay);
                }
            }
            NON_FATAL => {
                if let Some(kinds) = non_fatal(translation, &part, value) {
                    translation.key(&["retry", "kinds"], kinds);
                }
            }
            _ => translation.refuse(&part, "unknown key"),
        }
    }
    if !policy.contains_key("hedgingDelay") {
        let message = "hedgingDelay is missing, and all attempts at once are not made here";
        translation.refuse(part, message);
    }
    for name in ["maxAttempts", NON_FATAL] {
        if !policy.contains_key(name) {
            translation.refuse(part, format!("{name} is missing"));
        }
    }
}

/// A duration of protobuf's JSON: `1.5s`.
pub(super) fn duration(
    translation: &mut Translation<'_>,
    part: &str,
    value: &Json,
) -> Option<Value> {
    let text = value.as_str().and_then(|text| text.strip_suffix('s'));
    let seconds: Option<f64> = text.and_then(|text| text.parse().ok());
    let read = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let Some(read) = read else {
        translation.refuse(part, format!("{value} is no duration such as \"1.5s\""));
        return None;
    };
    Some(Value::Text(format!("{}us", read.as_micros())))
}

/// gRPC makes at most five attempts, whatever is asked for.
fn attempts(translation: &mut Translation<'_>, part: &str, value: &Json) -> Option<i64> {
    let attempts = value.as_i64().filter(|attempts| *attempts >= 2);
    if attempts.is_none() {
        translation.refuse(part, format!("{value} is no number from 2"));
    }
    attempts.map(|attempts| attempts.min(ATTEMPTS_MAX))
}

fn number(translation: &mut Translation<'_>, part: &str, value: &Json) -> Option<Value> {
    let number = value.as_f64().filter(|number| *number >= 1.0);
    if number.is_none() {
        let message = format!("{value} is no number from 1; waits do not become shorter here");
        translation.refuse(part, message);
    }
    number.map(|number| Value::Literal(number.to_string()))
}

fn retried(translation: &mut Translation<'_>, part: &str, value: &Json) -> Option<Value> {
    let kinds = kinds(translation, part, value)?;
    let of_caller = |kind: &&Kind| kind.peer_blame() == Blame::Client;
    if let Some(kind) = kinds.iter().find(of_caller) {
        let message = format!("{kind} is the caller's to try again, not the gateway's");
        translation.refuse(part, message);
        return None;
    }
    Some(names(translation, &kinds))
}

fn non_fatal(translation: &mut Translation<'_>, part: &str, value: &Json) -> Option<Value> {
    let kinds = kinds(translation, part, value)?;
    let ours: BTreeSet<Kind> = (Kind::ALL.into_iter())
        .filter(|kind| kind.symptom() != Symptom::Healthy)
        .collect();
    if kinds != ours {
        let all: Vec<_> = ours.iter().map(|kind| code(*kind)).collect();
        let message = format!("here they are always {}", all.join(", "));
        translation.refuse(part, message);
        return None;
    }
    Some(names(translation, &kinds))
}

/// Status codes, by their names or numbers.
fn kinds(translation: &mut Translation<'_>, part: &str, value: &Json) -> Option<BTreeSet<Kind>> {
    let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
        translation.refuse(part, "it names no status code");
        return None;
    };
    let mut kinds = BTreeSet::new();
    for item in items {
        let kind = match item {
            Json::String(name) => {
                (Kind::ALL.into_iter()).find(|kind| code(*kind).eq_ignore_ascii_case(name))
            }
            Json::Number(number) => number
                .as_u64()
                .and_then(|number| u8::try_from(number).ok())
                .and_then(Kind::from_grpc),
            Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
        };
        let Some(kind) = kind else {
            translation.refuse(part, format!("{item} is no status code of a failure"));
            return None;
        };
        kinds.insert(kind);
    }
    Some(kinds)
}

fn names(translation: &Translation<'_>, kinds: &BTreeSet<Kind>) -> Value {
    let node = |kind: &Kind| Node {
        place: translation.place.clone(),
        value: Value::Text(kind.name().to_owned()),
    };
    Value::List(kinds.iter().map(node).collect())
}

/// `UNAVAILABLE`.
fn code(kind: Kind) -> String {
    kind.name().replace('-', "_").to_ascii_uppercase()
}

const CODES: &str = "retryableStatusCodes";
const NON_FATAL: &str = "nonFatalStatusCodes";
const ATTEMPTS_MAX: i64 = 5;
