//! Commands for the values of keys.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::resp::{
    Expiry, GetExOptions, RespCommand, RespError, RespRequest, RespValue, SetCondition, SetOptions,
    arguments::integer,
};
use postern_system::clock;

use super::{
    failure::Refusal,
    keys::KeyJob,
    table::{KeyTable, LiveEntry, key_of, value_of},
};

/// What `SET` and its kin ask for.
struct Setting {
    options: SetOptions,
    value: Vec<u8>,
    /// As errors name it.
    command: &'static str,
    told: SetReply,
}

/// How it is said whether the key was set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SetReply {
    /// `OK`, or null.
    Ok,
    /// 1 or 0.
    Number,
    /// The value before.
    Before,
}

/// The answer of a command for values; none where it is another.
pub(super) async fn answer(job: &KeyJob) -> Option<Result<RespValue, Refusal>> {
    let (request, table) = (&job.request, &job.table);
    let key = || key_of(request.octets(1));
    Some(match job.command.name {
        "get" => get(table, key()).await,
        "strlen" => length(table, key()).await,
        "mget" => get_each(table, request).await,
        "mset" => set_each(table, request).await,
        "set" | "setex" | "psetex" | "setnx" | "getset" => match setting(request, job.command) {
            Ok(setting) => set(table, key(), setting).await,
            Err(error) => Err(error.into()),
        },
        "getdel" => get_and_delete(table, key()).await,
        "getex" => get_and_end(table, request).await,
        "append" => append(table, request).await,
        "incr" | "decr" | "incrby" | "decrby" => add(table, request, job.command).await,
        _ => return None,
    })
}

async fn get(table: &Arc<KeyTable>, key: Result<String, RespError>) -> Result<RespValue, Refusal> {
    Ok(value(table.get(&key?).await?))
}

async fn length(
    table: &Arc<KeyTable>,
    key: Result<String, RespError>,
) -> Result<RespValue, Refusal> {
    let entry = table.get(&key?).await?;
    Ok(RespValue::count(entry.map_or(0, |entry| entry.value.len())))
}

async fn get_each(table: &Arc<KeyTable>, request: &RespRequest) -> Result<RespValue, Refusal> {
    let mut values = Vec::with_capacity(request.len() - 1);
    for key in request.rest(1) {
        values.push(match key_of(key) {
            Ok(key) => value(table.get(&key).await?),
            // It cannot be there.
            Err(_) => RespValue::Null,
        });
    }
    Ok(RespValue::Array(values))
}

/// All are begun at one time, so that one commit may hold them; a gateway that is killed meanwhile may
/// have set some.
async fn set_each(table: &Arc<KeyTable>, request: &RespRequest) -> Result<RespValue, Refusal> {
    if request.len().is_multiple_of(2) {
        return Err(RespError::wrong_arity("mset").into());
    }
    let mut pairs = std::collections::BTreeMap::new();
    for idx in (1..request.len()).step_by(2) {
        let value = value_of(request.octets(idx + 1))?;
        // Of a key that is there twice, the last counts.
        pairs.insert(key_of(request.octets(idx))?, value);
    }
    let setting = pairs.into_iter().map(|(key, value)| table.set(key, value));
    futures_util::future::try_join_all(setting).await?;
    Ok(RespValue::OK)
}

fn setting(request: &RespRequest, command: &RespCommand) -> Result<Setting, RespError> {
    let name = command.name;
    let of = |options, value_idx, told| {
        Ok(Setting {
            options,
            value: value_of(request.octets(value_idx))?,
            command: name,
            told,
        })
    };
    let usual = SetOptions::default();
    let ending = |expiry| SetOptions {
        expiry: Some(expiry),
        ..usual
    };
    match name {
        "setex" => of(
            ending(Expiry::of_seconds(request.octets(2), name)?),
            3,
            SetReply::Ok,
        ),
        "psetex" => of(
            ending(Expiry::of_milliseconds(request.octets(2), name)?),
            3,
            SetReply::Ok,
        ),
        "setnx" => {
            let condition = SetCondition::IfAbsent;
            of(SetOptions { condition, ..usual }, 2, SetReply::Number)
        }
        "getset" => of(usual, 2, SetReply::Before),
        _ => {
            let options = SetOptions::read(request)?;
            let told = if options.gets {
                SetReply::Before
            } else {
                SetReply::Ok
            };
            of(options, 2, told)
        }
    }
}

async fn set(
    table: &Arc<KeyTable>,
    key: Result<String, RespError>,
    setting: Setting,
) -> Result<RespValue, Refusal> {
    let key = key?;
    let Setting {
        options,
        value: new,
        command,
        told,
    } = setting;
    let is_plain = options == SetOptions::default() && told == SetReply::Ok;
    if is_plain {
        table.set(key, new).await?;
        return Ok(RespValue::OK);
    }
    let now = clock::unix_time_ms();
    let ends_at = options.expiry.map(|expiry| expiry.at(now, command));
    let ends_at = ends_at.transpose()?;
    table
        .update(&key, |before| {
            let is_set = match options.condition {
                SetCondition::Always => true,
                SetCondition::IfAbsent => before.is_none(),
                SetCondition::IfPresent => before.is_some(),
            };
            let kept = before.and_then(|before| before.ends_at);
            let wanted = LiveEntry {
                value: new.clone(),
                ends_at: if options.keeps_expiry { kept } else { ends_at },
            };
            let reply = match told {
                SetReply::Before => value(before.cloned()),
                SetReply::Number => RespValue::Integer(is_set.into()),
                SetReply::Ok if is_set => RespValue::OK,
                SetReply::Ok => RespValue::Null,
            };
            Ok((is_set.then_some(Some(wanted)), reply))
        })
        .await
}

async fn get_and_delete(
    table: &Arc<KeyTable>,
    key: Result<String, RespError>,
) -> Result<RespValue, Refusal> {
    let decide = |before: Option<&LiveEntry>| Ok((Some(None), value(before.cloned())));
    table.update(&key?, decide).await
}

async fn get_and_end(table: &Arc<KeyTable>, request: &RespRequest) -> Result<RespValue, Refusal> {
    let options = GetExOptions::read(request)?;
    let key = key_of(request.octets(1))?;
    let now = clock::unix_time_ms();
    let ends_at = options.expiry.map(|expiry| expiry.at(now, "getex"));
    let ends_at = ends_at.transpose()?;
    if ends_at.is_none() && !options.persists {
        return Ok(value(table.get(&key).await?));
    }
    table
        .update(&key, |before| {
            let wanted = before.map(|before| LiveEntry {
                value: before.value.clone(),
                ends_at,
            });
            Ok((wanted.map(Some), value(before.cloned())))
        })
        .await
}

async fn append(table: &Arc<KeyTable>, request: &RespRequest) -> Result<RespValue, Refusal> {
    let key = key_of(request.octets(1))?;
    table
        .update(&key, |before| {
            let (mut joined, ends_at) = match before {
                Some(before) => (before.value.clone(), before.ends_at),
                None => (Vec::new(), None),
            };
            joined.extend_from_slice(request.octets(2));
            let wanted = LiveEntry {
                value: value_of(&joined)?,
                ends_at,
            };
            Ok((Some(Some(wanted)), RespValue::count(joined.len())))
        })
        .await
}

async fn add(
    table: &Arc<KeyTable>,
    request: &RespRequest,
    command: &RespCommand,
) -> Result<RespValue, Refusal> {
    let key = key_of(request.octets(1))?;
    let amount = match command.name {
        "incr" => 1,
        "decr" => -1,
        "incrby" => integer(request.octets(2))?,
        _ => integer(request.octets(2))?
            .checked_neg()
            .ok_or_else(|| RespError::fixed("ERR decrement would overflow"))?,
    };
    table
        .update(&key, |before| {
            let number = before.map_or(Ok(0), |before| integer(&before.value))?;
            let sum = number.checked_add(amount);
            let sum =
                sum.ok_or_else(|| RespError::fixed("ERR increment or decrement would overflow"))?;
            let wanted = LiveEntry {
                value: sum.to_string().into_bytes(),
                ends_at: before.and_then(|before| before.ends_at),
            };
            Ok((Some(Some(wanted)), RespValue::Integer(sum)))
        })
        .await
}

fn value(entry: Option<LiveEntry>) -> RespValue {
    RespValue::maybe(entry.map(|entry| Bytes::from(entry.value)))
}
