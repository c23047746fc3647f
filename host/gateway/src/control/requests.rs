//! Instances that take requests and not sessions: each by its protocol, of those that its addresses are of.

use std::{sync::Arc, time::Duration};

use postern_core::{Blame, Error, Handler, registry::Entry};

use super::{
    grpc_remote::{GrpcRemote, GrpcUpstreams},
    http_remote::{HttpRemote, HttpUpstreams},
    velithon_remote::{VelithonRemote, VelithonUpstreams},
};
use crate::config::Config;

/// How they are spoken to.
#[derive(Clone)]
pub(crate) struct Requests {
    pub http: Arc<HttpUpstreams>,
    pub grpc: Arc<GrpcUpstreams>,
    pub velithon: Arc<VelithonUpstreams>,
}

/// An instance, by each protocol that its addresses are of. The first counts.
pub(super) struct RequestRemotes {
    grpc: Option<GrpcRemote>,
    velithon: Option<VelithonRemote>,
    http: Option<HttpRemote>,
}

impl Requests {
    /// Puts what `config` says in force.
    pub(super) fn apply(&self, config: &Config) {
        self.http.apply(config);
        self.grpc.apply(config);
        self.velithon.apply(config);
    }

    /// The instance that `entry` is of. Only the operator says which servers the gateway sends requests to.
    pub(super) fn instance(&self, entry: &Entry) -> Option<Arc<dyn Handler>> {
        let RequestRemotes {
            grpc,
            velithon,
            http,
        } = self.remotes(entry);
        match (grpc, velithon, http) {
            (Some(grpc), ..) => Some(Arc::new(grpc.into_service())),
            (None, Some(velithon), _) => Some(Arc::new(velithon)),
            (None, None, Some(http)) => Some(Arc::new(http)),
            (None, None, None) => None,
        }
    }

    pub(super) fn remotes(&self, entry: &Entry) -> RequestRemotes {
        let (service, addresses) = (&entry.service, &entry.addresses);
        let http = HttpRemote::new(&self.http, service, addresses);
        RequestRemotes {
            grpc: GrpcRemote::new(&self.grpc, service, addresses, http.clone()),
            velithon: VelithonRemote::new(&self.velithon, service, addresses),
            http,
        }
    }

    /// How often the instance of `entry` is asked for a sign of life at least, where its protocol says so.
    pub(super) fn health_interval(&self, entry: &Entry) -> Option<Duration> {
        self.velithon
            .health_interval(&entry.service, &entry.addresses)
    }
}

impl RequestRemotes {
    /// # Errors
    /// Why it gives no sign of life.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        match self {
            Self {
                grpc: Some(grpc), ..
            } => grpc.probe().await,
            Self {
                velithon: Some(velithon),
                ..
            } => velithon.probe().await,
            Self {
                http: Some(http), ..
            } => http.probe().await,
            Self {
                grpc: None,
                velithon: None,
                http: None,
            } => {
                let message = "it has no address that is dialled from here";
                Err(Error::unavailable(Blame::Gateway, message))
            }
        }
    }
}
