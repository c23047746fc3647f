//! Whatever strangers write: no text and no number makes the directory panic, and what it takes
//! keeps every bound.

use super::*;
use crate::{
    registry::{
        address::{Address, Location},
        entry,
        value::{Number, ParamValue, Params},
        watch::Scope,
    },
    service::MethodInfo,
    testing::Rng,
    transport::{AddressForm, Transport},
};

#[test]
fn no_text_and_no_number_does_harm() {
    let mut n_taken = 0;
    for seed in 0..200 {
        let mut stranger = Stranger(Rng::new(seed));
        let mut directory = directory();
        for _ in 0..40 {
            n_taken += usize::from(stranger.act(&mut directory));
            check(&directory);
        }
        directory.snapshot();
        directory.poll(at(1 << 30));
        check(&directory);
    }
    assert!(n_taken > 500, "only {n_taken} entries were taken");
}

/// Writes at random, with a liking for edges.
struct Stranger(Rng);

impl Stranger {
    /// Does one thing; whether an entry was taken.
    fn act(&mut self, directory: &mut Directory) -> bool {
        let now = at(self.0.below(1 << 20));
        let owner = self.owner();
        match self.0.below(6) {
            0 => {
                let instance = InstanceId(self.text());
                let life = Incarnation(self.number());
                let _ = directory.heartbeat(now, &owner, &instance, life);
                let _ = directory.unregister(&owner, &instance, life);
                false
            }
            1 => {
                let query = self.query();
                let watch = WatchQuery {
                    scope: Scope::Own,
                    query: query.clone(),
                };
                let (epoch, revision) = (self.0.below(3), self.number());
                let page = usize::try_from(self.0.below(9)).expect("small");
                let _ = directory.changes_since(Cursor { epoch, revision }, &watch, page);
                let _ = directory.discover(&query);
                if let Some(service) = directory.snapshot().services().next() {
                    let _ = service.select(&query);
                }
                false
            }
            2 => {
                let name = self.text();
                directory.on_peer_connected(now, &name);
                let cursor = Cursor {
                    epoch: self.number(),
                    revision: self.number(),
                };
                let told = self.entry().map(|entry| ToldEntry { entry, ttl: None });
                let told = told.into_iter().collect();
                let taken = directory.on_peer_snapshot(now, &name, told, cursor);
                directory.on_peer_lost(now, &name);
                taken.is_ok_and(|replaced| replaced.added > 0)
            }
            _ => {
                let Some(entry) = self.entry() else {
                    return false;
                };
                let ttl = Ttl::new(Duration::from_millis(self.number())).ok();
                let left = Duration::from_millis(self.number());
                let restored = ttl.map(|ttl| (ttl, left));
                let taken = match restored.filter(|_| self.0.chance(50)) {
                    Some((ttl, left)) => directory.restore(now, &owner, entry, ttl, left),
                    None => directory.register(now, &owner, entry, ttl),
                };
                taken.is_ok()
            }
        }
    }

    fn entry(&mut self) -> Option<Entry> {
        let mut draft = Draft::new(self.text(), self.text());
        draft.incarnation = Incarnation(self.number());
        draft.weight = u32::try_from(self.0.below(2 * u64::from(entry::WEIGHT_MAX))).ok()?;
        draft.version = Version::parse(&self.text()).ok();
        for _ in 0..self.0.below(3) {
            let address = self.address()?;
            let written = Address::parse(&address.to_string());
            assert!(written.is_err() || written.is_ok_and(|read| read == address));
            draft.addresses.push(address);
        }
        for _ in 0..self.0.below(3) {
            draft.params.insert(self.text(), self.value(0));
            draft.vnets.insert(self.text());
            draft.permissions.insert(self.text());
            draft.metadata.insert(self.text(), self.text());
            draft.summary = self.text();
            let method = MethodInfo {
                summary: self.text(),
                ..MethodInfo::new(self.text(), self.0.chance(50))
            };
            draft.methods.get_or_insert_default().push(method);
        }
        let entry = Entry::new(&draft).ok()?;
        assert_eq!(Entry::new(&entry.clone().into_draft()), Ok(entry.clone()));
        Some(entry)
    }

    fn address(&mut self) -> Option<Address> {
        let idx = self.0.below(Transport::ALL.len() as u64);
        let transport = Transport::ALL[usize::try_from(idx).ok()?];
        let location = match transport.form() {
            AddressForm::Path => Location::Path(self.text()),
            AddressForm::Url if self.0.chance(50) => Location::Url {
                host: self.text(),
                port: u16::try_from(self.0.below(1 << 16)).ok()?,
                path: format!("/x{}", self.text()).into(),
            },
            AddressForm::HostOrPath if self.0.chance(50) => {
                Location::Path(format!("/{}", self.text()).into())
            }
            AddressForm::HostPort
            | AddressForm::HostOrPath
            | AddressForm::Url
            | AddressForm::Unaddressed => Location::Host {
                host: self.text(),
                port: u16::try_from(self.0.below(1 << 16)).ok()?,
            },
        };
        Some(Address {
            transport,
            location,
        })
    }

    fn query(&mut self) -> Query {
        let params: Params = [(self.text(), self.value(0))].into();
        Query {
            service: self.0.chance(50).then(|| self.text()),
            version: Range::parse(&self.text()).ok(),
            params: if self.0.chance(50) {
                params
            } else {
                Params::new()
            },
            vnet: self.0.chance(30).then(|| self.text()),
            metadata: BTreeMap::new(),
            caller: Caller::Holding([self.text()].into()),
        }
    }

    fn value(&mut self, depth: u64) -> ParamValue {
        match self.0.below(6).saturating_sub(depth / 4) {
            0 => self.0.chance(50).into(),
            1 => {
                let number = Number::float(f64::from_bits(self.0.next_u64()));
                number.unwrap_or(Number::integer(i64::MIN)).into()
            }
            2 => self.text().into(),
            3 => vec![self.value(depth + 1), self.value(depth + 1)].into(),
            _ => Params::from([(self.text(), self.value(depth + 1))]).into(),
        }
    }

    fn owner(&mut self) -> Owner {
        match self.0.below(5) {
            0 => Owner::Config,
            1 => Owner::Local(self.text()),
            2 => Owner::Peer(self.text()),
            _ => Owner::Registered(self.text()),
        }
    }

    fn text(&mut self) -> Text {
        let short = [
            "a", "b", "users", "1", "1.2.3", "^1", "tcp", "é", "::1", "h",
        ];
        let odd = [
            "",
            "\n",
            "*",
            "\u{202e}",
            "99999999999999999999.0.0",
            "a b",
            "[::1]",
        ];
        if self.0.chance(90) {
            let idx = usize::try_from(self.0.below(10)).expect("an index");
            return Text::from_static(short[idx]);
        }
        match usize::try_from(self.0.below(10)).expect("an index") {
            idx @ 0..7 => Text::from_static(odd[idx]),
            n => Text::from("n".repeat(n * 128)),
        }
    }

    fn number(&mut self) -> u64 {
        match self.0.below(4) {
            0 => self.0.below(4),
            1 => u64::MAX - self.0.below(2),
            2 => 60_000,
            _ => self.0.next_u64(),
        }
    }
}
