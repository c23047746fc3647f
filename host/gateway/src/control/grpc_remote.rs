//! An instance that speaks gRPC. With a schema its callers have JSON or protobuf, whichever they like; without
//! one their octets pass as they are.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Call, Error, Handler, Kind, Reply, Text,
    message_codec::{
        Conversion, HandlerForm, MessageCodec, MessageForm, convert_call, convert_reply,
    },
    registry::Address,
};
use postern_net::{
    grpc::{GrpcAddress, GrpcConfig, GrpcUpstream},
    http::StatusDetails,
    tls::ClientTls,
};

use super::{by_service::ByService, grpc_schema::InstanceSchema, http_remote::HttpRemote};
use crate::config::{Config, ServiceGrpc};

/// How the instances of each service are spoken to, and those that are.
#[derive(Debug)]
pub(crate) struct GrpcUpstreams {
    tls: Arc<ClientTls>,
    details: Arc<dyn StatusDetails>,
    settings: ByService<GrpcSettings>,
    /// By service and address, so that who calls an instance and who asks whether it is well share its
    /// connections.
    known: Mutex<BTreeMap<(Text, String), Weak<Inner>>>,
}

/// How those of one service are.
#[derive(Debug, Default)]
struct GrpcSettings {
    written: ServiceGrpc,
    config: GrpcConfig,
    /// What files say of the service.
    schema: Option<Arc<dyn MessageCodec>>,
}

/// An instance. Clones share its connections.
#[derive(Clone)]
pub(super) struct GrpcRemote {
    inner: Arc<Inner>,
    /// Where it takes requests of HTTP, if it does: those that are handed on as they are.
    http: Option<HttpRemote>,
}

#[derive(Debug)]
struct Inner {
    service: Text,
    address: GrpcAddress,
    upstreams: Arc<GrpcUpstreams>,
    /// As the settings in force want it.
    current: Mutex<Option<Spoken>>,
}

/// The instance under some settings.
#[derive(Debug, Clone)]
struct Spoken {
    settings: Arc<GrpcSettings>,
    upstream: GrpcUpstream,
    described: Arc<InstanceSchema>,
}

impl GrpcUpstreams {
    pub(crate) fn new(tls: Arc<ClientTls>, details: Arc<dyn StatusDetails>) -> Self {
        Self {
            tls,
            details,
            settings: ByService::default(),
            known: Mutex::default(),
        }
    }

    /// Puts what `config` says in force. Connections stay where it says nothing new.
    pub(super) fn apply(&self, config: &Config) {
        let connect_timeout = config.pool.connect_timeout;
        self.settings.apply(config, |before, service| {
            let is_same = before.written == service.grpc
                && before.config.connect_timeout == connect_timeout
                && Arc::ptr_eq(&before.config.tls, &self.tls);
            if is_same {
                return Arc::clone(before);
            }
            Arc::new(GrpcSettings {
                written: service.grpc.clone(),
                config: GrpcConfig {
                    connect_timeout,
                    tls: Arc::clone(&self.tls),
                    ..service.grpc.to_config()
                },
                schema: None,
            })
        });
    }

    /// The instance of `service` at the first of `addresses` that is of gRPC; `None` where none is.
    fn instance(self: &Arc<Self>, service: &Text, addresses: &[Address]) -> Option<Arc<Inner>> {
        let address = addresses.iter().find_map(GrpcAddress::of)?;
        let mut known = self.known.lock();
        known.retain(|_, inner| inner.strong_count() > 0);
        let key = (service.clone(), address.to_string());
        if let Some(inner) = known.get(&key).and_then(Weak::upgrade) {
            return Some(inner);
        }
        let inner = Arc::new(Inner {
            service: service.clone(),
            address,
            upstreams: Arc::clone(self),
            current: Mutex::default(),
        });
        known.insert(key, Arc::downgrade(&inner));
        Some(inner)
    }
}

impl GrpcRemote {
    /// The instance of `service` at the first of `addresses` that is of gRPC; `None` where none is. `http`
    /// is where it takes requests of HTTP.
    pub(super) fn new(
        upstreams: &Arc<GrpcUpstreams>,
        service: &Text,
        addresses: &[Address],
        http: Option<HttpRemote>,
    ) -> Option<Self> {
        let inner = upstreams.instance(service, addresses)?;
        Some(Self { inner, http })
    }

    /// # Errors
    /// Why it gives no sign of life.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        let Spoken {
            settings, upstream, ..
        } = self.inner.spoken();
        if !settings.written.health_check {
            return upstream.knock().await;
        }
        let service = settings.written.health_service.as_deref();
        upstream.check_health(service.unwrap_or_default()).await
    }
}

impl Inner {
    fn spoken(&self) -> Spoken {
        let settings = self.upstreams.settings.of(&self.service);
        let mut current = self.current.lock();
        if let Some(spoken) = &*current
            && Arc::ptr_eq(&spoken.settings, &settings)
        {
            return spoken.clone();
        }
        let (address, config) = (self.address.clone(), settings.config.clone());
        let details = Arc::clone(&self.upstreams.details);
        let spoken = Spoken {
            settings,
            upstream: GrpcUpstream::new(address, config, details),
            described: Arc::default(),
        };
        // Calls under way keep what they were begun with.
        *current = Some(spoken.clone());
        spoken
    }
}

impl Spoken {
    async fn call(self, call: Call) -> Result<Reply, Error> {
        // What is protobuf already goes as it is, even by a method that is not described.
        let is_protobuf = MessageForm::of_headers(&call.headers) == Some(MessageForm::Protobuf);
        let codec = match (&self.settings.schema, self.settings.written.reflection) {
            (Some(codec), _) => Some(Arc::clone(codec)),
            (None, true) if is_protobuf => self.described.known(),
            (None, true) => self.described.ask(&self.upstream, &call.service).await?,
            (None, false) => None,
        };
        let described = codec.as_ref();
        let method = described.and_then(|codec| codec.method(&call.service, &call.method));
        let kind = method.and_then(|method| method.kind);
        let conversion = match &codec {
            Some(codec) if !is_protobuf => Conversion::of(codec, &call, self.form())?,
            Some(_) | None => None,
        };
        let Some(conversion) = conversion else {
            return self.upstream.call_of_kind(call, kind).await;
        };
        let call = convert_call(&conversion, call)?;
        let reply = self.upstream.call_of_kind(call, kind).await?;
        convert_reply(&conversion, reply)
    }

    fn form(&self) -> HandlerForm {
        HandlerForm {
            form: MessageForm::Protobuf,
            message_bytes_max: self.settings.config.send_bytes_max,
            blame: Blame::Upstream,
        }
    }
}

impl Handler for GrpcRemote {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        if call.is_forwarded() {
            let address = &self.inner.address;
            return match &self.http {
                Some(http) => http.call(call),
                None => {
                    let message = format!(
                        "{address} takes calls of gRPC, and no requests that are handed on as they are"
                    );
                    let error = Error::new(Kind::Unimplemented, Blame::Gateway, message);
                    Box::pin(std::future::ready(Err(error)))
                }
            };
        }
        Box::pin(self.inner.spoken().call(call))
    }
}
