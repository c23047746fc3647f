//! What other gateways say of the services that they answer for: methods and schemas, which the directory
//! has no room for. They are asked for their catalogue (`directory/services`), in the background: no call
//! waits for it.
//!
//! Bounded by `SERVICES_MAX`, `REPLY_BYTES_MAX` and `HELD_BYTES_MAX`. What cannot be had or used is left
//! out, and asked for again.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures_util::{StreamExt, stream};
use postern_core::{Call, Error, Text, service::ServiceInfo};
use postern_system::clock;
use serde_json::json;
use tracing::{debug, warn};

use super::{
    Control,
    remote::{DescriptionSource, Remote},
};
use crate::{
    directory::{listing::ServiceListing, service::SERVICE},
    schema,
};

/// What is known, by the names of services.
#[derive(Default)]
pub(super) struct RemoteServices(ArcSwap<BTreeMap<Text, RemoteService>>);

/// Of one service.
#[derive(Clone)]
struct RemoteService {
    source: DescriptionSource,
    asked_at: Instant,
    /// None where the answer was no use.
    info: Option<Arc<ServiceInfo>>,
    /// Octets of its schemas.
    n_bytes: usize,
}

impl RemoteServices {
    pub(super) fn get(&self, service: &str) -> Option<ServiceInfo> {
        let known = self.0.load();
        let info = known.get(service)?.info.as_ref()?;
        Some(ServiceInfo::clone(info))
    }

    /// Adds to `services` what is known beyond what they say.
    pub(super) fn add_to(&self, services: &mut BTreeMap<Text, ServiceInfo>) {
        for (name, known) in &**self.0.load() {
            if let (Some(service), Some(info)) = (services.get_mut(name), &known.info) {
                service.merge(info);
            }
        }
    }
}

impl Control {
    /// Follows what other gateways say of their services, for ever.
    pub(crate) async fn follow_remote_services(&self) {
        let mut changes = self.fleet.directory().changes();
        loop {
            changes.borrow_and_update();
            if self.refresh_remote_services().await {
                self.publish_http_routes_again();
            }
            // Changes that come together are one.
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                changed = changes.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// Asks for what is not known, or not for a while; says whether something has changed.
    async fn refresh_remote_services(&self) -> bool {
        let before = self.remote_services.0.load_full();
        let now = clock::now();
        let mut next = BTreeMap::new();
        let mut asked = Vec::new();
        for (name, source, remote) in self.fleet.described_elsewhere(SERVICES_MAX) {
            let known = before.get(&name).filter(|known| known.source == source);
            let age = |known: &RemoteService| match known.info {
                Some(_) => KNOWN_AGE,
                None => UNKNOWN_AGE,
            };
            match known {
                Some(known) if now < known.asked_at + age(known) => {
                    next.insert(name, known.clone());
                }
                _ => asked.push((name, source, remote)),
            }
        }
        let answers = stream::iter(asked).map(|(name, source, remote)| async move {
            let asking = tokio::time::timeout(ANSWER_TIMEOUT, ask(&remote, &name));
            let late = || Error::invalid_argument("no answer in time");
            let answered = asking.await.unwrap_or_else(|_| Err(late()));
            (name, source, answered)
        });
        let mut answers = answers.buffer_unordered(AT_ONCE);
        let mut has_changed = before.keys().any(|name| !next.contains_key(name));
        let mut n_held: usize = next.values().map(|known| known.n_bytes).sum();
        while let Some((name, source, answered)) = answers.next().await {
            let mut info = answered
                .inspect_err(
                    |error| debug!(service = &*name, %error, "not described from elsewhere"),
                )
                .ok();
            let n_bytes = info.as_ref().map_or(0, n_bytes);
            if n_held + n_bytes > HELD_BYTES_MAX {
                warn!(
                    service = &*name,
                    limit = HELD_BYTES_MAX,
                    "schemas of services elsewhere exceed the limit, these are left out"
                );
                info = None;
            } else {
                n_held += n_bytes;
            }
            let known = before.get(&name).and_then(|known| known.info.as_deref());
            has_changed |= known != info.as_ref();
            let found = RemoteService {
                source,
                asked_at: now,
                n_bytes: if info.is_some() { n_bytes } else { 0 },
                info: info.map(Arc::new),
            };
            next.insert(name, found);
        }
        self.remote_services.0.store(Arc::new(next));
        has_changed
    }
}

/// What the gateway at `remote` says of `service`.
async fn ask(remote: &Remote, service: &Text) -> Result<ServiceInfo, Error> {
    let body = json!({ "service": service.as_str(), "schemas": true });
    let mut call = Call::unary(SERVICE, "services", body.to_string());
    call.context.deadline = Some(clock::now() + ANSWER_TIMEOUT);
    let reply = remote.ask(call).await?;
    let body = reply.body.into_one(REPLY_BYTES_MAX).await?;
    let unread = |error: &dyn std::fmt::Display| Error::invalid_argument(error.to_string());
    let listing: ServiceListing = serde_json::from_slice(&body).map_err(|error| unread(&error))?;
    let mut info = listing.read().map_err(|error| unread(&error))?;
    if info.name != *service {
        let message = format!("it describes {}", info.name);
        return Err(Error::invalid_argument(message));
    }
    let mut schemas = (*info.schemas).clone();
    schemas.retain(|_, text| schema::parse(text).is_ok());
    info.schemas = Arc::new(schemas);
    Ok(info)
}

fn n_bytes(info: &ServiceInfo) -> usize {
    info.schemas.values().map(|schema| schema.len()).sum()
}

/// Services elsewhere that are asked for; of more, the first by name.
const SERVICES_MAX: usize = 256;
/// The schemas of a plugin have 1 MiB at most; beside them are its methods.
const REPLY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Octets of all schemas of services elsewhere.
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Gateways that are asked at one time.
const AT_ONCE: usize = 4;
/// A plugin elsewhere may be replaced by one of the same version.
const KNOWN_AGE: Duration = Duration::from_secs(60);
/// Of one that gave no use: it may be a gateway that begins, or no gateway.
const UNKNOWN_AGE: Duration = Duration::from_secs(15);
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);
