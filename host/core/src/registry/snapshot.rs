//! What the data path reads: per service its instances, immutable and shared.
//!
//! # Panic
//!
//! When fewer than `panic_percent` of the candidates are up, all are used: then it is likelier that
//! the probes are wrong, or that the few that are left would be overrun, than that so many failed
//! by themselves (Envoy's panic threshold, 50 % by default there too). Candidates are instances
//! with a weight above 0.

use std::{collections::BTreeMap, sync::Arc};

use super::{entry::Entry, health::Health, lease::Ttl, owner::EntryKey, query::Query};
use crate::text::Text;

/// An entry in the directory, with whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryRecord {
    pub key: EntryKey,
    pub entry: Entry,
    pub ttl: Option<Ttl>,
    /// The change that made it so.
    pub revision: u64,
}

/// An instance as the directory sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceInstance {
    pub record: Arc<EntryRecord>,
    pub health: Health,
    /// Told by a peer that is lost at present.
    pub stale: bool,
}

/// All instances of one service.
#[derive(Debug, PartialEq, Eq)]
pub struct ServiceInstances {
    name: Text,
    all: Vec<ServiceInstance>,
    usable: Vec<ServiceInstance>,
    panic: bool,
    panic_percent: u8,
}

/// The instances that a call may go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// In the order of `ServiceInstances::all`; empty when nothing matches, or everything is drained.
    pub instances: Vec<ServiceInstance>,
    /// Too few were up, so that all are here.
    pub panic: bool,
}

/// All services at one moment. In parts by name, so that the next one shares all parts but those in
/// which a service changed.
#[derive(Debug)]
pub struct Snapshot {
    parts: Vec<Arc<Part>>,
    revision: u64,
}

type Part = BTreeMap<Text, Arc<ServiceInstances>>;

impl ServiceInstances {
    /// `told` in any order, with what was told twice.
    pub(super) fn new(name: Text, told: Vec<ServiceInstance>, panic_percent: u8) -> Self {
        let all = merged(told);
        let Selection { instances, panic } = select(all.iter(), panic_percent);
        Self {
            name,
            all,
            usable: instances,
            panic,
            panic_percent,
        }
    }

    #[must_use]
    pub const fn name(&self) -> &Text {
        &self.name
    }

    /// Every instance once, by instance id, then by owner.
    #[must_use]
    pub fn all(&self) -> &[ServiceInstance] {
        &self.all
    }

    /// Those that a call may go to which asks for nothing but the service, by a trusted caller.
    #[must_use]
    pub fn usable(&self) -> &[ServiceInstance] {
        &self.usable
    }

    /// Whether too few are up, so that all are used.
    #[must_use]
    pub const fn is_in_panic(&self) -> bool {
        self.panic
    }

    /// Those that match `query` and may be used; the panic threshold holds among them.
    #[must_use]
    pub fn select(&self, query: &Query) -> Selection {
        let matching = self.all.iter();
        let matching = matching.filter(|instance| query.matches(&instance.record.entry));
        select(matching, self.panic_percent)
    }
}

impl Snapshot {
    #[must_use]
    pub fn service(&self, name: &Text) -> Option<&Arc<ServiceInstances>> {
        self.parts.get(part_of(name))?.get(name)
    }

    /// By name.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &Arc<ServiceInstances>> {
        let mut services: Vec<_> = self.parts.iter().flat_map(|part| part.values()).collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        services.into_iter()
    }

    /// Services that are not as they were `before`, by name; `None` for one that is not there any
    /// more. Costs what changed, and a look at each part.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> BTreeMap<Text, Option<Arc<ServiceInstances>>> {
        let mut changes = BTreeMap::new();
        let parts = self.parts.iter().zip(&before.parts);
        for (part, before) in parts.filter(|(part, before)| !Arc::ptr_eq(part, before)) {
            for (name, service) in &**part {
                let same = before.get(name);
                if same.is_none_or(|same| !Arc::ptr_eq(same, service)) {
                    changes.insert(name.clone(), Some(Arc::clone(service)));
                }
            }
            let gone = before.keys().filter(|name| !part.contains_key(*name));
            changes.extend(gone.map(|name| (name.clone(), None)));
        }
        changes
    }

    /// The last change of an entry that it has.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// The same services but for `rebuilt`; `None` is a service without instances.
    pub(super) fn with(
        &self,
        rebuilt: impl Iterator<Item = (Text, Option<ServiceInstances>)>,
        revision: u64,
    ) -> Self {
        let mut parts = self.parts.clone();
        for (name, service) in rebuilt {
            let Some(part) = parts.get_mut(part_of(&name)) else {
                continue;
            };
            let part = Arc::make_mut(part);
            match service {
                Some(service) => part.insert(name, Arc::new(service)),
                None => part.remove(&name),
            };
        }
        Self { parts, revision }
    }
}

impl Default for Snapshot {
    fn default() -> Self {
        let empty = Arc::<Part>::default();
        Self {
            parts: vec![empty; PARTS],
            revision: 0,
        }
    }
}

/// FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>). Names that are chosen to meet in one part
/// cost what one map of all would.
fn part_of(name: &str) -> usize {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, octet| {
        (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193)
    });
    // The high bits depend on every octet. A part number fits any integer.
    usize::try_from(hash >> 16).unwrap_or_default() % PARTS
}

/// A change copies the list of parts and one part: of 10,000 services 256 references and 40 entries.
const PARTS: usize = 256;

/// Each thing once. A provider may register here and with a peer: the later life of it counts,
/// then what was told first-hand, then what is fresh.
pub(super) fn merged(mut told: Vec<ServiceInstance>) -> Vec<ServiceInstance> {
    let rank = |a: &ServiceInstance, b: &ServiceInstance| {
        let (x, y) = (&a.record, &b.record);
        (x.entry.instance.cmp(&y.entry.instance))
            .then(y.entry.incarnation.cmp(&x.entry.incarnation))
            .then(y.key.owner.is_own().cmp(&x.key.owner.is_own()))
            .then(a.stale.cmp(&b.stale))
            .then(x.key.cmp(&y.key))
    };
    told.sort_by(rank);
    let mut kept: Vec<ServiceInstance> = Vec::with_capacity(told.len());
    for instance in told {
        let name = &instance.record.entry.instance;
        let namesakes = kept.iter().rev();
        let mut namesakes = namesakes.take_while(|kept| kept.record.entry.instance == *name);
        if namesakes.all(|kept| !kept.record.entry.is_same_thing(&instance.record.entry)) {
            kept.push(instance);
        }
    }
    kept.sort_by(|a, b| {
        let (x, y) = (&a.record, &b.record);
        (x.entry.instance.cmp(&y.entry.instance)).then_with(|| x.key.cmp(&y.key))
    });
    kept
}

fn select<'a>(matching: impl Iterator<Item = &'a ServiceInstance>, panic_percent: u8) -> Selection {
    let candidates = matching.filter(|instance| instance.record.entry.weight > 0);
    let candidates: Vec<&ServiceInstance> = candidates.collect();
    let is_up = |instance: &&&ServiceInstance| instance.health == Health::Up;
    let n_up = candidates.iter().filter(is_up).count();
    let panic = n_up * 100 < candidates.len() * usize::from(panic_percent);
    let instances = candidates.into_iter();
    let instances = instances
        .filter(|instance| panic || is_up(&instance))
        .cloned();
    Selection {
        instances: instances.collect(),
        panic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{
        address::Address,
        entry::Draft,
        owner::{Incarnation, Owner},
    };

    #[test]
    fn all_are_used_when_fewer_than_half_are_up() {
        let check = |n_up: usize, n_down: usize, percent, expected: (usize, bool)| {
            let up = (0..n_up).map(|n| instance(&format!("up-{n}"), Health::Up));
            let down = (0..n_down).map(|n| instance(&format!("down-{n}"), Health::Down));
            let service = ServiceInstances::new("s".into(), up.chain(down).collect(), percent);
            assert_eq!(service.all().len(), n_up + n_down);
            let found = (service.usable().len(), service.is_in_panic());
            assert_eq!(found, expected, "{n_up} up, {n_down} down, {percent} %");
        };
        check(4, 0, 50, (4, false));
        check(2, 2, 50, (2, false));
        check(1, 2, 50, (3, true));
        check(0, 1, 50, (1, true));
        check(0, 0, 50, (0, false));
        // 0 never panics, 100 always does unless all are up.
        check(0, 3, 0, (0, false));
        check(3, 1, 100, (4, true));
        check(3, 0, 100, (3, false));
    }

    #[test]
    fn a_change_is_told_and_what_did_not_change_is_shared() {
        let service = |name: &str, n: usize| {
            let told = (0..n).map(|n| instance(&format!("i{n}"), Health::Up));
            let name = Text::from(name);
            (
                name.clone(),
                (n > 0).then(|| ServiceInstances::new(name, told.collect(), 50)),
            )
        };
        let names: Vec<String> = (0..1000).map(|n| format!("s{n:03}")).collect();
        let empty = Snapshot::default();
        let first = empty.with(names.iter().map(|name| service(name, 1)), 1);
        let found = first
            .services()
            .map(|service| service.name.to_string())
            .collect::<Vec<_>>();
        assert_eq!(found, names, "by name");
        assert_eq!(first.changes_since(&empty).len(), 1000);
        assert!(first.changes_since(&first).is_empty());
        let changed = [service("s001", 2), service("s002", 0), service("new", 1)];
        let second = first.with(changed.into_iter(), 2);
        let told = second.changes_since(&first).into_iter();
        let told: Vec<_> = told
            .map(|(name, service)| (name.to_string(), service.map(|s| s.all().len())))
            .collect();
        let expected = [("new", Some(1)), ("s001", Some(2)), ("s002", None)];
        assert_eq!(told, expected.map(|(name, n)| (name.to_owned(), n)));
        assert_eq!((second.services().len(), second.revision()), (1000, 2));
        assert!(second.service(&"s002".into()).is_none());
        let same = (0..PARTS).filter(|n| Arc::ptr_eq(&first.parts[*n], &second.parts[*n]));
        assert!(same.count() >= PARTS - 3);
    }

    #[test]
    fn what_is_drained_is_seen_and_not_used() {
        let drained = with("drained", Health::Up, |draft| draft.weight = 0);
        let told = vec![
            drained,
            instance("a", Health::Down),
            instance("b", Health::Up),
        ];
        let service = ServiceInstances::new("s".into(), told, 51);
        assert_eq!(names(service.all()), ["a", "b", "drained"]);
        assert_eq!(names(service.usable()), ["a", "b"]);
        // The drained one does not count: one of two is fewer than 51 %.
        assert!(service.is_in_panic());
    }

    #[test]
    fn the_threshold_holds_among_what_is_asked_for() {
        let canary = with("v2", Health::Down, |draft| {
            draft.metadata = [("track".into(), "canary".into())].into();
        });
        let told = vec![instance("a", Health::Up), instance("b", Health::Up), canary];
        let service = ServiceInstances::new("s".into(), told, 50);
        assert_eq!(names(service.usable()), ["a", "b"]);
        let query = Query {
            metadata: [("track".into(), "canary".into())].into(),
            ..Query::default()
        };
        let selection = service.select(&query);
        assert_eq!(names(&selection.instances), ["v2"]);
        assert!(selection.panic);
    }

    #[test]
    fn what_was_told_twice_is_there_once() {
        let at = |owner: Owner, incarnation, place: &str, stale| ServiceInstance {
            stale,
            ..owned(owner, "i", Health::Up, |draft| {
                draft.incarnation = Incarnation(incarnation);
                draft.addresses = vec![Address::parse(place).expect(place)];
            })
        };
        let check = |told: &[ServiceInstance], expected: &[usize]| {
            let mut backwards = told.to_vec();
            backwards.reverse();
            let expected: Vec<_> = expected.iter().map(|n| told[*n].clone()).collect();
            assert_eq!(merged(told.to_vec()), expected);
            assert_eq!(merged(backwards), expected);
        };
        let (own, peer) = (Owner::Registered("p".into()), Owner::Peer("gw".into()));
        let other = Owner::Peer("gx".into());
        let (here, there) = ("tcp://h:1", "tcp://h:2");
        check(
            &[
                at(own.clone(), 1, here, false),
                at(peer.clone(), 1, here, false),
            ],
            &[0],
        );
        check(
            &[
                at(own.clone(), 1, here, false),
                at(peer.clone(), 2, here, false),
            ],
            &[1],
        );
        check(
            &[
                at(peer.clone(), 1, here, true),
                at(other.clone(), 1, here, false),
            ],
            &[1],
        );
        check(
            &[at(peer.clone(), 1, here, false), at(other, 1, here, false)],
            &[0],
        );
        // At another place it is another thing, so that nobody hides it under its name.
        check(
            &[at(own, 1, here, false), at(peer, 2, there, false)],
            &[0, 1],
        );
    }

    fn instance(name: &str, health: Health) -> ServiceInstance {
        with(name, health, |_| {})
    }

    fn with(name: &str, health: Health, change: impl FnOnce(&mut Draft)) -> ServiceInstance {
        owned(Owner::Config, name, health, change)
    }

    fn owned(
        owner: Owner,
        name: &str,
        health: Health,
        change: impl FnOnce(&mut Draft),
    ) -> ServiceInstance {
        let mut draft = Draft::new(name, "s");
        change(&mut draft);
        let key = EntryKey {
            owner,
            instance: draft.instance.clone(),
        };
        let record = EntryRecord {
            key,
            entry: Entry::new(&draft).expect("a good entry"),
            ttl: None,
            revision: 1,
        };
        ServiceInstance {
            record: Arc::new(record),
            health,
            stale: false,
        }
    }

    fn names(instances: &[ServiceInstance]) -> Vec<&str> {
        instances
            .iter()
            .map(|i| i.record.key.instance.as_str())
            .collect()
    }
}
