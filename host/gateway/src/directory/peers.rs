//! Other gateways: one VSTP session each, over which the peer's own entries are read. They are asked
//! by unary calls that wait for a change (`directory/watch` with `wait-ms`), so that every answer is
//! a sign of life, and that datagram links serve as well.
//!
//! # Where entries of a peer are reached
//!
//! An entry carries the addresses of whoever answers. A host that means nothing elsewhere
//! (unspecified or loopback) is replaced by the address at which we reach the peer, and so is a
//! missing address. A path of the peer's machine counts as missing. What cannot be dialled from here is
//! kept and told to those who ask, and is given no calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use postern_core::{
    Blame, Call, Error, Handler, Text,
    registry::{
        Address, Cursor, Draft, Entry, InstanceId, Location, ToldEntry, directory::PeerChange,
    },
};
use postern_net::{Client, ClientConfig, Speak, dial};
use postern_system::clock;
use serde_json::json;
use tokio::task::{AbortHandle, JoinSet};

use super::{
    SharedDirectory,
    batch::{Batch, CursorText, Name, Named, Step},
    discovery::{Discovery, Update},
    listing::millis,
    service::SERVICE,
};
use crate::config::PeerSettings;

/// Time beyond `wait-ms` for an answer, and for a page of a snapshot.
const ANSWER: Duration = Duration::from_secs(5);
/// Entries of a snapshot: the largest bound of a directory.
const ENTRIES_MAX: usize = 1_000_000;

/// Follows all peers that are configured, as the configuration changes. Never ends by itself.
pub(super) async fn follow_all(directory: &Arc<SharedDirectory>) {
    let mut wanted = directory.followed.subscribe();
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<Text, (PeerSettings, AbortHandle)> = BTreeMap::new();
    loop {
        let peers = wanted.borrow_and_update().clone();
        running.retain(|name, (settings, task)| {
            let stays = peers.get(name) == Some(settings);
            if !stays {
                task.abort();
            }
            stays
        });
        for (name, settings) in peers {
            if running.contains_key(&name) {
                continue;
            }
            let source = PeerGateway::new(Arc::clone(directory), settings.clone());
            let following = Arc::clone(directory).follow(name.clone(), Box::new(source));
            running.insert(name, (settings, tasks.spawn(following)));
        }
        while tasks.try_join_next().is_some() {}
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// Another gateway.
pub(crate) struct PeerGateway {
    directory: Arc<SharedDirectory>,
    settings: PeerSettings,
    vnets: BTreeSet<Text>,
    client: Option<Client>,
}

impl PeerGateway {
    fn new(directory: Arc<SharedDirectory>, settings: PeerSettings) -> Self {
        let vnets = settings.vnets.iter().map(|vnet| vnet.as_str().into());
        Self {
            directory,
            vnets: vnets.collect(),
            settings,
            client: None,
        }
    }

    async fn open(&mut self) -> Result<(), Error> {
        // Whatever was open is of no use.
        self.client = None;
        let address = self.settings.address.as_ref();
        let address = address.ok_or_else(|| Error::not_found("the peer has no address"))?;
        let unreachable = |reason: String| Error::unavailable(Blame::Upstream, reason);
        let authority = address.authority();
        let finding = dial::targets(address.transport, &authority);
        let found = tokio::time::timeout(ANSWER, finding).await;
        let found = found.map_err(|_| unreachable(format!("{address} is not found in time")))??;
        let mut last = unreachable(format!("{address} has no address"));
        for target in found {
            let config = ClientConfig {
                speak: Speak::Vsp,
                tls: self.directory.upstream_tls(),
                ..ClientConfig::default()
            };
            match Client::connect(target, config).await {
                Ok(client) => {
                    self.client = Some(client);
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask(&self, method: &str, body: Bytes, wait: Duration) -> Result<Batch, Error> {
        let lost = || Error::unavailable(Blame::Upstream, "there is no session");
        let client = self.client.as_ref().ok_or_else(lost)?;
        let mut call = Call::unary(SERVICE, method, body);
        call.context.deadline = Some(clock::now() + wait + ANSWER);
        if let Some(token) = &self.settings.token {
            let value = format!("Bearer {}", token.expose());
            let pushed = call.headers.push("authorization", value);
            pushed.map_err(|_| Error::invalid_argument("the token is too long for a header"))?;
        }
        let reply = client.call(call).await?;
        let body = reply.body.into_one(usize::MAX).await?;
        serde_json::from_slice(&body).map_err(|error| {
            let message = format!("directory/{method} of the peer is not understood: {error}");
            Error::new(postern_core::Kind::Internal, Blame::Upstream, message)
        })
    }

    /// All pages of a snapshot, `first` being the first. Changes between pages are told again from
    /// the cursor of the first.
    async fn snapshot(&self, first: Option<Batch>) -> Result<Update, Error> {
        let page = |after: Option<Name>| {
            let body = json!({ "scope": "own", "after": after });
            self.ask("picture", body.to_string().into(), Duration::ZERO)
        };
        let first = match first {
            Some(first) => first,
            None => page(None).await?,
        };
        let CursorText(cursor) = first.cursor;
        let mut entries = Vec::new();
        let mut next = first.next;
        let mut listed = first.picture.unwrap_or_default();
        loop {
            for named in &listed {
                entries.extend(self.told(named)?);
            }
            if next.is_none() {
                return Ok(Update::Snapshot { entries, cursor });
            }
            if listed.is_empty() || entries.len() > ENTRIES_MAX {
                let message = "the peer's picture has no end";
                return Err(Error::unavailable(Blame::Upstream, message));
            }
            let batch = page(next.take()).await?;
            (next, listed) = (batch.next, batch.picture.unwrap_or_default());
        }
    }

    async fn changes(&self, since: Cursor) -> Result<Update, Error> {
        let wait = self.directory.settings().peer_wait;
        let cursor = CursorText(since).to_string();
        let body = json!({ "scope": "own", "cursor": cursor, "wait-ms": millis(wait) });
        let batch = self.ask("watch", body.to_string().into(), wait).await?;
        let Some(steps) = batch.changes else {
            return self.snapshot(Some(batch)).await;
        };
        let CursorText(cursor) = batch.cursor;
        let mut changes = Vec::with_capacity(steps.len());
        for step in steps {
            changes.push(match step {
                Step::Removed(name) => PeerChange::Removed(InstanceId::new(name.instance)),
                Step::Put(named) => match self.told(&named)? {
                    Some(told) => PeerChange::Put(told),
                    // It may have been in a network of ours before.
                    None => PeerChange::Removed(InstanceId::new(named.listing.instance)),
                },
            });
        }
        Ok(Update::Changes {
            since,
            changes,
            cursor,
        })
    }

    /// The entry as it is reached from here; `None` where it is in no network of ours.
    fn told(&self, named: &Named) -> Result<Option<ToldEntry>, Error> {
        let not_understood = |error: &dyn std::fmt::Display| {
            let instance = &named.listing.instance;
            let message = format!("instance {instance} of the peer is not understood: {error}");
            Error::new(postern_core::Kind::Internal, Blame::Upstream, message)
        };
        let ToldEntry { entry, ttl } = named
            .listing
            .told()
            .map_err(|error| not_understood(&error))?;
        if !self.vnets.is_empty() && self.vnets.is_disjoint(&entry.vnets) {
            return Ok(None);
        }
        let client = self.client.as_ref();
        let via = client.and_then(|client| client.destination().socket_addr());
        let mut draft: Draft = entry.into_draft();
        // A path is one of the peer's machine: what it leads to is called through the peer.
        draft.addresses.retain(|address| address.host().is_some());
        if draft.addresses.is_empty() {
            draft.addresses.extend(self.settings.address.clone());
        }
        if let Some(via) = via {
            for address in &mut draft.addresses {
                reach(address, via.ip());
            }
        }
        let entry = Entry::new(&draft).map_err(|error| not_understood(&error))?;
        Ok(Some(ToldEntry { entry, ttl }))
    }
}

impl Discovery for PeerGateway {
    fn connect(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        self.open().boxed()
    }

    fn next(&mut self, held: Option<Cursor>) -> BoxFuture<'_, Result<Update, Error>> {
        async move {
            match held {
                Some(cursor) => self.changes(cursor).await,
                None => self.snapshot(None).await,
            }
        }
        .boxed()
    }
}

/// Replaces a host that means nothing on another machine by `via`, at which its machine is reached.
pub(super) fn reach(address: &mut Address, via: IpAddr) {
    let (Location::Host { host, .. } | Location::Url { host, .. }) = &mut address.location else {
        return;
    };
    let means_nothing = match host.parse::<IpAddr>() {
        Ok(ip) => ip.to_canonical().is_unspecified() || ip.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    };
    if means_nothing {
        *host = via.to_canonical().to_string().into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_mean_nothing_elsewhere_are_replaced() {
        let check = |text: &str, via: &str, expected: &str| {
            let mut address = Address::parse(text).expect("an address");
            reach(&mut address, via.parse().expect("an address"));
            assert_eq!(address.to_string(), expected);
        };
        check("tcp://0.0.0.0:9", "10.0.0.1", "tcp://10.0.0.1:9");
        check("udp://[::]:9", "::ffff:10.0.0.1", "udp://10.0.0.1:9");
        check("tcp://127.0.0.1:9", "fd00::1", "tcp://[fd00::1]:9");
        check("tcp://[::1]:9", "127.0.0.1", "tcp://127.0.0.1:9");
        check("ws://LocalHost:9", "10.0.0.1", "ws://10.0.0.1:9");
        check("wss://[::1]:9/x", "10.0.0.1", "wss://10.0.0.1:9/x");
        check("tcp://10.0.0.2:9", "10.0.0.1", "tcp://10.0.0.2:9");
        check("tcp://users.example:9", "10.0.0.1", "tcp://users.example:9");
        check("unix:///run/a.sock", "10.0.0.1", "unix:///run/a.sock");
    }
}
