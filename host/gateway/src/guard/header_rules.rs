//! Changes to the headers of calls and replies, by rules. Pure.
//!
//! Rules apply in the order of their names, and within one: remove, rename, set, add.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use postern_core::{Call, Headers, Peer, Principal, Text, headers::HeadersBuilder};

use crate::config::{CallPattern, HeaderEdits, HeaderRule};

/// All rules, checked.
#[derive(Debug, Default)]
pub(super) struct HeaderRules(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    calls: Vec<CallPattern>,
    request: Edits,
    response: Arc<Edits>,
}

#[derive(Debug, Default)]
struct Edits {
    remove: Vec<Removal>,
    rename: Vec<(String, String)>,
    set: Vec<(String, Template)>,
    add: Vec<(String, Template)>,
}

#[derive(Debug)]
enum Removal {
    Exact(String),
    /// Names that begin so.
    Prefix(String),
}

/// A value with variables in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variable {
    Principal,
    Peer,
    Service,
    Method,
    Correlation,
}

/// Why a value cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("there is no variable {{{0}}}")]
    Unknown(String),
    #[error("a brace is not closed")]
    Open,
}

/// What variables stand for in one call.
#[derive(Debug, Clone)]
struct Facts {
    principal: Option<Arc<Principal>>,
    peer: Arc<Peer>,
    service: Text,
    method: Text,
    correlation: Text,
}

/// What is to be done to the headers of a call's reply; taken before the call is handed on.
#[derive(Debug)]
pub(crate) struct ReplyEdits {
    edits: Vec<Arc<Edits>>,
    facts: Facts,
}

impl HeaderRules {
    /// The values were checked with the configuration; one that is wrong all the same is left out.
    pub(super) fn new(rules: &BTreeMap<String, HeaderRule>) -> Self {
        let rule = |rule: &HeaderRule| Rule {
            calls: rule.calls.clone(),
            request: Edits::new(&rule.request),
            response: Arc::new(Edits::new(&rule.response)),
        };
        Self(rules.values().map(rule).collect())
    }

    pub(super) fn edit_request(&self, call: &mut Call) {
        for rule in &self.0 {
            if !rule.request.is_empty() && rule.is_about(call) {
                call.headers = rule.request.apply(&call.headers, &Facts::of(call));
            }
        }
    }

    /// `None` when the reply stays as it is.
    pub(super) fn reply_edits(&self, call: &Call) -> Option<ReplyEdits> {
        let rules = self.0.iter();
        let edits: Vec<_> = rules
            .filter(|rule| !rule.response.is_empty() && rule.is_about(call))
            .map(|rule| Arc::clone(&rule.response))
            .collect();
        (!edits.is_empty()).then(|| ReplyEdits {
            edits,
            facts: Facts::of(call),
        })
    }
}

impl ReplyEdits {
    /// Changes the headers of the reply.
    pub(crate) fn apply(&self, headers: &mut Headers) {
        for edits in &self.edits {
            *headers = edits.apply(headers, &self.facts);
        }
    }
}

impl Rule {
    fn is_about(&self, call: &Call) -> bool {
        let mut calls = self.calls.iter();
        calls.any(|pattern| pattern.matches(&call.service, &call.method))
    }
}

impl Edits {
    fn new(edits: &HeaderEdits) -> Self {
        let removal = |name: &String| match name.strip_suffix('*') {
            Some(prefix) => Removal::Prefix(prefix.to_owned()),
            None => Removal::Exact(name.clone()),
        };
        let templates = |table: &BTreeMap<String, String>| {
            let pairs = table.iter();
            let pairs = pairs.filter_map(|(name, value)| {
                Some((name.to_ascii_lowercase(), Template::parse(value).ok()?))
            });
            pairs.collect()
        };
        let rename = edits.rename.0.iter();
        Self {
            remove: edits.remove.iter().map(removal).collect(),
            rename: rename
                .map(|(old, new)| (old.clone(), new.to_ascii_lowercase()))
                .collect(),
            set: templates(&edits.set.0),
            add: templates(&edits.add.0),
        }
    }

    fn is_empty(&self) -> bool {
        self.remove.is_empty()
            && self.rename.is_empty()
            && self.set.is_empty()
            && self.add.is_empty()
    }

    /// A header that no longer fits into a section is left out.
    fn apply(&self, headers: &Headers, facts: &Facts) -> Headers {
        let mut builder = HeadersBuilder::like(headers, 64);
        for (key, value) in headers.iter() {
            if self.remove.iter().any(|removal| removal.matches(key)) {
                continue;
            }
            let renamed = self.rename.iter().find(|(old, _)| is_same(key, old));
            let key = renamed.map_or(key, |(_, new)| new.as_bytes());
            // What is set takes the place of what was sent, also where there is nothing to set: a
            // caller must not be able to say who it is by the name of a variable that is unknown.
            if !self.set.iter().any(|(name, _)| is_same(key, name)) {
                let _ = builder.push(key, value);
            }
        }
        for (name, template) in self.set.iter().chain(&self.add) {
            if let Some(value) = template.fill(facts) {
                let _ = builder.push(name, value);
            }
        }
        builder.build()
    }
}

impl Removal {
    fn matches(&self, key: &[u8]) -> bool {
        match self {
            Self::Exact(name) => is_same(key, name),
            Self::Prefix(prefix) => key
                .get(..prefix.len())
                .is_some_and(|start| is_same(start, prefix)),
        }
    }
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or(TemplateError::Open)?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Variable(Variable::of_name(name)?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// `None` when a variable is not known.
    fn fill(&self, facts: &Facts) -> Option<String> {
        let mut value = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Variable(variable) => value.push_str(&facts.look_up(*variable)?),
            }
        }
        Some(value)
    }
}

impl Variable {
    fn of_name(name: &str) -> Result<Self, TemplateError> {
        match name {
            "principal" => Ok(Self::Principal),
            "peer" => Ok(Self::Peer),
            "service" => Ok(Self::Service),
            "method" => Ok(Self::Method),
            "correlation-id" => Ok(Self::Correlation),
            _ => Err(TemplateError::Unknown(name.to_owned())),
        }
    }
}

impl Facts {
    fn of(call: &Call) -> Self {
        let context = &call.context;
        Self {
            principal: context.principal.clone(),
            peer: Arc::clone(&context.peer),
            service: call.service.clone(),
            method: call.method.clone(),
            correlation: context.correlation.clone(),
        }
    }

    fn look_up(&self, variable: Variable) -> Option<Cow<'_, str>> {
        let text = match variable {
            Variable::Principal => &*self.principal.as_ref()?.name,
            Variable::Peer => return Some(self.peer.origin.host()?.into()),
            Variable::Service => &*self.service,
            Variable::Method => &*self.method,
            Variable::Correlation if self.correlation.is_empty() => return None,
            Variable::Correlation => &*self.correlation,
        };
        // A name with a line break in it would end the header on the way to an HTTP service.
        (!text.chars().any(char::is_control)).then_some(text.into())
    }
}

fn is_same(key: &[u8], name: &str) -> bool {
    key.eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// `rule` as `[headers.a]`; the headers of a call or reply before and after.
    #[track_caller]
    fn check(rule: &str, before: &[(&str, &str)], after: &[(&str, &str)]) {
        let rules = rules(&format!("[headers.a]\n{rule}"));
        let mut call = call();
        call.headers = headers(before);
        rules.edit_request(&mut call);
        assert_eq!(call.headers, headers(after), "{rule}");
    }

    fn rules(text: &str) -> HeaderRules {
        let parsed = config::parse("t", text, &BTreeMap::new());
        let (config, _) = parsed.unwrap_or_else(|faults| panic!("{faults}"));
        HeaderRules::new(&config.headers)
    }

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (key, value) in pairs {
            headers.push(key, value).expect("short");
        }
        headers
    }

    fn call() -> Call {
        let mut call = Call::unary("users", "Get", "");
        call.context.correlation = "c-1".into();
        call
    }

    #[test]
    fn removes_by_name_and_by_beginning_in_any_case() {
        check(
            "request = { remove = [\"X-One\", \"x-internal-*\"] }",
            &[
                ("x-one", "1"),
                ("X-Internal-A", "2"),
                ("x-internal-", "3"),
                ("x-two", "4"),
            ],
            &[("x-two", "4")],
        );
    }

    #[test]
    fn sets_in_the_place_of_all_and_adds_beside() {
        check(
            "request = { set = { x-a = \"new\" }, add = { x-b = \"more\" } }",
            &[("X-A", "1"), ("x-b", "1"), ("x-a", "2")],
            &[("x-b", "1"), ("x-a", "new"), ("x-b", "more")],
        );
    }

    #[test]
    fn renames_before_it_sets() {
        check(
            "request = { rename = { X-Old = \"x-new\" } }",
            &[("x-old", "1"), ("x-other", "2")],
            &[("x-new", "1"), ("x-other", "2")],
        );
        check(
            "request = { rename = { x-old = \"x-new\" }, set = { x-new = \"2\" } }",
            &[("x-old", "1")],
            &[("x-new", "2")],
        );
    }

    #[test]
    fn variables_tell_of_the_call() {
        check(
            "request.set = { x = \"{service}/{method} #{correlation-id}\" }",
            &[],
            &[("x", "users/Get #c-1")],
        );
    }

    #[test]
    fn a_caller_cannot_claim_what_a_variable_does_not_know() {
        check(
            "request.set = { x-user = \"{principal}\", x-peer = \"{peer}\" }",
            &[
                ("x-user", "root"),
                ("X-User", "root"),
                ("x-peer", "127.0.0.1"),
            ],
            &[],
        );
    }

    #[test]
    fn a_name_with_a_line_break_is_not_written() {
        let rules = rules("[headers.a]\nrequest.set = { x-user = \"{principal}\" }");
        let mut call = call();
        let principal = |name: &str| Principal {
            name: name.into(),
            roles: Vec::new(),
            claims: Vec::new(),
        };
        call.context.principal = Some(Arc::new(principal("ann\r\nx-admin: 1")));
        rules.edit_request(&mut call);
        assert!(call.headers.is_empty());
        call.context.principal = Some(Arc::new(principal("ann")));
        rules.edit_request(&mut call);
        assert_eq!(call.headers, headers(&[("x-user", "ann")]));
    }

    #[test]
    fn replies_are_changed_by_what_the_call_was() {
        let text = "[headers.a]\ncalls = [\"users\"]\nresponse.set = { x-method = \"{method}\" }\n\
                    [headers.b]\nresponse.rename = { x-method = \"x-called\" }";
        let rules = rules(text);
        let edits = rules.reply_edits(&call()).expect("two rules");
        let mut reply = headers(&[("x", "1")]);
        edits.apply(&mut reply);
        assert_eq!(reply, headers(&[("x", "1"), ("x-called", "Get")]));
        let other = Call::unary("echo", "Say", "");
        let mut reply = headers(&[("x-method", "1")]);
        rules
            .reply_edits(&other)
            .expect("one rule")
            .apply(&mut reply);
        assert_eq!(reply, headers(&[("x-called", "1")]));
        assert!(HeaderRules::default().reply_edits(&other).is_none());
    }

    #[test]
    fn what_no_rule_is_about_stays() {
        check(
            "calls = [\"echo\"]\nrequest.remove = [\"x\"]",
            &[("x", "1")],
            &[("x", "1")],
        );
    }

    #[test]
    fn templates_with_unknown_or_open_braces_are_refused() {
        let unknown = TemplateError::Unknown("user".to_owned());
        assert_eq!(Template::parse("a{user}"), Err(unknown));
        assert_eq!(Template::parse("a{principal"), Err(TemplateError::Open));
        assert_eq!(
            Template::parse("a}b").map(|template| template.0.len()),
            Ok(1)
        );
        assert_eq!(Template::parse(""), Ok(Template(Vec::new())));
    }
}
