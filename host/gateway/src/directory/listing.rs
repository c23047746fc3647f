//! An entry as JSON: what the service `directory` takes and tells, what peers read, and what is kept
//! over a restart. Keys that are not known are left alone, so that a later gateway may add some.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use postern_core::{
    Text,
    registry::{
        Address, Draft, Entry, EntryError, EntryRecord, Incarnation, Number, ParamValue, Params,
        ToldEntry, Ttl, Version, address::AddressError, entry::WEIGHT_DEFAULT, lease::TtlError,
        version::VersionError,
    },
    service::{CallKind, MethodInfo, ServiceInfo, TypeInfo},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// One entry. `instance` and `service` must be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Listing {
    pub instance: String,
    pub service: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Which life of the instance: larger is later.
    #[serde(default)]
    pub incarnation: u64,
    /// `tcp://HOST:PORT` and so on, the preferred first.
    #[serde(default)]
    pub addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Json>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub vnets: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub permissions: BTreeSet<String>,
    #[serde(default = "weight_default")]
    pub weight: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<MethodListing>>,
    /// Length of the lease; none for what is kept until its owner removes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

/// A method as everybody is shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MethodListing {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// `unary`, `client-stream`, `server-stream` or `bidirectional`; absent where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name of the request's type; empty when it takes none, or nobody says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub request: String,
    /// Name of the reply's type, likewise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub response: String,
    /// Whether a second identical call changes nothing more.
    #[serde(default)]
    pub idempotent: bool,
    /// Whether a call changes nothing at all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub safe: bool,
}

/// A service as everybody is shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServiceListing {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// One sentence for people; empty when the service says nothing about itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,
    /// Empty when the service does not describe its methods; it may answer any.
    #[serde(default)]
    pub methods: Vec<MethodListing>,
    /// Of the types that the methods name; absent unless they are asked for.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub schemas: Map<String, Json>,
}

/// Why a listing is no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListingError {
    #[error("addresses: {0}")]
    Address(#[from] AddressError),
    #[error("version: {0}")]
    Version(#[from] VersionError),
    #[error("params.{key}: {problem}")]
    Param { key: String, problem: &'static str },
    #[error(
        "methods: `{kind}` is no kind of call; write unary, client-stream, server-stream or bidirectional"
    )]
    CallKind { kind: String },
    #[error("{count} {what} exceed the limit of {limit}")]
    TooMany {
        what: &'static str,
        count: usize,
        limit: usize,
    },
    #[error("ttl-ms: {0}")]
    Ttl(#[from] TtlError),
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// The keys of a listing, for whoever refuses others.
pub(super) const KEYS: [&str; 14] = [
    "instance",
    "service",
    "version",
    "incarnation",
    "addresses",
    "params",
    "vnets",
    "permissions",
    "weight",
    "zone",
    "metadata",
    "summary",
    "methods",
    "ttl-ms",
];

impl Listing {
    /// Checks every part.
    ///
    /// # Errors
    /// The first that is wrong.
    pub(crate) fn told(&self) -> Result<ToldEntry, ListingError> {
        let entry = Entry::new(&self.draft()?)?;
        let ttl = self.ttl_ms.map(|ms| Ttl::new(Duration::from_millis(ms)));
        Ok(ToldEntry {
            entry,
            ttl: ttl.transpose()?,
        })
    }

    fn draft(&self) -> Result<Draft, ListingError> {
        let texts = |set: &BTreeSet<String>| set.iter().map(|text| text.as_str().into()).collect();
        let pair = |(key, value): (&String, &String)| (key.as_str().into(), value.as_str().into());
        let methods = self.methods.as_ref();
        let methods = methods.map(|methods| methods.iter().map(MethodListing::read).collect());
        let addresses = self.addresses.iter().map(|text| Address::parse(text));
        Ok(Draft {
            version: self.version.as_deref().map(Version::parse).transpose()?,
            incarnation: Incarnation(self.incarnation),
            addresses: addresses.collect::<Result<_, _>>()?,
            params: params(&self.params)?,
            vnets: texts(&self.vnets),
            permissions: texts(&self.permissions),
            weight: self.weight,
            zone: self.zone.as_deref().map(Text::from),
            metadata: self.metadata.iter().map(pair).collect(),
            summary: self.summary.as_str().into(),
            methods: methods.transpose()?,
            ..Draft::new(self.instance.as_str(), self.service.as_str())
        })
    }

    pub(super) fn of(entry: &Entry, ttl: Option<Ttl>) -> Self {
        let text = |text: &Text| text.to_string();
        let methods = entry.methods.as_ref();
        Self {
            instance: entry.instance.to_string(),
            service: entry.service.to_string(),
            version: entry.version.as_ref().map(ToString::to_string),
            incarnation: entry.incarnation.0,
            addresses: entry.addresses.iter().map(ToString::to_string).collect(),
            params: map_of(&entry.params),
            vnets: entry.vnets.iter().map(text).collect(),
            permissions: entry.permissions.iter().map(text).collect(),
            weight: entry.weight,
            zone: entry.zone.as_ref().map(text),
            metadata: (entry.metadata.iter())
                .map(|(key, value)| (text(key), text(value)))
                .collect(),
            summary: entry.summary.to_string(),
            methods: methods.map(|methods| methods.iter().map(MethodListing::from).collect()),
            ttl_ms: ttl.map(|ttl| millis(ttl.duration())),
        }
    }
}

impl MethodListing {
    fn read(&self) -> Result<MethodInfo, ListingError> {
        let named = |name: &String| TypeInfo {
            name: name.as_str().into(),
        };
        let unknown = |kind: &String| ListingError::CallKind { kind: kind.clone() };
        let read = |kind: &String| CallKind::from_name(kind).ok_or_else(|| unknown(kind));
        Ok(MethodInfo {
            name: self.name.as_str().into(),
            summary: self.summary.as_str().into(),
            kind: self.kind.as_ref().map(read).transpose()?,
            request: named(&self.request),
            response: named(&self.response),
            idempotent: self.idempotent,
            safe: self.safe,
        })
    }
}

impl From<&MethodInfo> for MethodListing {
    fn from(method: &MethodInfo) -> Self {
        Self {
            name: method.name.to_string(),
            summary: method.summary.to_string(),
            kind: method.kind.map(|kind| kind.name().to_owned()),
            request: method.request.name.to_string(),
            response: method.response.name.to_string(),
            idempotent: method.idempotent,
            safe: method.safe,
        }
    }
}

impl From<&ServiceInfo> for ServiceListing {
    fn from(service: &ServiceInfo) -> Self {
        Self {
            name: service.name.to_string(),
            version: service.version.as_ref().map(ToString::to_string),
            summary: service.summary.to_string(),
            methods: service.methods.iter().map(MethodListing::from).collect(),
            schemas: Map::new(),
        }
    }
}

impl ServiceListing {
    /// With the schemas of its types.
    pub(crate) fn with_schemas(service: &ServiceInfo) -> Self {
        let schemas = service.schemas.iter();
        let schemas = schemas.filter_map(|(name, text)| {
            // They were looked at when they came.
            Some((name.to_string(), serde_json::from_str(text).ok()?))
        });
        Self {
            schemas: schemas.collect(),
            ..Self::from(service)
        }
    }

    /// What another gateway has said, within the bounds of what a component may say.
    ///
    /// # Errors
    /// The first part that is wrong.
    pub(crate) fn read(&self) -> Result<ServiceInfo, ListingError> {
        for (what, count, limit) in [
            ("methods", self.methods.len(), 1024),
            ("schemas", self.schemas.len(), 1024),
        ] {
            if count > limit {
                return Err(ListingError::TooMany { what, count, limit });
            }
        }
        let methods = self.methods.iter().map(MethodListing::read);
        let schemas = self.schemas.iter();
        let schemas = schemas
            .map(|(name, schema)| (Text::from(name.as_str()), Text::from(schema.to_string())));
        Ok(ServiceInfo {
            name: self.name.as_str().into(),
            version: self.version.as_deref().map(Text::from),
            summary: self.summary.as_str().into(),
            methods: methods.collect::<Result<_, _>>()?,
            schemas: Arc::new(schemas.collect()),
        })
    }
}

impl From<&EntryRecord> for Listing {
    fn from(record: &EntryRecord) -> Self {
        Self::of(&record.entry, record.ttl)
    }
}

/// Parameters as the directory holds them.
///
/// # Errors
/// The first value that no parameter can have.
pub(super) fn params(map: &Map<String, Json>) -> Result<Params, ListingError> {
    let pairs = map.iter().map(|(key, json)| {
        let refused = |problem| ListingError::Param {
            key: key.clone(),
            problem,
        };
        Ok((Text::from(key.as_str()), value(json).map_err(refused)?))
    });
    pairs.collect()
}

/// Nesting is bounded by the JSON parser (128) before the entry's own bound is checked.
fn value(json: &Json) -> Result<ParamValue, &'static str> {
    Ok(match json {
        Json::Null => return Err("null is no value; leave the key out"),
        Json::Bool(boolean) => ParamValue::Bool(*boolean),
        Json::String(text) => ParamValue::Text(text.as_str().into()),
        Json::Number(number) => ParamValue::Number(match number.as_i64() {
            Some(number) => Number::integer(number),
            None => Number::float(number.as_f64().unwrap_or(f64::NAN))
                .map_err(|_| "not a finite number")?,
        }),
        Json::Array(items) => {
            let items = items.iter().map(value);
            ParamValue::List(items.collect::<Result<_, _>>()?)
        }
        Json::Object(map) => {
            let pairs = map
                .iter()
                .map(|(key, json)| Ok::<_, &'static str>((Text::from(key.as_str()), value(json)?)));
            ParamValue::Map(pairs.collect::<Result<_, _>>()?)
        }
    })
}

fn map_of(params: &Params) -> Map<String, Json> {
    let pairs = params.iter();
    pairs
        .map(|(key, value)| (key.to_string(), json_of(value)))
        .collect()
}

fn json_of(value: &ParamValue) -> Json {
    match value {
        ParamValue::Bool(boolean) => (*boolean).into(),
        ParamValue::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64().into(),
        },
        ParamValue::Text(text) => text.as_str().into(),
        ParamValue::List(items) => items.iter().map(json_of).collect(),
        ParamValue::Map(map) => Json::Object(map_of(map)),
    }
}

/// Leases are at most a day, so that this never saturates.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const fn weight_default() -> u32 {
    WEIGHT_DEFAULT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ToldEntry, ListingError> {
        serde_json::from_str::<Listing>(json)
            .expect("a listing")
            .told()
    }

    #[test]
    fn an_entry_is_read_as_it_is_written() {
        let json = r#"{"instance":"a","service":"s","version":"1.2.3","incarnation":7,
            "addresses":["tcp://h:1","udp://[::1]:2"],
            "params":{"b":true,"f":0.5,"i":-3,"l":[1,"x"],"m":{"k":"v"}},
            "vnets":["n"],"permissions":["p"],"weight":5,"zone":"z","metadata":{"k":"v"},
            "summary":"Users.","methods":[{"name":"get","summary":"One.","kind":"unary",
            "request":"id","response":"user","idempotent":true},{"name":"put"}],"ttl-ms":5000,
            "a-later-key":1}"#;
        let told = read(json).expect("an entry");
        assert_eq!(told.ttl.map(Ttl::duration), Some(Duration::from_secs(5)));
        assert_eq!(told.entry.methods.as_ref().map(Vec::len), Some(2));
        let written = Listing::of(&told.entry, told.ttl);
        assert_eq!(written.told(), Ok(told));
        let parsed: Json = serde_json::from_str(json).expect("JSON");
        let methods = serde_json::to_value(&written.methods).expect("JSON");
        assert_eq!(methods[0], parsed["methods"][0]);
        assert_eq!(
            methods[1],
            serde_json::json!({ "name": "put", "idempotent": false })
        );
        assert_eq!(Json::Object(written.params), parsed["params"]);
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let told = read(r#"{"instance":"a","service":"s"}"#).expect("an entry");
        assert_eq!(
            told.entry,
            Entry::new(&Draft::new("a", "s")).expect("an entry")
        );
        assert_eq!(told.ttl, None);
    }

    #[test]
    fn refuses_by_name_what_is_no_entry() {
        let check = |members: &str, expected: &str| {
            let json = format!(r#"{{"instance":"a","service":"s",{members}}}"#);
            assert_eq!(
                read(&json).map_err(|e| e.to_string()),
                Err(expected.to_owned())
            );
        };
        check(
            r#""addresses":["h:1"]"#,
            "addresses: `h:1` is not of the form scheme://host:port or scheme:///path",
        );
        check(
            r#""params":{"a":null}"#,
            "params.a: null is no value; leave the key out",
        );
        check(
            r#""ttl-ms":999"#,
            "ttl-ms: time to live of 999 ms is not within 1 s and 24 h",
        );
        check(
            r#""weight":10001"#,
            "weight 10001 exceeds the limit of 10000",
        );
        check(
            r#""methods":[{"name":"a","kind":"push"}]"#,
            "methods: `push` is no kind of call; write unary, client-stream, server-stream or bidirectional",
        );
        assert!(read(r#"{"instance":"a","service":"s","version":"x"}"#).is_err());
    }

    #[test]
    fn the_keys_are_those_of_a_listing() {
        let draft = Draft {
            version: Version::parse("1").ok(),
            params: [("a".into(), ParamValue::Bool(true))].into(),
            vnets: ["v".into()].into(),
            permissions: ["p".into()].into(),
            zone: Some("z".into()),
            metadata: [("k".into(), "v".into())].into(),
            summary: "s".into(),
            methods: Some(Vec::new()),
            ..Draft::new("a", "s")
        };
        let entry = Entry::new(&draft).expect("an entry");
        let json = serde_json::to_value(Listing::of(&entry, Some(Ttl::MIN))).expect("JSON");
        let mut keys: Vec<_> = json
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect();
        let mut known = KEYS.to_vec();
        keys.sort();
        known.sort_unstable();
        assert_eq!(keys, known);
    }
}
