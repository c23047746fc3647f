//! What the server says of itself: `COMMAND`, `INFO`, `TIME`.

use std::collections::BTreeMap;

use postern_core::resp::{RespCommand, RespError, RespRequest, RespValue, arguments::is};
use postern_system::clock;

use super::client::RedisClient;

/// The version of Redis whose commands and errors are those of this gateway, for clients that ask
/// before they use what later ones have.
pub(super) const REDIS_VERSION: &str = "7.0.0";

/// A command of one word, with those of two that begin with it.
struct Described {
    row: Option<&'static RespCommand>,
    name: &'static str,
    subcommands: Vec<&'static RespCommand>,
}

pub(super) fn command(request: &RespRequest, row: &RespCommand) -> RespValue {
    let all = described();
    match row.name {
        "command|count" => RespValue::count(all.len()),
        "command|list" if request.len() > 2 => RespError::SYNTAX.into(),
        "command|list" => RespValue::Array(all.into_keys().map(RespValue::text).collect()),
        "command|docs" => RespValue::Map(docs(request, &all)),
        "command|info" if request.len() > 2 => {
            let infos = request.rest(2).map(|name| {
                let name = name.to_ascii_lowercase();
                let one = std::str::from_utf8(&name)
                    .ok()
                    .and_then(|name| all.get(name));
                one.map_or(RespValue::NullArray, Described::info)
            });
            RespValue::Array(infos.collect())
        }
        _ => RespValue::Array(all.values().map(Described::info).collect()),
    }
}

fn docs(
    request: &RespRequest,
    all: &BTreeMap<&'static str, Described>,
) -> Vec<(RespValue, RespValue)> {
    if request.len() == 2 {
        return all.values().map(Described::docs).collect();
    }
    let asked = request.rest(2).filter_map(|name| {
        let name = name.to_ascii_lowercase();
        let one = all.get(std::str::from_utf8(&name).ok()?)?;
        Some(one.docs())
    });
    asked.collect()
}

/// All commands, by their first word.
fn described() -> BTreeMap<&'static str, Described> {
    let mut all: BTreeMap<&'static str, Described> = BTreeMap::new();
    for row in RespCommand::rows() {
        let (name, is_subcommand) = match row.name.split_once('|') {
            Some((name, _)) => (name, true),
            None => (row.name, false),
        };
        let described = all.entry(name).or_insert_with(|| Described {
            row: None,
            name,
            subcommands: Vec::new(),
        });
        match is_subcommand {
            true => described.subcommands.push(row),
            false => described.row = Some(row),
        }
    }
    all
}

impl Described {
    fn info(&self) -> RespValue {
        let subcommands = self.subcommands.iter().map(|row| info_of(row, Vec::new()));
        let subcommands: Vec<_> = subcommands.collect();
        match self.row {
            Some(row) => info_of(row, subcommands),
            None => {
                let mut parts = parts(self.name, -2, "", [0; 3], "");
                parts.push(RespValue::Array(subcommands));
                RespValue::Array(parts)
            }
        }
    }

    fn docs(&self) -> (RespValue, RespValue) {
        let of = |row: &RespCommand| {
            vec![
                (RespValue::text("summary"), RespValue::text(row.summary)),
                (RespValue::text("group"), RespValue::text(row.group)),
            ]
        };
        let mut pairs = self.row.map_or_else(
            || {
                let summary = RespValue::text("A container of commands.");
                vec![(RespValue::text("summary"), summary)]
            },
            of,
        );
        if !self.subcommands.is_empty() {
            let subcommands = self.subcommands.iter();
            let subcommands =
                subcommands.map(|row| (RespValue::text(row.name), RespValue::Map(of(row))));
            let subcommands = RespValue::Map(subcommands.collect());
            pairs.push((RespValue::text("subcommands"), subcommands));
        }
        (RespValue::text(self.name), RespValue::Map(pairs))
    }
}

fn info_of(row: &'static RespCommand, subcommands: Vec<RespValue>) -> RespValue {
    let mut parts = parts(row.name, row.arity, row.group, row.keys, row.flags);
    parts.push(RespValue::Array(subcommands));
    RespValue::Array(parts)
}

/// All but the subcommands, in the order of Redis: name, arity, flags, keys, categories, tips and
/// specifications of keys.
fn parts(
    name: &'static str,
    arity: i8,
    group: &'static str,
    keys: [i8; 3],
    flags: &'static str,
) -> Vec<RespValue> {
    let flags = flags.split_ascii_whitespace();
    let mut categories: Vec<_> = flags.clone().filter_map(category).collect();
    if !group.is_empty() {
        categories.push(format!("@{group}"));
    }
    let simple = |text: String| RespValue::Simple(text.into());
    let mut parts = vec![
        RespValue::text(name),
        RespValue::Integer(arity.into()),
        RespValue::Set(flags.map(|flag| simple(flag.to_owned())).collect()),
    ];
    parts.extend(keys.map(|key| RespValue::Integer(key.into())));
    parts.push(RespValue::Set(categories.into_iter().map(simple).collect()));
    parts.extend([RespValue::Array(Vec::new()), RespValue::Array(Vec::new())]);
    parts
}

fn category(flag: &str) -> Option<String> {
    let category = match flag {
        "write" => "@write",
        "readonly" => "@read",
        "fast" => "@fast",
        "blocking" => "@blocking",
        _ => return None,
    };
    Some(category.to_owned())
}

pub(super) fn time() -> RespValue {
    let now = clock::unix_time();
    let part = |number: u64| RespValue::bulk(number.to_string());
    RespValue::Array(vec![part(now.as_secs()), part(now.subsec_micros().into())])
}

/// What clients look for at their start, and nothing that is not so.
pub(super) fn info(client: &RedisClient, request: &RespRequest) -> RespValue {
    let sections: [(&str, String); 4] = [
        (
            "Server",
            format!(
                "redis_version:{REDIS_VERSION}\r\nredis_mode:standalone\r\nserver_name:postern\r\n\
                 postern_version:{}\r\nprocess_id:{}\r\n",
                env!("CARGO_PKG_VERSION"),
                std::process::id(),
            ),
        ),
        ("Clients", format!("client_id:{}\r\n", client.id)),
        ("Persistence", "loading:0\r\n".to_owned()),
        (
            "Replication",
            "role:master\r\nconnected_slaves:0\r\n".to_owned(),
        ),
    ];
    let is_asked = |name: &str| {
        request.len() == 1
            || request.rest(1).any(|word| {
                is(word, name)
                    || ["ALL", "DEFAULT", "EVERYTHING"]
                        .iter()
                        .any(|all| is(word, all))
            })
    };
    let mut text = String::new();
    for (name, lines) in sections {
        if is_asked(name) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            text.push_str(&format!("# {name}\r\n{lines}"));
        }
    }
    RespValue::Verbatim(text.into())
}
