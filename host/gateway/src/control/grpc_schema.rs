//! What one instance of gRPC says of its service, by its reflection. Asked once, and again when another
//! connection was opened: another life of the instance may be behind it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use postern_core::{Blame, Error, Kind, Text};
use postern_net::grpc::{GrpcUpstream, ReflectionLimits};
use postern_system::clock;
use tokio::task::spawn_blocking;

use crate::proto::ProtoSchema;

#[derive(Debug, Default)]
pub(super) struct InstanceSchema {
    told: Mutex<Option<Told>>,
    /// One call asks; others wait for what it is told.
    asking: tokio::sync::Mutex<()>,
}

/// What the instance told.
#[derive(Debug, Clone)]
struct Told {
    /// `None`: it has no reflection, or that does not know the service.
    schema: Option<Arc<ProtoSchema>>,
    at: Instant,
    /// Connections that were opened until then.
    n_opened: u64,
}

impl InstanceSchema {
    /// What is known of an instance that is spoken to in another manner from here on: what it told, until
    /// it is asked again.
    pub(super) fn of_before(before: &Self) -> Self {
        let told = before.told.lock().clone();
        let told = told.map(|told| Told {
            n_opened: u64::MAX,
            ..told
        });
        Self {
            told: Mutex::new(told),
            ..Self::default()
        }
    }

    /// As it was told last.
    pub(super) fn known(&self) -> Option<Arc<ProtoSchema>> {
        self.told.lock().as_ref()?.schema.clone()
    }

    /// As the instance says; `None` where it describes nothing. `on_told` is called when it has told.
    ///
    /// # Errors
    /// Where it cannot be asked and has told nothing before, or what it tells cannot be used.
    pub(super) async fn ask(
        &self,
        upstream: &GrpcUpstream,
        service: &Text,
        on_told: impl FnOnce(),
    ) -> Result<Option<Arc<ProtoSchema>>, Error> {
        if let Some(told) = self.current(upstream) {
            return Ok(told.schema);
        }
        let _asking = self.asking.lock().await;
        if let Some(told) = self.current(upstream) {
            return Ok(told.schema);
        }
        let schema = match upstream.reflect(service, ReflectionLimits::default()).await {
            Ok(files) => Some(schema_of(files.0, upstream).await?),
            Err(error) if matches!(error.kind, Kind::Unimplemented | Kind::NotFound) => None,
            Err(error) => match self.known() {
                Some(schema) => return Ok(Some(schema)),
                None => return Err(error),
            },
        };
        *self.told.lock() = Some(Told {
            schema: schema.clone(),
            at: clock::now(),
            n_opened: upstream.n_opened(),
        });
        on_told();
        Ok(schema)
    }

    /// What it told, where there is no reason to ask again.
    fn current(&self, upstream: &GrpcUpstream) -> Option<Told> {
        let told = self.told.lock();
        let told = told.as_ref()?;
        let is_current = told.n_opened == upstream.n_opened()
            || clock::now().saturating_duration_since(told.at) < ASKED_AGAIN_AFTER;
        is_current.then(|| told.clone())
    }
}

async fn schema_of(files: Vec<Bytes>, upstream: &GrpcUpstream) -> Result<Arc<ProtoSchema>, Error> {
    let name = upstream.address().to_string();
    let reading = spawn_blocking(move || ProtoSchema::of_set(&name, &set_of(&files)));
    let read = reading.await;
    let read = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    read.map(Arc::new).map_err(|faults| {
        let message = format!("what the instance says of its service cannot be used: {faults}");
        Error::new(Kind::Internal, Blame::Upstream, message)
    })
}

/// `google.protobuf.FileDescriptorSet` of encoded files.
fn set_of(files: &[Bytes]) -> Bytes {
    let mut set = BytesMut::new();
    for file in files {
        prost::encoding::bytes::encode(1, file, &mut set);
    }
    set.freeze()
}

/// However often connections are opened.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(10);
