//! An instance that speaks gRPC. With a schema its callers have JSON or protobuf, whichever they like; without
//! one their octets pass as they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use postern_core::{
    Blame, BoxFuture, Call, Error, Handler, Kind, Reply, Text,
    message_codec::{Conversion, HandlerForm, MessageForm, convert_call, convert_reply},
    registry::Address,
    service::MethodInfo,
};
use postern_net::{
    grpc::{GrpcAddress, GrpcUpstream, GrpcUpstreamConfig},
    http::StatusDetails,
    tls::ClientTls,
};

use super::{
    by_service::ByService, grpc_metering::MeteredCall, grpc_schema::InstanceSchema,
    http_remote::HttpRemote, upstream_schemas::UpstreamSchemas,
};
use crate::{
    config::{Config, ServiceGrpc},
    proto::{LoadedSchema, LoadedSchemas, ProtoSchema, SchemaOwner},
    telemetry::calls::{CallBook, CallMetrics, CallNumbers},
};

/// How the instances of each service are spoken to, and those that are.
#[derive(Debug)]
pub(crate) struct GrpcUpstreams {
    tls: Arc<ClientTls>,
    details: Arc<dyn StatusDetails>,
    settings: ByService<GrpcSettings>,
    /// What files say of services.
    schemas: ArcSwap<UpstreamSchemas>,
    /// Is told what is known of services that have instances.
    loaded: Arc<LoadedSchemas>,
    /// Held while that is found and told, so that nothing is told after what was found later.
    telling: Mutex<()>,
    /// Calls to instances, by service.
    book: CallBook,
    /// By service and address, so that who calls an instance and who asks whether it is well share its
    /// connections.
    known: Mutex<BTreeMap<(Text, String), Weak<Inner>>>,
}

/// How those of one service are.
#[derive(Debug, Default)]
struct GrpcSettings {
    written: ServiceGrpc,
    config: GrpcUpstreamConfig,
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
    /// Whether calls reach it. One that is only asked for a sign of life says nothing of the service.
    is_in_service: AtomicBool,
    /// Of all instances of the service.
    metrics: Arc<CallMetrics>,
    /// As the settings in force want it.
    current: Mutex<Option<Spoken>>,
}

/// The instance under some settings.
#[derive(Debug, Clone)]
struct Spoken {
    settings: Arc<GrpcSettings>,
    schemas: Arc<UpstreamSchemas>,
    upstream: GrpcUpstream,
    /// What files say of the service.
    schema: Option<Arc<ProtoSchema>>,
    described: Arc<InstanceSchema>,
}

impl GrpcUpstreams {
    /// `schemas` are those of files. `loaded` is told of them, and of what instances say.
    pub(crate) fn new(
        tls: Arc<ClientTls>,
        details: Arc<dyn StatusDetails>,
        schemas: UpstreamSchemas,
        loaded: Arc<LoadedSchemas>,
    ) -> Self {
        Self {
            tls,
            details,
            settings: ByService::default(),
            schemas: ArcSwap::from_pointee(schemas),
            loaded,
            telling: Mutex::default(),
            book: CallBook::default(),
            known: Mutex::default(),
        }
    }

    /// Calls to instances, by service.
    #[must_use]
    pub(crate) fn numbers(&self) -> Vec<(Text, CallNumbers)> {
        self.book.numbers()
    }

    /// Those of files that are in force.
    pub(crate) fn schemas(&self) -> Arc<UpstreamSchemas> {
        self.schemas.load_full()
    }

    /// Puts `schemas` in force with the next call of each instance.
    pub(crate) fn set_schemas(&self, schemas: UpstreamSchemas) {
        self.schemas.store(Arc::new(schemas));
        self.tell_all();
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
                config: GrpcUpstreamConfig {
                    connect_timeout,
                    tls: Arc::clone(&self.tls),
                    ..service.grpc.to_config()
                },
            })
        });
        self.tell_all();
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
            is_in_service: AtomicBool::new(false),
            metrics: self.book.service(service),
            current: Mutex::default(),
        });
        known.insert(key, Arc::downgrade(&inner));
        Some(inner)
    }

    /// The instances of `service` that calls of it reach, in the order of their addresses.
    fn in_service(&self, service: &Text) -> Vec<Arc<Inner>> {
        let known = self.known.lock();
        let from = (service.clone(), String::new());
        let all = known.range(from..).take_while(|((of, _), _)| of == service);
        let mut there: Vec<_> = all.filter_map(|(_, inner)| inner.upgrade()).collect();
        // One that is dropped here may be the last of its instance, which asks for the lock.
        drop(known);
        there.retain(|inner| inner.is_in_service.load(Relaxed));
        there
    }

    /// Tells what describes `service`: files, or else the first of its instances that does.
    fn tell(&self, service: &Text) {
        // The last of somebody may be dropped here, which tells again: after this has told.
        let instances = self.in_service(service);
        let _telling = self.telling.lock();
        let schema = match instances.is_empty() {
            true => None,
            false => self.schemas().of(service),
        };
        let mut described = instances.iter().filter_map(|inner| inner.described());
        let loaded = schema
            .or_else(|| described.next())
            .map(|schema| LoadedSchema {
                schema,
                services: vec![service.clone()],
            });
        let owner = SchemaOwner::Upstream(service.clone());
        self.loaded.set(&owner, loaded);
    }

    fn tell_all(&self) {
        let known = self.known.lock();
        let services: BTreeSet<_> = known.keys().map(|(service, _)| service.clone()).collect();
        drop(known);
        for service in services {
            self.tell(&service);
        }
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

    /// The same instance, which calls of its service reach from here on.
    pub(super) fn into_service(self) -> Self {
        if !self.inner.is_in_service.swap(true, Relaxed) {
            self.inner.upstreams.tell(&self.inner.service);
        }
        self
    }

    /// Asks for a sign of life. One that is well is asked for what it says of its service, too, so that
    /// this is known before the first call that needs it.
    ///
    /// # Errors
    /// Why it gives none.
    pub(super) async fn probe(&self) -> Result<(), Error> {
        let spoken = self.inner.spoken();
        let written = &spoken.settings.written;
        if written.health_check {
            let service = written.health_service.as_deref().unwrap_or_default();
            spoken.upstream.check_health(service).await?;
        } else {
            spoken.upstream.knock().await?;
        }
        if let Err(error) = spoken.schema(&self.inner).await {
            tracing::debug!(instance = %self.inner.address, %error, "an instance describes nothing");
        }
        Ok(())
    }
}

impl Inner {
    fn spoken(&self) -> Spoken {
        let settings = self.upstreams.settings.of(&self.service);
        let schemas = self.upstreams.schemas();
        let mut current = self.current.lock();
        let before = current
            .as_ref()
            .filter(|before| Arc::ptr_eq(&before.settings, &settings));
        if let Some(before) = before
            && Arc::ptr_eq(&before.schemas, &schemas)
        {
            return before.clone();
        }
        let same = before.map(|before| (before.upstream.clone(), Arc::clone(&before.described)));
        let (upstream, described) = same.unwrap_or_else(|| {
            let (address, config) = (self.address.clone(), settings.config.clone());
            let details = Arc::clone(&self.upstreams.details);
            let described = current.as_ref().map(|before| &before.described);
            let described = described.map(|before| Arc::new(InstanceSchema::of_before(before)));
            let upstream = GrpcUpstream::new(address, config, details);
            (upstream, described.unwrap_or_default())
        });
        let spoken = Spoken {
            schema: schemas.of(&self.service),
            settings,
            schemas,
            upstream,
            described,
        };
        // Calls under way keep what they were begun with.
        *current = Some(spoken.clone());
        spoken
    }

    /// What it has told of its service, where it may be asked.
    fn described(&self) -> Option<Arc<ProtoSchema>> {
        let settings = self.upstreams.settings.of(&self.service);
        let current = self.current.lock();
        let current = current.as_ref().filter(|_| settings.written.reflection)?;
        current.described.known()
    }

    async fn call(self: Arc<Self>, call: Call) -> Result<Reply, Error> {
        let spoken = self.spoken();
        // What is protobuf already goes as it is, even by a method that is not described.
        let is_protobuf = MessageForm::of_headers(&call.headers) == Some(MessageForm::Protobuf);
        let schema = match is_protobuf {
            true => spoken.known_schema(),
            false => spoken.schema(&self).await?,
        };
        let Some(codec) = schema.map(|schema| schema.codec()) else {
            return self.send(&spoken, call, None).await;
        };
        let method = codec.method(&call.service, &call.method);
        let conversion = match is_protobuf {
            true => None,
            false => Conversion::of(&codec, &call, spoken.form())?,
        };
        let Some(conversion) = conversion else {
            return self.send(&spoken, call, method).await;
        };
        let call = convert_call(&conversion, call)?;
        let reply = self.send(&spoken, call, method).await?;
        convert_reply(&conversion, reply)
    }

    /// Has the instance answer, and counts it. `described` is what the schema says of the method.
    async fn send(
        &self,
        spoken: &Spoken,
        mut call: Call,
        described: Option<&MethodInfo>,
    ) -> Result<Reply, Error> {
        let kind = described.and_then(|method| method.kind);
        let metered = MeteredCall::begin(&self.metrics, &mut call, described.is_some());
        metered.finish(spoken.upstream.call_of_kind(call, kind).await)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.is_in_service.load(Relaxed) {
            self.upstreams.tell(&self.service);
        }
    }
}

impl Spoken {
    /// What describes the service, as far as it is known.
    fn known_schema(&self) -> Option<Arc<ProtoSchema>> {
        if self.schema.is_some() || !self.settings.written.reflection {
            return self.schema.clone();
        }
        self.described.known()
    }

    /// What describes the service. The instance is asked where no file does.
    ///
    /// # Errors
    /// Where it cannot be asked.
    async fn schema(&self, instance: &Inner) -> Result<Option<Arc<ProtoSchema>>, Error> {
        if self.schema.is_some() || !self.settings.written.reflection {
            return Ok(self.schema.clone());
        }
        let service = &instance.service;
        let on_told = || instance.upstreams.tell(service);
        self.described.ask(&self.upstream, service, on_told).await
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
        if !call.is_forwarded() {
            return Box::pin(Arc::clone(&self.inner).call(call));
        }
        match &self.http {
            Some(http) => http.call(call),
            None => {
                let address = &self.inner.address;
                let message = format!(
                    "{address} takes calls of gRPC, and no requests that are handed on as they are"
                );
                let error = Error::new(Kind::Unimplemented, Blame::Gateway, message);
                Box::pin(std::future::ready(Err(error)))
            }
        }
    }
}
