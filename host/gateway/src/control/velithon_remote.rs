//! An instance that speaks velithon. Whoever calls it and whoever asks whether it is well share its
//! connections.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use postern_core::{Blame, BoxFuture, Call, Error, Handler, Kind, Reply, Text, registry::Address};
use postern_net::{
    tls::ClientTls,
    velithon::{VelithonAddress, VelithonUpstream, VelithonUpstreamConfig},
};

use super::by_service::ByService;
use crate::config::{Config, ServiceVelithon};

/// How the instances of each service are spoken to, and those that are.
#[derive(Debug)]
pub(crate) struct VelithonUpstreams {
    tls: Arc<ClientTls>,
    settings: ByService<VelithonSettings>,
    /// By service and address.
    known: Mutex<BTreeMap<(Text, String), Weak<Inner>>>,
}

/// How those of one service are.
#[derive(Debug, Default)]
struct VelithonSettings {
    written: ServiceVelithon,
    config: VelithonUpstreamConfig,
}

/// An instance. Clones share its connections.
#[derive(Debug, Clone)]
pub(super) struct VelithonRemote(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: Text,
    address: VelithonAddress,
    upstreams: Arc<VelithonUpstreams>,
    /// As the settings in force want it.
    current: Mutex<Option<(Arc<VelithonSettings>, VelithonUpstream)>>,
}

impl VelithonUpstreams {
    pub(crate) fn new(tls: Arc<ClientTls>) -> Self {
        Self {
            tls,
            settings: ByService::default(),
            known: Mutex::default(),
        }
    }

    /// Puts what `config` says in force. Connections stay where it says nothing new.
    pub(super) fn apply(&self, config: &Config) {
        let connect_timeout = config.pool.connect_timeout;
        self.settings.apply(config, |before, service| {
            let is_same = before.written == service.velithon
                && before.config.connect_timeout == connect_timeout
                && Arc::ptr_eq(&before.config.tls, &self.tls);
            if is_same {
                return Arc::clone(before);
            }
            Arc::new(VelithonSettings {
                written: service.velithon.clone(),
                config: VelithonUpstreamConfig {
                    connect_timeout,
                    tls: Arc::clone(&self.tls),
                    ..service.velithon.to_config()
                },
            })
        });
    }

    /// How often an instance of `service` at `addresses` is asked for a sign of life at least; `None` where
    /// it does not speak velithon.
    pub(super) fn health_interval(
        &self,
        service: &Text,
        addresses: &[Address],
    ) -> Option<Duration> {
        addresses.iter().find_map(VelithonAddress::of)?;
        Some(self.settings.of(service).written.health_interval)
    }
}

impl VelithonRemote {
    /// The instance of `service` at the first of `addresses` that is of velithon; `None` where none is.
    pub(super) fn new(
        upstreams: &Arc<VelithonUpstreams>,
        service: &Text,
        addresses: &[Address],
    ) -> Option<Self> {
        let address = addresses.iter().find_map(VelithonAddress::of)?;
        let mut known = upstreams.known.lock();
        known.retain(|_, inner| inner.strong_count() > 0);
        let key = (service.clone(), address.to_string());
        if let Some(inner) = known.get(&key).and_then(Weak::upgrade) {
            return Some(Self(inner));
        }
        let inner = Arc::new(Inner {
            service: service.clone(),
            address,
            upstreams: Arc::clone(upstreams),
            current: Mutex::default(),
        });
        known.insert(key, Arc::downgrade(&inner));
        Some(Self(inner))
    }

    /// # Errors
    /// Why it gives no sign of life.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        self.upstream().check_health(&self.0.service).await
    }

    fn upstream(&self) -> VelithonUpstream {
        let settings = self.0.upstreams.settings.of(&self.0.service);
        let mut current = self.0.current.lock();
        if let Some((before, upstream)) = &*current
            && Arc::ptr_eq(before, &settings)
        {
            return upstream.clone();
        }
        let upstream = VelithonUpstream::new(self.0.address.clone(), settings.config.clone());
        // Calls under way keep what they were begun with.
        *current = Some((settings, upstream.clone()));
        upstream
    }
}

impl Handler for VelithonRemote {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        if !call.is_forwarded() {
            return self.upstream().call(call);
        }
        let address = &self.0.address;
        let message = format!(
            "{address} takes calls of velithon, and no requests that are handed on as they are"
        );
        let error = Error::new(Kind::Unimplemented, Blame::Gateway, message);
        Box::pin(std::future::ready(Err(error)))
    }
}
