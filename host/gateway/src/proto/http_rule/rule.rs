//! The rules of a method, as its options have them.

use std::borrow::Cow;

use prost_reflect::{DynamicMessage, MethodDescriptor, ReflectMessage as _, Value};

/// One `google.api.HttpRule` without its additional bindings. What is not written is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct HttpRule {
    pub verb: Option<String>,
    /// `None` where the rule has no pattern.
    pub path: Option<String>,
    pub body: String,
    pub response_body: String,
    /// It is an additional binding that has some itself.
    pub is_nested: bool,
}

/// The rule of `method` and then its additional bindings. None where the schema has no rule for it.
pub(super) fn read(method: &MethodDescriptor) -> Vec<HttpRule> {
    let options = method.options();
    // A schema that imports the annotation has the extension in its pool.
    let Some(extension) = options.descriptor().get_extension(EXTENSION) else {
        return Vec::new();
    };
    if !options.has_extension(&extension) {
        return Vec::new();
    }
    let value = options.get_extension(&extension);
    let Some(rule) = value.as_message() else {
        return Vec::new();
    };
    let additional = additional(rule);
    let mut rules = vec![HttpRule::of(rule)];
    rules.extend(additional.iter().filter_map(Value::as_message).map(|rule| {
        let is_nested = rule.has_field_by_name("additional_bindings");
        HttpRule {
            is_nested,
            ..HttpRule::of(rule)
        }
    }));
    rules
}

impl HttpRule {
    fn of(rule: &DynamicMessage) -> Self {
        let mut read = Self {
            body: text(rule, "body"),
            response_body: text(rule, "response_body"),
            ..Self::default()
        };
        let pattern = PATTERNS.iter().find(|name| rule.has_field_by_name(name));
        if let Some(name) = pattern {
            read.verb = Some(name.to_ascii_uppercase());
            read.path = Some(text(rule, name));
        } else if let Some(custom) = rule.get_field_by_name("custom")
            && rule.has_field_by_name("custom")
            && let Some(custom) = custom.as_message()
        {
            // "HttpRule": `*` leaves the method open.
            read.verb = Some(text(custom, "kind")).filter(|kind| kind != "*");
            read.path = Some(text(custom, "path"));
        }
        read
    }
}

fn additional(rule: &DynamicMessage) -> Vec<Value> {
    let list = rule.get_field_by_name("additional_bindings");
    let list = list.as_deref().and_then(Value::as_list);
    list.unwrap_or_default().to_vec()
}

fn text(message: &DynamicMessage, name: &str) -> String {
    let value = message.get_field_by_name(name).map(Cow::into_owned);
    let text = value.as_ref().and_then(Value::as_str);
    text.unwrap_or_default().to_owned()
}

/// google/api/annotations.proto: `extend google.protobuf.MethodOptions { HttpRule http = 72295728; }`.
const EXTENSION: u32 = 72_295_728;
/// Fields of the oneof `pattern` that hold a path.
const PATTERNS: [&str; 5] = ["get", "put", "post", "delete", "patch"];
