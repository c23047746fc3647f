//! The built-in service `directory`, as `host/docs/directory.md` describes it: JSON in, JSON out.
//!
//! A caller's permissions are the roles of its principal; one without a principal holds none. Who
//! has the role `peer-role` is another gateway, which applies permissions on its side.

mod catalogue;
mod methods;
mod request;
mod watching;

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use postern_core::{
    Blame, BoxFuture, Call, Context, Error, Handler, Kind, Origin, Principal, Reply,
    registry::{
        Address, Caller, EntryKey, EntryLease, Health, Incarnation, InstanceId, Owner, ToldEntry,
        Ttl, WatchQuery, directory::RegisterChange,
    },
};
use postern_net::dial;
use serde::Serialize;
use serde_json::json;

pub(crate) use self::{
    catalogue::ListenerCatalog,
    methods::{SERVICE, info},
};
use self::{
    methods::{Method, OPENAPI, SERVICES},
    request::{Asked, Catalogued, Documented, Held, Pictured, Watched},
};
use super::{
    SharedDirectory,
    batch::{Batch, Named, json},
    fault::{not_renewed, refused},
    lease_store::EntryChange,
    listing::{KEYS, Listing, millis},
    peers::reach,
};
use crate::config::RegistrationMode;

/// The service `directory`.
pub(crate) struct Service {
    directory: Arc<SharedDirectory>,
    /// Set when everything that it tells of is built.
    catalogue: Arc<OnceLock<Catalogue>>,
}

/// Tells a caller of what it may call, as JSON.
pub(crate) type Catalogue =
    Box<dyn Fn(CatalogueQuery, Option<&Principal>) -> Result<bytes::Bytes, Error> + Send + Sync>;

/// What a caller wants to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CatalogueQuery {
    /// Every service.
    Services,
    /// The one of that name.
    Service { name: String, has_schemas: bool },
    /// The OpenAPI document; of one listener, where it is named.
    OpenApi { listener: Option<String> },
}

/// What `discover` finds.
#[derive(Debug, Serialize)]
struct Found {
    #[serde(flatten)]
    named: Named,
    /// "plugin", "configuration", "provider" or "peer".
    owner: &'static str,
    /// "up" or "down".
    health: &'static str,
    /// Told by a peer that is lost at present.
    stale: bool,
}

impl Service {
    #[must_use]
    pub(crate) fn new(directory: Arc<SharedDirectory>) -> Self {
        Self {
            directory,
            catalogue: Arc::default(),
        }
    }

    /// What answers `services` from here on. A second one changes nothing.
    pub(crate) fn set_catalogue(&self, catalogue: Catalogue) {
        let _ = self.catalogue.set(catalogue);
    }

    async fn tell(catalogue: Arc<OnceLock<Catalogue>>, mut call: Call) -> Result<Reply, Error> {
        let query = match call.method == OPENAPI {
            true => {
                let asked: Documented = request::read(&mut call).await?;
                CatalogueQuery::OpenApi {
                    listener: asked.listener,
                }
            }
            false => {
                let asked: Catalogued = request::read(&mut call).await?;
                match asked.service {
                    Some(name) => CatalogueQuery::Service {
                        name,
                        has_schemas: asked.schemas,
                    },
                    None => CatalogueQuery::Services,
                }
            }
        };
        let none = || Error::unavailable(Blame::Gateway, "the gateway is starting, try again");
        let catalogue = catalogue.get().ok_or_else(none)?;
        let principal = call.context.principal.as_deref();
        catalogue(query, principal).map(Reply::one)
    }

    async fn answer(directory: Arc<SharedDirectory>, mut call: Call) -> Result<Reply, Error> {
        let method = Method::named(&call.method)?;
        if method == Method::Watch {
            let is_stream = call.body.is_stream();
            let mut watched: Watched = request::read(&mut call).await?;
            watched.is_stream = is_stream;
            return watching::answer(directory, watched, &call.context).await;
        }
        let context = &call.context.clone();
        let body = match method {
            Method::Register => {
                let listing = request::read_with(&mut call, &KEYS).await?;
                directory.answer_register(context, listing).await?
            }
            Method::Heartbeat => {
                let held = request::read(&mut call).await?;
                directory.answer_heartbeat(context, &held)?
            }
            Method::Unregister => {
                let held = request::read(&mut call).await?;
                directory.answer_unregister(context, &held).await?
            }
            Method::Discover => {
                let asked: Asked = request::read(&mut call).await?;
                directory.answer_discover(context, &asked)?
            }
            Method::Picture | Method::Watch => {
                let pictured: Pictured = request::read(&mut call).await?;
                directory.answer_picture(context, &pictured)?
            }
        };
        Ok(Reply::one(body))
    }
}

impl Handler for Service {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        if call.method == SERVICES || call.method == OPENAPI {
            return Box::pin(Self::tell(Arc::clone(&self.catalogue), call));
        }
        Box::pin(Self::answer(Arc::clone(&self.directory), call))
    }
}

impl SharedDirectory {
    async fn answer_register(
        &self,
        context: &Context,
        listing: Listing,
    ) -> Result<bytes::Bytes, Error> {
        let settings = self.settings();
        let owner = self.provider(context)?;
        let ToldEntry { entry, ttl } = listing
            .told()
            .map_err(|error| Error::invalid_argument(error.to_string()))?;
        if entry.service == SERVICE {
            let message = format!("service {SERVICE} is the gateway's own; choose another name");
            return Err(Error::new(Kind::PermissionDenied, Blame::Client, message));
        }
        if entry.addresses.is_empty() {
            let message = "addresses is empty; name one, such as \"tcp://0.0.0.0:9090\"";
            return Err(Error::invalid_argument(message));
        }
        check_addresses(&entry.addresses)?;
        let entry = match context.peer.origin.ip() {
            Some(ip) => {
                let mut draft = entry.into_draft();
                for address in &mut draft.addresses {
                    reach(address, ip);
                }
                let entry = postern_core::registry::Entry::new(&draft);
                entry.map_err(|error| Error::invalid_argument(error.to_string()))?
            }
            None => entry,
        };
        let wanted = ttl.map_or(settings.lease, Ttl::duration);
        let ttl = Ttl::new(wanted.min(settings.lease_max));
        let ttl = ttl.map_err(|error| Error::invalid_argument(error.to_string()))?;
        let key = EntryKey {
            owner,
            instance: entry.instance.clone(),
        };
        // What is refused in any case is not written.
        let checked = self.change(|state, _| state.machine.check(&key.owner, &entry, Some(ttl)));
        checked.map_err(refused)?;
        let put = EntryChange::Put { entry, ttl };
        let Some(registration) = self.change_entry(&key, put).await? else {
            return Err(Error::internal("a registration was taken for its end"));
        };
        let change = match registration.change {
            RegisterChange::Added => "added",
            RegisterChange::Changed => "changed",
            RegisterChange::Renewed => "renewed",
        };
        let mut body = lease_json(registration.lease);
        if let Some(body) = body.as_object_mut() {
            body.insert("change".to_owned(), change.into());
        }
        Ok(json(&body))
    }

    fn answer_heartbeat(&self, context: &Context, held: &Held) -> Result<bytes::Bytes, Error> {
        let (owner, instance) = (self.provider(context)?, InstanceId::new(&*held.instance));
        let incarnation = Incarnation(held.incarnation);
        let renewed = self.change(|state, now| {
            let machine = &mut state.machine;
            machine.heartbeat(now, &owner, &instance, incarnation)
        });
        let lease = renewed.map_err(not_renewed)?;
        self.lease_store.mark(&EntryKey { owner, instance });
        Ok(json(&lease_json(lease)))
    }

    async fn answer_unregister(
        &self,
        context: &Context,
        held: &Held,
    ) -> Result<bytes::Bytes, Error> {
        let (owner, instance) = (self.provider(context)?, InstanceId::new(&*held.instance));
        let incarnation = Incarnation(held.incarnation);
        let checked = self.change(|state, _| {
            let machine = &state.machine;
            machine.check_held(&owner, &instance, incarnation)
        });
        let key = checked.map_err(not_renewed)?;
        self.change_entry(&key, EntryChange::Remove { incarnation })
            .await?;
        Ok(json(&json!({ "instance": held.instance })))
    }

    fn answer_discover(&self, context: &Context, asked: &Asked) -> Result<bytes::Bytes, Error> {
        let query = asked.query(self.caller(context))?;
        let found = self.discover(&query).into_iter().map(|instance| Found {
            named: Named::from(&*instance.record),
            owner: kind_of(&instance.record.key.owner),
            health: match instance.health {
                Health::Up => "up",
                Health::Down => "down",
            },
            stale: instance.stale,
        });
        let mut instances = Vec::new();
        let mut bytes = 0;
        for found in found {
            let found = json(&found);
            bytes += found.len();
            if bytes > DISCOVERED_BYTES_MAX {
                let message = format!(
                    "what matches exceeds {DISCOVERED_BYTES_MAX} octets; ask for less, or page by page with picture"
                );
                return Err(Error::new(Kind::OutOfRange, Blame::Client, message));
            }
            instances.push(found);
        }
        let mut body = b"{\"instances\":[".to_vec();
        body.extend_from_slice(&instances.join(&b","[..]));
        body.extend_from_slice(b"]}");
        Ok(body.into())
    }

    fn answer_picture(
        &self,
        context: &Context,
        pictured: &Pictured,
    ) -> Result<bytes::Bytes, Error> {
        let watch = WatchQuery {
            scope: pictured.scope.into(),
            query: pictured.asked.query(self.caller(context))?,
        };
        let picture = self.state.lock().machine.watch_snapshot(&watch);
        let page = Batch::page(&picture.records, pictured.after.as_ref(), picture.cursor);
        Ok(page.to_json())
    }

    /// What the caller may see.
    fn caller(&self, context: &Context) -> Caller {
        self.caller_of(context.principal.as_deref())
    }

    /// What whoever has shown to be `principal` may see.
    pub(crate) fn caller_of(&self, principal: Option<&Principal>) -> Caller {
        let roles = principal.map(|principal| &principal.roles);
        let roles: BTreeSet<_> = roles.into_iter().flatten().cloned().collect();
        if roles.contains(self.settings().peer_role.as_str()) {
            Caller::Trusted
        } else {
            Caller::Holding(roles)
        }
    }

    /// Whose registrations these are: a name that outlives the session.
    fn provider(&self, context: &Context) -> Result<Owner, Error> {
        let settings = self.settings();
        let denied = |message| Error::new(Kind::PermissionDenied, Blame::Client, message);
        match (settings.registration, &context.principal) {
            (RegistrationMode::Off, _) => Err(denied(
                "registration over the network is off; directory.registration allows it".to_owned(),
            )),
            (RegistrationMode::Authenticated, None) => {
                let message = "registration needs credentials that an authenticator knows";
                Err(Error::new(Kind::Unauthenticated, Blame::Client, message))
            }
            (RegistrationMode::Authenticated | RegistrationMode::Open, Some(principal)) => {
                let needed = &settings.registration_roles;
                let has = |role: &String| principal.roles.iter().any(|held| *held == **role);
                if !needed.is_empty() && !needed.iter().any(has) {
                    let needed = needed.join(", ");
                    return Err(denied(format!(
                        "registration needs one of the roles {needed}"
                    )));
                }
                Ok(Owner::Registered(
                    format!("principal:{}", principal.name).into(),
                ))
            }
            (RegistrationMode::Open, None) => {
                if !settings.registration_roles.is_empty() {
                    let message = "registration needs a role, and the caller has no credentials";
                    return Err(Error::new(Kind::Unauthenticated, Blame::Client, message));
                }
                let peer = &context.peer;
                let name = match (&peer.origin, peer.origin.host()) {
                    (Origin::Ip(_), Some(ip)) => format!("address:{ip}"),
                    (_, Some(user)) => user,
                    (_, None) => format!("transport:{}", peer.transport.name()),
                };
                Ok(Owner::Registered(name.into()))
            }
        }
    }
}

/// Whoever registers wants to be called: it is told at once when it cannot be.
fn check_addresses(addresses: &[Address]) -> Result<(), Error> {
    let refused = |message: String| Error::invalid_argument(message);
    dial::check(addresses).map_err(|undialled| refused(undialled.to_string()))?;
    // Whoever may register may not choose which sockets of this machine the gateway opens.
    let mut paths = addresses.iter().filter(|one| one.host().is_none());
    match paths.next() {
        Some(path) => Err(refused(format!(
            "{path} is a path on the provider's machine; only the gateway's configuration names paths"
        ))),
        None => Ok(()),
    }
}

/// Octets of all that `discover` finds: it is told in one message.
const DISCOVERED_BYTES_MAX: usize = 4 * 1024 * 1024;

const fn kind_of(owner: &Owner) -> &'static str {
    match owner {
        Owner::Local(_) => "plugin",
        Owner::Config => "configuration",
        Owner::Registered(_) => "provider",
        Owner::Peer(_) => "peer",
    }
}

fn lease_json(lease: EntryLease) -> serde_json::Value {
    let ttl = lease.ttl.unwrap_or_default();
    json!({
        "ttl-ms": millis(ttl.duration()),
        "heartbeat-ms": millis(ttl.heartbeat_interval()),
    })
}

#[cfg(test)]
mod tests;
