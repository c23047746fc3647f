//! Import `directory`: who answers for a service, and what changes there. A watch is no state of the host's:
//! the guest says which listing it has seen, and waits until there is another.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use postern_core::{
    Kind, Principal,
    registry::{Health, ServiceInstance, entry::NAME_BYTES_MAX},
};
use postern_system::clock;
use tokio::sync::watch;
use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Linker, Lower},
};

use crate::{
    bindings::{DIRECTORY, Failure},
    call_path::link_bailout,
    convert::failure,
    denial::Denial,
    journal::{self, Answer, HostQuestion},
    progress::Progress,
    recorded::{HostAnswer, RecordedInstance, RecordedListing},
    state::StoreState,
    store_stats::HostImport,
    trap::{Stop, waiting},
};

/// Octets of one listing.
const LISTING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a wait leaves of the call's time for the guest to say so.
const WAY_BACK: Duration = Duration::from_millis(50);
/// Function that waits.
const NEXT_CHANGE: &str = "next-change";

type Store<'a> = StoreContextMut<'a, StoreState>;
type Listed = Result<Listing, Failure>;
type Changed = Result<Option<Listing>, Failure>;

/// Knows who answers for a service.
pub trait ServiceDirectory: Send + Sync {
    /// The instances of `service` that a caller may learn of, in the order of ids.
    fn instances(&self, service: &str, caller: Option<&Principal>) -> Vec<ServiceInstance>;

    /// Told each time that an instance of any service may be another than before.
    fn changes(&self) -> watch::Receiver<u64>;
}

/// Where plugins look services up. Set by the gateway once it has a directory.
#[derive(Default)]
pub(crate) struct DirectoryImport {
    directory: RwLock<Option<Arc<dyn ServiceDirectory>>>,
}

/// `directory.listing`.
#[derive(Debug, Clone, PartialEq, ComponentType, Lower)]
#[component(record)]
struct Listing {
    revision: String,
    instances: Vec<ListedInstance>,
}

/// `directory.service-instance`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, ComponentType, Lower)]
#[component(record)]
struct ListedInstance {
    id: String,
    addresses: Vec<String>,
    version: Option<String>,
    zone: Option<String>,
    weight: u32,
    metadata: Vec<(String, String)>,
    healthy: bool,
    stale: bool,
}

impl DirectoryImport {
    pub(crate) fn set(&self, directory: Option<Arc<dyn ServiceDirectory>>) {
        *self.directory.write() = directory;
    }

    fn directory(&self) -> Option<Arc<dyn ServiceDirectory>> {
        self.directory.read().clone()
    }
}

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    link_discover(linker)?;
    linker.instance(DIRECTORY)?.func_wrap_async(
        NEXT_CHANGE,
        |mut store: Store<'_>, (service, revision, timeout_ms): (String, String, u32)| {
            Box::new(async move {
                let state = store.data_mut();
                state.on_host_call_of(HostImport::Directory)?;
                let asking = journal::asking(state.journal.as_ref(), |_| {
                    let question = HostQuestion::effect("directory.next-change").text(&service);
                    let question = question.about().text(&revision);
                    question.text(timeout_ms.to_string())
                });
                let timeout = Duration::from_millis(timeout_ms.into());
                let changed = next_change(store, &service, &revision, timeout);
                Ok((journal::through(asking, changed).await?,))
            })
        },
    )
}

/// A look is no effect. What waits is begun anew on a fiber.
pub(crate) fn link_inline(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    link_discover(linker)?;
    link_bailout(&mut linker.instance(DIRECTORY)?, NEXT_CHANGE)
}

pub(crate) fn link_direct(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    link_discover(linker)?;
    let mut interface = linker.instance(DIRECTORY)?;
    interface.func_new(NEXT_CHANGE, |_, _, _, _| {
        Err(waiting("postern:gateway/directory.next-change"))
    })
}

fn link_discover(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    linker.instance(DIRECTORY)?.func_wrap(
        "discover",
        |mut store: Store<'_>, (service,): (String,)| {
            store.data_mut().on_host_call_of(HostImport::Directory)?;
            let state = store.data();
            let asking = journal::asking(state.journal.as_ref(), |_| {
                HostQuestion::read("directory.discover").text(&service)
            });
            let listed = || {
                let directory = directory(state, &service)?;
                Listing::of(state, &*directory, &service)
            };
            journal::through_now(asking, || Ok(listed())).map(|listed| (listed,))
        },
    )
}

async fn next_change(
    mut store: Store<'_>,
    service: &str,
    revision: &str,
    timeout: Duration,
) -> Result<Changed, Stop> {
    let state = store.data_mut();
    let directory = match directory(state, service) {
        Ok(directory) => directory,
        Err(failure) => return Ok(Err(failure)),
    };
    let start = clock::now();
    let end = wait_end(state, start, timeout);
    let mut changes = directory.changes();
    loop {
        // Before the look, so that a change after it wakes.
        changes.borrow_and_update();
        let listed = Listing::of(state, &*directory, service);
        if listed
            .as_ref()
            .is_ok_and(|listing| listing.revision == revision)
        {
            let changed = tokio::time::timeout_at(end.into(), changes.changed()).await;
            if matches!(changed, Ok(Ok(()))) {
                continue;
            }
            on_waited(state, clock::since(start));
            // The directory has gone, or the time is over.
            return Ok(Ok(None));
        }
        on_waited(state, clock::since(start));
        return Ok(listed.map(Some));
    }
}

/// Until when a guest may wait: its call's own end comes a little later.
fn wait_end(state: &StoreState, now: Instant, timeout: Duration) -> Instant {
    let latest = match is_stream(state) {
        // Its waiting does not count, so that only its caller's deadline ends it.
        true => state.deadline,
        false => Some(state.end()),
    };
    let wanted = now + timeout;
    let end = latest.and_then(|latest| latest.checked_sub(WAY_BACK));
    end.map_or(wanted, |end| end.min(wanted))
}

fn on_waited(state: &mut StoreState, waited: Duration) {
    let stats = state.host_calls.stats();
    stats.on_wait(HostImport::Directory, waited);
    if is_stream(state) {
        state.give_back(waited);
    }
}

/// Whether the guest answers a streaming call.
fn is_stream(state: &StoreState) -> bool {
    state.slots.get::<Arc<Progress>>().is_some()
}

/// Where to look, for a plugin that may.
fn directory(state: &StoreState, service: &str) -> Result<Arc<dyn ServiceDirectory>, Failure> {
    let guest = &state.guest;
    let length = service.len();
    if length > NAME_BYTES_MAX {
        let message =
            format!("service name of {length} octets exceeds the limit of {NAME_BYTES_MAX}");
        return Err(failure(Kind::InvalidArgument, message));
    }
    if !guest.spec.grants.allows_lookup(service) {
        return Err(guest.deny(&Denial {
            grant: "directory",
            what: "lookups of service",
            name: service,
            value: service,
        }));
    }
    let import = guest.shared.get::<Arc<DirectoryImport>>();
    let directory = import.and_then(|import| import.directory());
    let none = || failure(Kind::Unavailable, "this gateway has no directory");
    directory.ok_or_else(none)
}

impl Listing {
    fn of(state: &StoreState, directory: &dyn ServiceDirectory, service: &str) -> Listed {
        let ambient = state.ambient.as_ref();
        let caller = ambient.and_then(|ambient| ambient.call.context().principal.as_deref());
        let instances = directory.instances(service, caller);
        let mut hasher = DefaultHasher::new();
        let (mut listed, mut bytes) = (Vec::with_capacity(instances.len()), 0);
        for instance in &instances {
            let instance = ListedInstance::from(instance);
            bytes += instance.bytes();
            if bytes > LISTING_BYTES_MAX {
                let message = format!(
                    "the instances of service {service} exceed the limit of {LISTING_BYTES_MAX} octets"
                );
                return Err(failure(Kind::OutOfRange, message));
            }
            instance.hash(&mut hasher);
            listed.push(instance);
        }
        Ok(Self {
            revision: format!("{:016x}", hasher.finish()),
            instances: listed,
        })
    }
}

impl ListedInstance {
    /// Octets of its texts, and some for each of them.
    fn bytes(&self) -> usize {
        const EACH: usize = 8;
        let option = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let addresses = self.addresses.iter().map(|address| address.len() + EACH);
        let pairs = self.metadata.iter();
        let metadata = pairs.map(|(key, value)| key.len() + value.len() + 2 * EACH);
        let texts = self.id.len() + option(&self.version) + option(&self.zone);
        texts + 6 * EACH + addresses.sum::<usize>() + metadata.sum::<usize>()
    }
}

impl From<&ServiceInstance> for ListedInstance {
    fn from(instance: &ServiceInstance) -> Self {
        let (key, entry) = (&instance.record.key, &instance.record.entry);
        let pairs = entry.metadata.iter();
        Self {
            id: key.instance.to_string(),
            addresses: entry.addresses.iter().map(ToString::to_string).collect(),
            version: entry.version.as_ref().map(ToString::to_string),
            zone: entry.zone.as_ref().map(ToString::to_string),
            weight: entry.weight,
            metadata: pairs
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
            healthy: instance.health == Health::Up,
            stale: instance.stale,
        }
    }
}

impl Answer for Listing {
    fn tell(&self) -> HostAnswer {
        HostAnswer::Listing(RecordedListing {
            revision: self.revision.clone(),
            instances: self.instances.iter().map(Into::into).collect(),
        })
    }

    fn read(answer: &HostAnswer) -> Option<Self> {
        let RecordedListing {
            revision,
            instances,
        } = RecordedListing::read(answer)?;
        Some(Self {
            revision,
            instances: instances.into_iter().map(Into::into).collect(),
        })
    }
}

impl From<&ListedInstance> for RecordedInstance {
    fn from(listed: &ListedInstance) -> Self {
        let listed = listed.clone();
        Self {
            id: listed.id,
            addresses: listed.addresses,
            version: listed.version,
            zone: listed.zone,
            weight: listed.weight,
            metadata: listed.metadata,
            healthy: listed.healthy,
            stale: listed.stale,
        }
    }
}

impl From<RecordedInstance> for ListedInstance {
    fn from(recorded: RecordedInstance) -> Self {
        Self {
            id: recorded.id,
            addresses: recorded.addresses,
            version: recorded.version,
            zone: recorded.zone,
            weight: recorded.weight,
            metadata: recorded.metadata,
            healthy: recorded.healthy,
            stale: recorded.stale,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_the_same_after_a_line_of_json() {
        let full = ListedInstance {
            id: "users-1".to_owned(),
            addresses: vec!["tcp://10.0.0.7:9090".to_owned()],
            version: Some("1.2.0".to_owned()),
            zone: Some("a".to_owned()),
            weight: 7,
            metadata: vec![("rack".to_owned(), "7".to_owned())],
            healthy: true,
            stale: true,
        };
        let bare = ListedInstance {
            id: "users-2".to_owned(),
            addresses: Vec::new(),
            version: None,
            zone: None,
            weight: 0,
            metadata: Vec::new(),
            healthy: false,
            stale: false,
        };
        let listing = Listing {
            revision: "00ff".to_owned(),
            instances: vec![full, bare],
        };
        let line = serde_json::to_string(&listing.tell()).unwrap();
        let read: HostAnswer = serde_json::from_str(&line).unwrap();
        assert_eq!(Listing::read(&read), Some(listing));
        // None is what `next-change` says of a listing that stays, and no listing without instances.
        let none = Option::<Listing>::None.tell();
        assert_eq!(Option::<Listing>::read(&none), Some(None));
        assert_eq!(Listing::read(&none), None);
    }
}
