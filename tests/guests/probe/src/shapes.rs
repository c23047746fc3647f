//! What the methods take and give.

use std::collections::BTreeMap;

use postern_guest::directory;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Serialize)]
pub(crate) struct Seen {
    /// As text; what is not UTF-8 is replaced.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) transport: String,
    pub(crate) address: Option<String>,
    pub(crate) principal: Option<(String, Vec<String>)>,
    pub(crate) remaining_ms: u64,
    pub(crate) correlation_id: String,
    pub(crate) traceparent: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct Entry {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: Value,
}

#[derive(Deserialize)]
pub(crate) struct Swap {
    pub(crate) key: String,
    /// Absent or null: the key is absent.
    pub(crate) expected: Option<Value>,
    /// Absent or null: the key is deleted.
    pub(crate) value: Option<Value>,
}

#[derive(Deserialize)]
pub(crate) struct Keys {
    pub(crate) prefix: String,
    pub(crate) after: Option<String>,
    pub(crate) limit: u32,
}

#[derive(Deserialize)]
pub(crate) struct Line {
    pub(crate) level: String,
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) fields: BTreeMap<String, String>,
}

#[derive(Deserialize)]
pub(crate) struct Fault {
    /// `not-found` and so on.
    pub(crate) kind: String,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
}

#[derive(Deserialize)]
pub(crate) struct Request {
    pub(crate) service: String,
    pub(crate) method: String,
    #[serde(default)]
    pub(crate) body: Value,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) timeout_ms: Option<u64>,
}

/// A change of a metric of the plugin's own.
#[derive(Deserialize)]
pub(crate) struct Measure {
    /// `increase`, `set`, `adjust` or `observe`.
    pub(crate) change: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
    /// How often; once where it says nothing.
    pub(crate) times: Option<u32>,
    /// Traps afterwards.
    #[serde(default)]
    pub(crate) traps: bool,
}

#[derive(Deserialize)]
pub(crate) struct Declaration {
    pub(crate) name: String,
    /// `counter`, `gauge` or `histogram`.
    pub(crate) kind: String,
    pub(crate) help: String,
    #[serde(default)]
    pub(crate) bounds: Vec<f64>,
}

#[derive(Deserialize)]
pub(crate) struct Look {
    pub(crate) service: String,
    /// Of the listing that is known.
    pub(crate) revision: String,
    pub(crate) timeout_ms: u64,
}

/// What `directory` lists.
#[derive(Serialize)]
pub(crate) struct Listed {
    pub(crate) revision: String,
    pub(crate) instances: Vec<ListedInstance>,
}

#[derive(Serialize)]
pub(crate) struct ListedInstance {
    pub(crate) id: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) version: Option<String>,
    pub(crate) zone: Option<String>,
    pub(crate) weight: u32,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) healthy: bool,
}

#[derive(Deserialize)]
pub(crate) struct Annotation {
    pub(crate) status: Option<u16>,
    /// Of the failure, if it is to fail.
    pub(crate) fails: Option<String>,
}

impl From<directory::Listing> for Listed {
    fn from(listing: directory::Listing) -> Self {
        let instances = listing
            .instances
            .into_iter()
            .map(|instance| ListedInstance {
                id: instance.id,
                addresses: instance.addresses,
                version: instance.version,
                zone: instance.zone,
                weight: instance.weight,
                metadata: instance.metadata,
                healthy: instance.healthy,
            });
        Self {
            revision: listing.revision,
            instances: instances.collect(),
        }
    }
}
