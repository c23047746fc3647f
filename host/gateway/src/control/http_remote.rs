//! An instance that speaks HTTP. A forwarded request goes to it as it is; any other call goes as the HTTP
//! listener of a gateway takes calls, `POST /v1/services/{service}/{method}`: it is one elsewhere then.

use std::sync::Arc;

use parking_lot::Mutex;
use postern_core::{
    BoxFuture, Call, Error, Handler, Reply, Text, Transport,
    registry::{Address, Location},
};
use postern_net::{
    http::{ForwardAddress, ForwardConfig, Forwarder, HttpClient, HttpClientConfig, HttpVersions},
    tls::ClientTls,
};

use super::by_service::ByService;
use crate::config::{Config, ServiceHttp};

/// How the instances of each service are spoken to.
#[derive(Debug, Default)]
pub(crate) struct HttpUpstreams {
    tls: Arc<ClientTls>,
    settings: ByService<HttpUpstream>,
}

/// How those of one service are.
#[derive(Debug, Default)]
struct HttpUpstream {
    written: ServiceHttp,
    config: ForwardConfig,
}

/// An instance. Clones share its connections.
#[derive(Clone)]
pub(super) struct HttpRemote(Arc<Inner>);

struct Inner {
    service: Text,
    address: ForwardAddress,
    upstreams: Arc<HttpUpstreams>,
    /// As the settings in force want it.
    current: Mutex<Option<Spoken>>,
}

/// The instance under some settings.
#[derive(Clone)]
struct Spoken {
    upstream: Arc<HttpUpstream>,
    forwarder: Forwarder,
    /// Made for the first call that is not forwarded.
    client: Option<HttpClient>,
}

impl HttpUpstreams {
    pub(crate) fn new(tls: Arc<ClientTls>) -> Self {
        Self {
            tls,
            settings: ByService::default(),
        }
    }

    /// Puts what `config` says in force. Connections stay where it says nothing new.
    pub(super) fn apply(&self, config: &Config) {
        let connect_timeout = config.pool.connect_timeout;
        self.settings.apply(config, |before, service| {
            let written = &service.http;
            let is_same =
                before.written == *written && before.config.connect_timeout == connect_timeout;
            if is_same && Arc::ptr_eq(&before.config.tls, &self.tls) {
                return Arc::clone(before);
            }
            Arc::new(HttpUpstream {
                written: written.clone(),
                config: ForwardConfig {
                    connect_timeout,
                    tls: Arc::clone(&self.tls),
                    ..written.to_config()
                },
            })
        });
    }
}

impl HttpRemote {
    /// The instance of `service` at the first of `addresses` that is of HTTP; `None` where none is.
    pub(super) fn new(
        upstreams: &Arc<HttpUpstreams>,
        service: &Text,
        addresses: &[Address],
    ) -> Option<Self> {
        let address = addresses.iter().find_map(forward_address)?;
        Some(Self(Arc::new(Inner {
            service: service.clone(),
            address,
            upstreams: Arc::clone(upstreams),
            current: Mutex::default(),
        })))
    }

    /// # Errors
    /// Why it gives no sign of life.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        let spoken = self.spoken();
        let path = spoken.upstream.written.health_path.as_ref();
        spoken
            .forwarder
            .probe(path.map(|path| path.0.as_str()))
            .await
    }

    fn spoken(&self) -> Spoken {
        let upstream = self.0.upstreams.settings.of(&self.0.service);
        let mut current = self.0.current.lock();
        if let Some(spoken) = &*current
            && Arc::ptr_eq(&spoken.upstream, &upstream)
        {
            return spoken.clone();
        }
        let forwarder = Forwarder::new(self.0.address.clone(), upstream.config.clone());
        let spoken = Spoken {
            upstream,
            forwarder,
            client: None,
        };
        // Calls under way keep what they were begun with.
        *current = Some(spoken.clone());
        spoken
    }

    /// The other gateway that it is.
    ///
    /// # Errors
    /// `unavailable` where servers cannot be verified.
    fn client(&self, spoken: &Spoken) -> Result<HttpClient, Error> {
        if let Some(client) = &spoken.client {
            return Ok(client.clone());
        }
        let config = &spoken.upstream.config;
        let client = HttpClient::new(
            &self.0.address.to_string(),
            HttpClientConfig {
                connect_timeout: config.connect_timeout,
                http2: config.version == HttpVersions::Http2,
                tls: Arc::clone(&config.tls),
                ..HttpClientConfig::default()
            },
        )?;
        let mut current = self.0.current.lock();
        if let Some(spoken) = &mut *current {
            spoken.client = Some(client.clone());
        }
        Ok(client)
    }
}

impl Handler for HttpRemote {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let spoken = self.spoken();
        if call.is_forwarded() {
            return spoken.forwarder.call(call);
        }
        match self.client(&spoken) {
            Ok(client) => client.call(call),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

/// Where HTTP is spoken at `address`; `None` where it is not.
fn forward_address(address: &Address) -> Option<ForwardAddress> {
    let is_secure = match address.transport {
        Transport::Http => false,
        Transport::Https => true,
        Transport::Tcp
        | Transport::Tls
        | Transport::Udp
        | Transport::Quic
        | Transport::WebSocket
        | Transport::SecureWebSocket
        | Transport::Unix
        | Transport::Grpc
        | Transport::Grpcs
        | Transport::Velithon
        | Transport::Velithons
        | Transport::Memory
        | Transport::Plugin => return None,
    };
    match &address.location {
        Location::Host { host, port } => Some(ForwardAddress::Host {
            is_secure,
            host: host.clone(),
            port: *port,
        }),
        Location::Path(path) => path.parse().ok().map(ForwardAddress::Unix),
        // A transport of sessions, not of requests.
        Location::Url { .. } => None,
    }
}
