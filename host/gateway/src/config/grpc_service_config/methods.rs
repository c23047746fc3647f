//! `methodConfig`: what holds for which methods of the service.

use serde_json::{Map, Value as Json};

use super::{policies, translation::Translation};
use crate::config::value::{Node, Value};

/// An entry that holds for methods of the service.
struct MethodConfig<'a> {
    part: String,
    members: &'a Map<String, Json>,
}

/// Which methods an entry holds for. What is said of a method comes before what is said of its service,
/// and that before what is said of all services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Scope<'a> {
    Everything,
    Service,
    Method(&'a str),
}

/// What is said of all methods of the service, and what of single ones.
#[derive(Default)]
struct Scoped<'a> {
    whole: Option<(Scope<'a>, MethodConfig<'a>)>,
    methods: Vec<(&'a str, MethodConfig<'a>)>,
}

pub(super) fn translate(translation: &mut Translation<'_>, value: &Json) {
    let Some(items) = value.as_array() else {
        translation.refuse("methodConfig", "it is no list");
        return;
    };
    let service = translation.service.to_owned();
    let mut scoped = Scoped::default();
    for (idx, item) in items.iter().enumerate() {
        let part = format!("methodConfig[{idx}]");
        let Some(members) = item.as_object() else {
            translation.refuse(&part, "it is no object");
            continue;
        };
        check(translation, &part, members);
        for scope in scopes(&service, members) {
            let config = MethodConfig {
                part: part.clone(),
                members,
            };
            scoped.add(scope, config);
        }
    }
    scoped.translate(translation);
}

/// What an entry may say, whoever it holds for.
fn check(translation: &mut Translation<'_>, part: &str, members: &Map<String, Json>) {
    const KNOWN: [&str; 7] = [
        "name",
        TIMEOUT,
        "waitForReady",
        MAX_REQUEST,
        MAX_RESPONSE,
        RETRY,
        HEDGING,
    ];
    for (name, value) in members {
        let part = format!("{part}.{name}");
        if !KNOWN.contains(&name.as_str()) {
            translation.refuse(&part, "unknown key");
        } else if name == "waitForReady" && *value != Json::Bool(false) {
            let message = "calls do not wait for an instance; they fail, and may be tried again";
            translation.refuse(&part, message);
        }
    }
    if members.contains_key(RETRY) && members.contains_key(HEDGING) {
        let message = "a method has a retryPolicy or a hedgingPolicy, and not both";
        translation.refuse(part, message);
    }
}

fn scopes<'a>(service: &str, members: &'a Map<String, Json>) -> Vec<Scope<'a>> {
    let names = members.get("name").and_then(Json::as_array);
    let names = names.map(Vec::as_slice).unwrap_or_default().iter();
    let text = |name: &'a Json, key| name.get(key).and_then(Json::as_str).unwrap_or_default();
    let scope = |name| match (text(name, "service"), text(name, "method")) {
        ("", "") => Some(Scope::Everything),
        (named, "") if named == service => Some(Scope::Service),
        (named, method) if named == service => Some(Scope::Method(method)),
        _ => None,
    };
    names.filter_map(scope).collect()
}

impl<'a> Scoped<'a> {
    fn add(&mut self, scope: Scope<'a>, config: MethodConfig<'a>) {
        match scope {
            Scope::Method(method) => self.methods.push((method, config)),
            Scope::Everything | Scope::Service => {
                let is_nearer = self.whole.as_ref().is_none_or(|(known, _)| *known < scope);
                if is_nearer {
                    self.whole = Some((scope, config));
                }
            }
        }
    }

    fn translate(&self, translation: &mut Translation<'_>) {
        let duration = |translation: &mut Translation<'_>, part: &str, value: &Json| {
            policies::duration(translation, part, value)
        };
        self.one_for_all(translation, TIMEOUT, &["timeout"], duration);
        let bytes = |translation: &mut Translation<'_>, part: &str, value: &Json| {
            let octets = value.as_i64().or_else(|| value.as_str()?.parse().ok());
            if octets.is_none() {
                translation.refuse(part, format!("{value} is no number of octets"));
            }
            octets.map(Value::Integer)
        };
        let path = ["grpc", "send-bytes-max"];
        self.one_for_all(translation, MAX_REQUEST, &path, bytes);
        let path = ["grpc", "receive-bytes-max"];
        self.one_for_all(translation, MAX_RESPONSE, &path, bytes);
        self.policy(translation, RETRY, policies::retry);
        self.policy(translation, HEDGING, policies::hedging);
    }

    /// All entries that hold for methods of the service.
    fn all(&self) -> impl Iterator<Item = &MethodConfig<'a>> {
        let whole = self.whole.iter().map(|(_, config)| config);
        whole.chain(self.methods.iter().map(|(_, config)| config))
    }

    /// What `[services.NAME]` has once for all methods.
    fn one_for_all(
        &self,
        translation: &mut Translation<'_>,
        name: &str,
        path: &[&str],
        read: impl Fn(&mut Translation<'_>, &str, &Json) -> Option<Value>,
    ) {
        let Some(first) = self.all().find(|config| config.members.contains_key(name)) else {
            return;
        };
        let part = format!("{}.{name}", first.part);
        let value = first.members.get(name);
        let is_same = self.all().all(|config| config.members.get(name) == value);
        if self.whole.is_none() || !is_same {
            let message =
                "it holds for some methods of the service only; here one holds for all of them";
            translation.refuse(&part, message);
            return;
        }
        if let Some(value) = value.and_then(|value| read(translation, &part, value)) {
            translation.key(path, value);
        }
    }

    /// What `[services.NAME]` has once, for the methods that may be repeated.
    fn policy(
        &self,
        translation: &mut Translation<'_>,
        name: &str,
        translate: impl Fn(&mut Translation<'_>, &str, &Map<String, Json>),
    ) {
        let has_policy = |config: &MethodConfig<'_>| config.members.contains_key(name);
        let Some(first) = self.all().find(|config| has_policy(config)) else {
            return;
        };
        let part = format!("{}.{name}", first.part);
        let policy = first.members.get(name);
        let mut others = self.all().filter(|config| has_policy(config));
        if let Some(other) = others.find(|config| config.members.get(name) != policy) {
            let message = format!("it differs from {part}; here one holds for all methods");
            translation.refuse(&format!("{}.{name}", other.part), message);
            return;
        }
        let is_for_all = self
            .whole
            .as_ref()
            .is_some_and(|(_, config)| has_policy(config));
        let methods: Vec<&str> = match is_for_all {
            true => vec!["*"],
            false => self
                .methods
                .iter()
                .filter(|(_, config)| has_policy(config))
                .map(|(name, _)| *name)
                .collect(),
        };
        let exempt = self.methods.iter().find(|(_, config)| !has_policy(config));
        if let Some((method, _)) = exempt.filter(|_| is_for_all) {
            let message = format!("{method} is exempt from it; name the methods that it holds for");
            translation.refuse(&part, message);
            return;
        }
        let Some(policy) = policy.and_then(Json::as_object) else {
            translation.refuse(&part, "it is no object");
            return;
        };
        let place = translation.place.clone();
        let patterns = methods.into_iter().map(|method| Node {
            place: place.clone(),
            value: Value::Text(method.to_owned()),
        });
        translation.key(&["idempotent"], Value::List(patterns.collect()));
        translate(translation, &part, policy);
    }
}

const TIMEOUT: &str = "timeout";
const MAX_REQUEST: &str = "maxRequestMessageBytes";
const MAX_RESPONSE: &str = "maxResponseMessageBytes";
const RETRY: &str = "retryPolicy";
const HEDGING: &str = "hedgingPolicy";
