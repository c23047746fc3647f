//! Words that services are configured with, each with what it means to the core.

use postern_core::{Kind, Text, balance::Policy};
use serde_json::json;

use super::{
    leaf::{Leaf, word_leaf},
    value::Value,
};
use crate::cluster::HashOn;

/// Who picks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BalancerName {
    Native(NativeName),
    Plugin(Text),
}

/// A native policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct NativeName(pub Policy);

/// What calls are kept together by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HashKey(pub HashOn);

/// A kind of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KindName(pub Kind);

/// How many calls may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallLimit {
    None,
    Fixed(u32),
    Adaptive,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SplitBySetting {
    Sequence,
    Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubsetMode {
    Prefer,
    Require,
}

word_leaf!(SplitBySetting { Sequence = "sequence", Key = "key" });
word_leaf!(SubsetMode { Prefer = "prefer", Require = "require" });

impl Default for BalancerName {
    fn default() -> Self {
        Self::Native(NativeName::default())
    }
}

impl Leaf for BalancerName {
    fn expected() -> String {
        format!("{}, or \"plugin:NAME\"", NativeName::expected())
    }

    fn read(value: &Value) -> Result<Self, String> {
        let plugin = value
            .as_text()
            .and_then(|text| text.strip_prefix("plugin:"));
        match plugin {
            Some("") => Err(format!("{} names no plugin", value.shown())),
            Some(plugin) => Ok(Self::Plugin(plugin.into())),
            None => NativeName::read(value).map(Self::Native),
        }
    }

    fn written(&self) -> Option<String> {
        match self {
            Self::Native(name) => name.written(),
            Self::Plugin(name) => format!("plugin:{name}").written(),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "anyOf": [NativeName::schema(), { "type": "string", "pattern": "^plugin:.+$" }] })
    }
}

impl Leaf for NativeName {
    fn expected() -> String {
        let names = Policy::ALL.map(|policy| format!("\"{}\"", policy.name()));
        format!("one of {}", names.join(", "))
    }

    fn read(value: &Value) -> Result<Self, String> {
        let unknown = || format!("{} is not known here", value.shown());
        let text = value.as_text().ok_or_else(unknown)?;
        text.parse().map(Self).map_err(|_| unknown())
    }

    fn written(&self) -> Option<String> {
        self.0.name().to_owned().written()
    }

    fn schema() -> serde_json::Value {
        json!({ "enum": Policy::ALL.map(|policy| policy.name()) })
    }
}

impl Default for HashKey {
    fn default() -> Self {
        Self(HashOn::Peer)
    }
}

impl Leaf for HashKey {
    fn expected() -> String {
        "\"peer\", \"principal\", \"service-method\", \"header:NAME\" or \"payload-field:NAME\""
            .to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let read = value.as_text().and_then(HashOn::parse).map(Self);
        read.ok_or_else(|| format!("{} is nothing that calls are kept by", value.shown()))
    }

    fn written(&self) -> Option<String> {
        self.0.to_string().written()
    }

    fn schema() -> serde_json::Value {
        json!({
            "type": "string",
            "pattern": "^(peer|principal|service-method|header:.+|payload-field:.+)$",
        })
    }
}

impl KindName {
    /// What is tried again by default: those of `core::resilience::Kinds`.
    pub(super) fn retried() -> Vec<Self> {
        [
            Kind::Unavailable,
            Kind::ResourceExhausted,
            Kind::DeadlineExceeded,
        ]
        .map(Self)
        .into()
    }
}

impl Leaf for KindName {
    fn expected() -> String {
        "a kind of error such as \"unavailable\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_text().unwrap_or_default();
        // The last two as the VSP guide writes them.
        let kind = match text.replace('_', "-").as_str() {
            "connection-error" => Some(Kind::Unavailable),
            "timeout" => Some(Kind::DeadlineExceeded),
            name => Kind::from_name(name),
        };
        kind.map(Self)
            .ok_or_else(|| format!("{} is no kind of error", value.shown()))
    }

    fn written(&self) -> Option<String> {
        self.0.name().to_owned().written()
    }

    fn schema() -> serde_json::Value {
        let names = Kind::ALL.map(Kind::name).into_iter();
        json!({ "enum": names.chain(["connection_error", "timeout"]).collect::<Vec<_>>() })
    }
}

impl Leaf for CallLimit {
    fn expected() -> String {
        "a whole number, \"adaptive\", or 0 for no limit".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        if value.as_text() == Some("adaptive") {
            return Ok(Self::Adaptive);
        }
        match u32::read(value)? {
            0 => Ok(Self::None),
            limit => Ok(Self::Fixed(limit)),
        }
    }

    fn written(&self) -> Option<String> {
        match self {
            Self::None => 0_u32.written(),
            Self::Fixed(limit) => limit.written(),
            Self::Adaptive => "adaptive".to_owned().written(),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "adaptive" }] })
    }
}
