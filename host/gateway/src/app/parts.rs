//! What a gateway is made of, short of its sockets: built here for `run` and for `check` alike, so
//! that neither refuses what the other takes.

use std::sync::Arc;

use postern_core::{Blame, Error, Handler};
use postern_net::{ClientConfig, Pool, http::OutgoingClient, tls::ClientTls};
use postern_wasm::{Runtime, RuntimeConfig, ServiceDirectory};

use super::{StartError, failures, guard, rules, sockets};
use crate::{
    certificates::Certificates,
    config::Config,
    control::{
        BuiltIn, Control, Fleet, GrpcUpstreams, HttpUpstreams, Requests, UpstreamSchemas,
        VelithonUpstreams,
    },
    directory::{SharedDirectory, service},
    events::{self, EventService},
    grpc::{self, HealthService, ServiceStates},
    mqtt::{self, ConnectService, MqttGateway, MqttRecords},
    pipeline::{Pipeline, chain::Extensions, route::Routes},
    proto::{LoadedSchemas, PoolDetails},
    redis_front::RedisFront,
    stores::Stores,
    telemetry::calls::CallBook,
};

/// Everything that answers calls, without plugins yet.
pub(super) struct Parts {
    pub runtime: Arc<Runtime>,
    pub control: Arc<Control>,
    pub pipeline: Arc<Pipeline>,
    pub book: Arc<CallBook>,
    pub certificates: Arc<Certificates>,
    pub stores: Arc<Stores>,
    pub mqtt: Arc<MqttGateway>,
    pub redis: Arc<RedisFront>,
}

impl Parts {
    /// # Errors
    /// Why a gateway of `config` does not start.
    pub(super) async fn build(config: &Config) -> Result<Self, StartError> {
        sockets::check_owners(config)?;
        let runtime = start_runtime(config)?;
        let certificates = {
            let config = config.clone();
            let opening = tokio::task::spawn_blocking(move || Certificates::open(&config));
            let opened = opening.await;
            opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?
        };
        let failures = failures(config, None);
        let guard = guard(config, None, &failures)?;
        let (routes, book) = (Arc::<Routes>::default(), Arc::<CallBook>::default());
        let extensions = Arc::<Extensions>::default();
        let hub = config.events.to_hub(config.calls.depth_max);
        let events = EventService::new(hub, &config.data_dir);
        let stores = Arc::new(Stores::new(&runtime));
        events.topics().set_stores(Arc::downgrade(&stores) as _);
        let logs = events.topics().prepare(config).await;
        events.topics().apply(logs.map_err(StartError::Topics)?);
        runtime.set_events(Arc::new(events.publisher().clone()));
        let records = MqttRecords {
            retained: runtime.records("mqtt-retained")?,
            sessions: runtime.records("mqtt-sessions")?,
        };
        let mqtt = MqttGateway::open(config, records, events.clone()).await;
        let mqtt = mqtt.map_err(StartError::Mqtt)?;
        let redis = RedisFront::new(events.clone(), runtime.key_values(None)?);
        let health = Arc::new(HealthService::new());
        let tls = certificates.upstream();
        let (fleet, directory_service) =
            start_fleet(config, &runtime, (&events, &health), tls).await?;
        let control = Arc::new(Control::new(
            Arc::clone(&runtime),
            Arc::clone(&routes),
            Arc::clone(&extensions),
            fleet,
            events,
            Arc::clone(&book),
            config.clone(),
        ));
        health.set_source(&ServiceStates {
            routes: Arc::clone(&routes),
            directory: Arc::clone(control.directory()),
            readiness: control.readiness().clone(),
        });
        let rules = rules(config, guard, failures);
        let pipeline = Arc::new(Pipeline::new(routes, extensions, rules, &book));
        runtime.set_client(Arc::clone(&pipeline) as Arc<dyn Handler>);
        // Servers of others, which the system's authorities speak for.
        runtime.set_outgoing(Arc::new(OutgoingClient::new(Arc::default())));
        directory_service.set_catalogue(catalogue(&control, &pipeline));
        Ok(Self {
            runtime,
            control,
            pipeline,
            book,
            certificates: Arc::new(certificates),
            stores,
            mqtt,
            redis: Arc::new(redis),
        })
    }
}

fn start_runtime(config: &Config) -> Result<Arc<Runtime>, StartError> {
    let path = config.data_dir.clone();
    std::fs::create_dir_all(&path).map_err(|source| StartError::DataDir {
        path: path.clone(),
        source,
    })?;
    Ok(Runtime::new(RuntimeConfig {
        data_dir: path,
        ..RuntimeConfig::default()
    })?)
}

/// Everybody who can answer calls: the directory with what is still leased from the life before, and
/// the sessions to what is elsewhere.
async fn start_fleet(
    config: &Config,
    runtime: &Runtime,
    (events, health): (&EventService, &Arc<HealthService>),
    tls: &Arc<ClientTls>,
) -> Result<(Fleet, Arc<service::Service>), StartError> {
    let directory = SharedDirectory::new(config)?;
    directory.set_upstream_tls(Arc::clone(tls));
    directory.restore(runtime.records("directory")?).await?;
    runtime.set_directory(Arc::clone(&directory) as Arc<dyn ServiceDirectory>);
    let client = ClientConfig {
        tls: Arc::clone(tls),
        ..ClientConfig::default()
    };
    let pool = Pool::new(config.pool.to_config(), client)?;
    let directory_service = Arc::new(service::Service::new(Arc::clone(&directory)));
    let built_in = BuiltIn {
        info: service::info(),
        handler: Arc::clone(&directory_service) as Arc<dyn Handler>,
    };
    let publish_and_subscribe = BuiltIn {
        info: events::info(),
        handler: Arc::new(events.clone()),
    };
    let clients_of_mqtt = BuiltIn {
        info: mqtt::info(),
        handler: Arc::new(ConnectService),
    };
    let mut built_in = vec![built_in, publish_and_subscribe, clients_of_mqtt];
    let loaded = Arc::<LoadedSchemas>::default();
    for service in grpc::services(health, &loaded)? {
        built_in.extend(BuiltIn::of_schema(service, &loaded));
    }
    let schemas = {
        let config = config.clone();
        let reading = move || UpstreamSchemas::read(&config, &UpstreamSchemas::default());
        let read = tokio::task::spawn_blocking(reading).await;
        read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?
    };
    let details = Arc::new(PoolDetails::new(Arc::clone(&loaded)));
    let grpc = GrpcUpstreams::new(Arc::clone(tls), details, schemas, Arc::clone(&loaded));
    let requests = Requests {
        http: Arc::new(HttpUpstreams::new(Arc::clone(tls))),
        grpc: Arc::new(grpc),
        velithon: Arc::new(VelithonUpstreams::new(Arc::clone(tls))),
    };
    let fleet = Fleet::new(config, directory, (pool, requests), (built_in, loaded));
    Ok((fleet, directory_service))
}

/// What the service `directory` tells of the services: those that the guard would let the caller call.
fn catalogue(control: &Arc<Control>, pipeline: &Arc<Pipeline>) -> service::Catalogue {
    // Both hold the service that is to hold this.
    let (control, pipeline) = (Arc::downgrade(control), Arc::downgrade(pipeline));
    Box::new(move |query, principal| {
        let (Some(control), Some(pipeline)) = (control.upgrade(), pipeline.upgrade()) else {
            return Err(Error::unavailable(Blame::Gateway, "the gateway is ending"));
        };
        let rules = pipeline.rules();
        let caller = control.directory().caller_of(principal);
        control.catalogue(query, caller, &|service, method| {
            let guard = rules.guard.as_ref();
            guard.is_none_or(|guard| guard.may_call(principal, service, method))
        })
    })
}
