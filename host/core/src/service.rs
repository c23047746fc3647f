//! The one description of a service: what a component says of itself, the directory carries from
//! gateway to gateway, and the catalogue shows. Whoever reads it from elsewhere bounds it.

use std::{collections::BTreeMap, sync::Arc};

use crate::text::Text;

/// JSON Schemas (2020-12) of types, as text, by the names that methods have for them.
pub type TypeSchemas = BTreeMap<Text, Text>;

/// A service and what it can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceInfo {
    pub name: Text,
    /// A semantic version, where it states one.
    pub version: Option<Text>,
    /// One sentence for people; empty when the service says nothing about itself.
    pub summary: Text,
    /// Empty when the service does not describe its methods; it may answer any.
    pub methods: Vec<MethodInfo>,
    /// Of the types that its methods name, as far as somebody says. They are no part of an entry of the
    /// directory, which is short.
    pub schemas: Arc<TypeSchemas>,
}

/// A method of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MethodInfo {
    /// `*` stands for every method that is not described.
    pub name: Text,
    /// One sentence for people; may be empty.
    pub summary: Text,
    /// `None` where nobody says.
    pub kind: Option<CallKind>,
    pub request: TypeInfo,
    pub response: TypeInfo,
    /// Whether a second identical call changes nothing more, so that it may be made again after a
    /// failure and beside one that is slow.
    pub idempotent: bool,
    /// Whether a call changes nothing at all, as RFC 9110 section 9.2.1 has it: who may make it by GET
    /// does. `NO_SIDE_EFFECTS` of protobuf.
    pub safe: bool,
}

/// What a message is. Its schema stands under its name in `ServiceInfo::schemas`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TypeInfo {
    /// Empty where there is no message, or nobody says.
    pub name: Text,
}

/// How many messages go each way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallKind {
    Unary,
    ClientStream,
    ServerStream,
    Bidirectional,
}

impl ServiceInfo {
    /// Whether it may answer methods that it does not name.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|method| method.name == "*")
    }

    /// Takes over what `other`, which answers for the same service, says beyond this.
    pub fn merge(&mut self, other: &Self) {
        if self.summary.is_empty() {
            self.summary = other.summary.clone();
        }
        if self.version.is_none() {
            self.version.clone_from(&other.version);
        }
        self.add_schemas(&other.schemas);
        for method in &other.methods {
            if !self.methods.iter().any(|known| known.name == method.name) {
                self.methods.push(method.clone());
            }
        }
    }
}

impl ServiceInfo {
    /// Takes over the schemas of types that have none here.
    pub fn add_schemas(&mut self, others: &Arc<TypeSchemas>) {
        if self.schemas.is_empty() {
            self.schemas = Arc::clone(others);
            return;
        }
        let missing = |name: &&Text| !self.schemas.contains_key(*name);
        if others.keys().any(|name| missing(&name)) {
            let known = Arc::make_mut(&mut self.schemas);
            for (name, schema) in &**others {
                known.entry(name.clone()).or_insert_with(|| schema.clone());
            }
        }
    }

    /// The schema of a type that its methods name.
    #[must_use]
    pub fn schema(&self, info: &TypeInfo) -> Option<&Text> {
        self.schemas.get(info.name.as_str())
    }

    /// The method of that name.
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&MethodInfo> {
        self.methods.iter().find(|method| method.name == *name)
    }
}

impl MethodInfo {
    /// A method of which nothing but this is known.
    #[must_use]
    pub fn new(name: impl Into<Text>, idempotent: bool) -> Self {
        Self {
            name: name.into(),
            idempotent,
            ..Self::default()
        }
    }

    /// As `new`, for a method that takes and gives one message.
    #[must_use]
    pub fn unary(name: impl Into<Text>, idempotent: bool) -> Self {
        Self {
            kind: Some(CallKind::Unary),
            ..Self::new(name, idempotent)
        }
    }

    #[must_use]
    pub fn with_summary(self, summary: impl Into<Text>) -> Self {
        Self {
            summary: summary.into(),
            ..self
        }
    }

    /// Without its summary and the names of its types.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self {
            kind: self.kind,
            safe: self.safe,
            ..Self::new(self.name.clone(), self.idempotent)
        }
    }

    /// Its texts.
    pub fn texts(&self) -> [&Text; 4] {
        [
            &self.name,
            &self.summary,
            &self.request.name,
            &self.response.name,
        ]
    }

    /// A copy that keeps no frame alive which its texts were read from.
    #[must_use]
    pub fn detached(&self) -> Self {
        let copy = |text: &Text| Text::from(text.as_str());
        let copied = |info: &TypeInfo| TypeInfo {
            name: copy(&info.name),
        };
        Self {
            name: copy(&self.name),
            summary: copy(&self.summary),
            kind: self.kind,
            request: copied(&self.request),
            response: copied(&self.response),
            idempotent: self.idempotent,
            safe: self.safe,
        }
    }
}

impl CallKind {
    pub const ALL: [Self; 4] = [
        Self::Unary,
        Self::ClientStream,
        Self::ServerStream,
        Self::Bidirectional,
    ];

    /// The name in descriptions: `server-stream`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::ClientStream => "client-stream",
            Self::ServerStream => "server-stream",
            Self::Bidirectional => "bidirectional",
        }
    }

    /// The kind of that name, as `name` spells it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(methods: &[&str]) -> ServiceInfo {
        ServiceInfo {
            methods: methods
                .iter()
                .map(|name| MethodInfo::new(*name, false))
                .collect(),
            ..ServiceInfo::default()
        }
    }

    #[test]
    fn a_service_is_open_that_names_no_method_or_all() {
        assert!(service(&[]).is_open());
        assert!(service(&["get", "*"]).is_open());
        assert!(!service(&["get"]).is_open());
    }

    #[test]
    fn what_is_said_first_stands() {
        let mut one = service(&["get"]);
        let mut other = service(&["get", "put"]);
        other.methods = other
            .methods
            .iter()
            .map(|m| MethodInfo::unary(m.name.clone(), true))
            .collect();
        other.summary = "Users.".into();
        other.version = Some("2".into());
        one.merge(&other);
        assert_eq!(
            (&*one.summary, one.version.as_deref()),
            ("Users.", Some("2"))
        );
        let methods: Vec<_> = one
            .methods
            .iter()
            .map(|m| (&*m.name, m.idempotent))
            .collect();
        assert_eq!(methods, [("get", false), ("put", true)]);
    }

    #[test]
    fn schemas_of_types_that_are_known_stay_and_others_come() {
        let with = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, schema): &(&'static str, &'static str)| {
                (Text::from_static(name), Text::from_static(schema))
            };
            Arc::new(pairs.iter().map(pair).collect::<TypeSchemas>())
        };
        let mut one = ServiceInfo {
            schemas: with(&[("User", "{}")]),
            ..ServiceInfo::default()
        };
        let other = ServiceInfo {
            schemas: with(&[("Page", "true"), ("User", "false")]),
            ..ServiceInfo::default()
        };
        one.merge(&other);
        assert_eq!(one.schemas, with(&[("Page", "true"), ("User", "{}")]));
        let named = |name| TypeInfo {
            name: Text::from_static(name),
        };
        assert_eq!(one.schema(&named("Page")).map(Text::as_str), Some("true"));
        assert_eq!(one.schema(&named("Id")), None);
    }

    #[test]
    fn kinds_are_found_by_their_names() {
        for kind in CallKind::ALL {
            assert_eq!(CallKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(CallKind::from_name(""), None);
    }
}
