//! The imports as the fake host offers them; `component.rs` has the same functions for the real one.

use std::time::Duration;

pub(crate) use crate::fake::{
    async_stream,
    capabilities::{
        directory_discover, directory_next_change, metric_adjust, metric_declare, metric_increase,
        metric_observe, metric_set,
    },
    exchange::{candidates, frame, request, response},
};
use crate::{
    body::Octets,
    call::{BodyKind, Http, Peer, Principal},
    failure::Failure,
    fake::{
        exchange::Headers,
        state::{self, ClientCall, Line, Published, State},
    },
    log::Level,
};

/// `wit/kv.wit`.
const KEY_BYTES_MAX: usize = 1024;
/// `wit/kv.wit`.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// `wit/kv.wit`.
const KEYS_MAX: u32 = 1000;
/// `wit/call.wit`.
const HEADER_NAME_BYTES_MAX: usize = 255;
/// `wit/call.wit`.
const HEADERS_BYTES_MAX: usize = 65_535;
/// The longest value that fits in one header entry.
const TOPIC_BYTES_MAX: usize = 255;

pub(crate) fn header(name: &str) -> Option<String> {
    state::with(|state| {
        let (_, value) = state.request_headers.iter().find(|(key, _)| key == name)?;
        String::from_utf8(value.clone()).ok()
    })
}

pub(crate) fn headers() -> Vec<(String, Vec<u8>)> {
    state::with(|state| state.request_headers.clone())
}

pub(crate) fn http() -> Option<Http> {
    state::with(|state| state.http.clone())
}

pub(crate) fn request_kind() -> BodyKind {
    state::with(|state| state.request_kind)
}

pub(crate) fn trailers() -> Vec<(String, Vec<u8>)> {
    state::with(|state| match state.incoming.is_empty() {
        true => state.request_trailers.clone(),
        false => Vec::new(),
    })
}

pub(crate) fn set_status(status: u16) -> Result<(), Failure> {
    if !(200..=599).contains(&status) {
        return Err(Failure::invalid_argument(format!(
            "http status {status} is not within 200 to 599"
        )));
    }
    state::with(|state| {
        check_unsent(state, "the status")?;
        state.reply_status = Some(status);
        Ok(())
    })
}

pub(crate) fn set_octets() -> Result<(), Failure> {
    state::with(|state| {
        check_streaming(state)?;
        check_unsent(state, "the kind of the reply")?;
        state.replies_octets = true;
        Ok(())
    })
}

pub(crate) fn add_trailer(name: &str, value: &str) -> Result<(), Failure> {
    add_binary_trailer(name, value.as_bytes())
}

pub(crate) fn add_binary_trailer(name: &str, value: &[u8]) -> Result<(), Failure> {
    state::with(|state| push_header(&mut state.reply_trailers, name, value))
}

pub(crate) fn add_header(name: &str, value: &str) -> Result<(), Failure> {
    add_binary_header(name, value.as_bytes())
}

pub(crate) fn add_binary_header(name: &str, value: &[u8]) -> Result<(), Failure> {
    state::with(|state| {
        check_unsent(state, "a header")?;
        push_header(&mut state.reply_headers, name, value)
    })
}

fn push_header(headers: &mut Headers, name: &str, value: &[u8]) -> Result<(), Failure> {
    let present: usize = headers.iter().map(|(k, v)| k.len() + v.len()).sum();
    check_headers(name, present + name.len() + value.len())?;
    headers.push((name.to_owned(), value.to_owned()));
    Ok(())
}

pub(crate) fn peer() -> Peer {
    state::with(|state| state.peer.clone())
}

pub(crate) fn principal() -> Option<Principal> {
    state::with(|state| state.principal.clone())
}

pub(crate) fn claim(name: &str) -> Option<String> {
    state::with(|state| state.claims.get(name).cloned())
}

pub(crate) fn remaining_ms() -> u64 {
    state::with(|state| state.remaining_ms)
}

pub(crate) fn correlation_id() -> String {
    state::with(|state| state.correlation_id.clone())
}

pub(crate) fn traceparent() -> Option<String> {
    state::with(|state| state.traceparent.clone())
}

pub(crate) fn next() -> Result<Option<Vec<u8>>, Failure> {
    state::with(|state| state.incoming.pop_front().transpose())
}

pub(crate) fn send(message: &[u8]) -> Result<(), Failure> {
    state::with(|state| state.outgoing.push(Octets::from(message)));
    Ok(())
}

pub(crate) fn log_enabled(level: Level) -> bool {
    state::with(|state| level >= state.level)
}

pub(crate) fn log_write(level: Level, message: &str, fields: &[(String, String)]) {
    let line = Line {
        level,
        message: message.to_owned(),
        fields: fields.to_vec(),
    };
    state::with(|state| {
        if level >= state.level {
            state.lines.push(line);
        }
    });
}

pub(crate) fn config_get(key: &str) -> Option<String> {
    state::with(|state| state.config.get(key).cloned())
}

pub(crate) fn config_all() -> Vec<(String, String)> {
    state::with(|state| {
        state
            .config
            .iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect()
    })
}

pub(crate) fn kv_get(key: &str) -> Result<Option<Vec<u8>>, Failure> {
    kv(key, |state| Ok(state.kv.get(key).cloned()))
}

pub(crate) fn kv_set(key: &str, value: &[u8]) -> Result<(), Failure> {
    kv(key, |state| {
        check_value(value)?;
        state.kv.insert(key.to_owned(), value.to_vec());
        Ok(())
    })
}

pub(crate) fn kv_delete(key: &str) -> Result<bool, Failure> {
    kv(key, |state| Ok(state.kv.remove(key).is_some()))
}

pub(crate) fn kv_swap(
    key: &str,
    expected: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<bool, Failure> {
    kv(key, |state| {
        value.map_or(Ok(()), check_value)?;
        if state.kv.get(key).map(Vec::as_slice) != expected {
            return Ok(false);
        }
        match value {
            Some(value) => state.kv.insert(key.to_owned(), value.to_vec()),
            None => state.kv.remove(key),
        };
        Ok(true)
    })
}

pub(crate) fn kv_keys(
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<String>, Failure> {
    if limit > KEYS_MAX {
        return Err(Failure::invalid_argument(format!(
            "limit {limit} exceeds the limit of {KEYS_MAX} keys"
        )));
    }
    state::with(|state| {
        state.kv_failure.clone().map_or(Ok(()), Err)?;
        let keys = state.kv.keys().filter(|key| key.starts_with(prefix));
        let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
        Ok(keys.take(limit as usize).cloned().collect())
    })
}

pub(crate) fn client_call(
    service: &str,
    method: &str,
    body: &[u8],
    headers: Vec<(String, String)>,
    timeout_ms: Option<u64>,
) -> Result<Vec<u8>, Failure> {
    let call = ClientCall {
        service: service.to_owned(),
        method: method.to_owned(),
        body: Octets::from(body),
        headers,
        timeout: timeout_ms.map(Duration::from_millis),
    };
    let answer = state::with(|state| {
        state.client_calls.push(call.clone());
        if !state.answers.keys().any(|(granted, _)| granted == service) {
            return Err(Failure::permission_denied(format!(
                "service `{service}` is not granted to this plugin"
            )));
        }
        let target = (service.to_owned(), method.to_owned());
        state.answers.get(&target).cloned().ok_or_else(|| {
            Failure::not_found(format!("service `{service}` has no method `{method}`"))
        })
    })?;
    // Outside of the state: an answer may itself use the host.
    answer(&call).map(|reply| reply.0)
}

pub(crate) fn publish(
    topic: &str,
    content_type: Option<&str>,
    payload: &[u8],
) -> Result<u32, Failure> {
    let length = topic.len();
    if !(1..=TOPIC_BYTES_MAX).contains(&length) {
        return Err(Failure::invalid_argument(format!(
            "topic of {length} octets is not 1 to {TOPIC_BYTES_MAX}"
        )));
    }
    state::with(|state| {
        let Some(n_subscribers) = state.topics.get(topic) else {
            return Err(Failure::permission_denied(format!(
                "topic `{topic}` is not granted to this plugin"
            )));
        };
        state.published.push(Published {
            topic: topic.to_owned(),
            content_type: content_type.map(ToOwned::to_owned),
            payload: payload.into(),
        });
        Ok(*n_subscribers)
    })
}

/// Refuses what only the reply of a streaming method has.
fn check_streaming(state: &State) -> Result<(), Failure> {
    match state.is_streaming {
        true => Ok(()),
        false => Err(Failure::failed_precondition(
            "a unary call is answered by one message",
        )),
    }
}

fn check_unsent(state: &State, what: &str) -> Result<(), Failure> {
    match state.outgoing.is_empty() {
        true => Ok(()),
        false => Err(Failure::failed_precondition(format!(
            "{what} comes after the first message of the reply"
        ))),
    }
}

/// Refuses a header `name` that has no place, or headers of `bytes` in all.
pub(crate) fn check_headers(name: &str, bytes: usize) -> Result<(), Failure> {
    if !(1..=HEADER_NAME_BYTES_MAX).contains(&name.len()) {
        return Err(Failure::invalid_argument(format!(
            "header name of {} octets is not 1 to {HEADER_NAME_BYTES_MAX}",
            name.len()
        )));
    }
    if bytes > HEADERS_BYTES_MAX {
        return Err(Failure::invalid_argument(format!(
            "headers of {bytes} octets exceed the limit of {HEADERS_BYTES_MAX}"
        )));
    }
    Ok(())
}

fn kv<R>(key: &str, body: impl FnOnce(&mut State) -> Result<R, Failure>) -> Result<R, Failure> {
    if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
        return Err(Failure::invalid_argument(format!(
            "key of {} octets is not 1 to {KEY_BYTES_MAX}",
            key.len()
        )));
    }
    state::with(|state| {
        state.kv_failure.clone().map_or(Ok(()), Err)?;
        body(state)
    })
}

fn check_value(value: &[u8]) -> Result<(), Failure> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(Failure::invalid_argument(format!(
            "value of {} octets exceeds the limit of {VALUE_BYTES_MAX}",
            value.len()
        )));
    }
    Ok(())
}
