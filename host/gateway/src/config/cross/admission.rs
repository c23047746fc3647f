//! What limits, header rules and sharing cannot say key by key.

use super::security::HEADER_REMEDY;
use crate::{
    config::{
        Config, HeaderEdits, OpaqueTable, RateKey, RateLimit,
        leaf::is_token,
        section::{SectionReader, join},
    },
    guard::header_rules::Template,
};

pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    for (name, limit) in &config.limits {
        check_limit(&format!("limits.{name}"), limit, reader);
    }
    for (name, rule) in &config.headers {
        let path = format!("headers.{name}");
        check_edits(&join(&path, "request"), &rule.request, reader);
        check_edits(&join(&path, "response"), &rule.response, reader);
    }
    for (name, listener) in &config.listeners {
        if let Err(error) = listener.cors.sharing() {
            let remedy = "write what browsers send, such as \"https://example.org\"";
            reader.fault_of_key(
                &format!("listeners.{name}.cors.origins"),
                error.to_string(),
                remedy,
            );
        }
    }
}

fn check_limit(path: &str, limit: &RateLimit, reader: &mut SectionReader) {
    let key = join(path, "rate");
    if limit.rate == 0 {
        match reader.places.contains_key(&key) {
            true => reader.fault_of_key(&key, "a rate of 0 refuses every call", RATE_REMEDY),
            false => reader.fault_of_table(path, "the key \"rate\" is missing", RATE_REMEDY),
        }
    }
    let key = join(path, "header");
    match (limit.by, &limit.header) {
        (RateKey::Header, Some(name)) if !is_token(name) => {
            let message = format!("{name:?} is not a header name");
            reader.fault_of_key(&key, message, HEADER_REMEDY);
        }
        (RateKey::Header, None) if !reader.places.contains_key(&key) => {
            let remedy = "add header = \"NAME\"";
            reader.fault_of_table(path, "the key \"header\" is missing", remedy);
        }
        (RateKey::Principal | RateKey::Peer | RateKey::Service | RateKey::Global, Some(_)) => {
            let message = format!("a limit by {:?} looks at no header", limit.by.name());
            reader.fault_of_key(&key, message, "remove it, or write by = \"header\"");
        }
        (
            RateKey::Header
            | RateKey::Principal
            | RateKey::Peer
            | RateKey::Service
            | RateKey::Global,
            _,
        ) => {}
    }
}

fn check_edits(path: &str, edits: &HeaderEdits, reader: &mut SectionReader) {
    let key = join(path, "remove");
    for name in &edits.remove {
        if !is_token(name) {
            reader.fault_of_key(
                &key,
                format!("{name:?} is not a header name"),
                HEADER_REMEDY,
            );
        }
    }
    check_names(&join(path, "set"), &edits.set, reader);
    check_names(&join(path, "add"), &edits.add, reader);
    check_names(&join(path, "rename"), &edits.rename, reader);
    let key = join(path, "rename");
    for new in edits.rename.0.values().filter(|new| !is_token(new)) {
        reader.fault_of_table(&key, format!("{new:?} is not a header name"), HEADER_REMEDY);
    }
    for (table, edits) in [("set", &edits.set), ("add", &edits.add)] {
        for (name, value) in &edits.0 {
            if let Err(error) = Template::parse(value) {
                let message = format!("{name}: {error}");
                reader.fault_of_table(&join(path, table), message, VARIABLES);
            }
        }
    }
}

fn check_names(path: &str, table: &OpaqueTable, reader: &mut SectionReader) {
    for name in table.0.keys().filter(|name| !is_token(name)) {
        reader.fault_of_table(
            path,
            format!("{name:?} is not a header name"),
            HEADER_REMEDY,
        );
    }
}

const RATE_REMEDY: &str = "write rate = NUMBER, the calls in each `per`";
const VARIABLES: &str = "use {principal}, {peer}, {service}, {method} or {correlation-id}; write anything else as it is";
