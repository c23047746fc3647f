//! What one instance of gRPC says of its service, by its reflection. Asked once, and again when another
//! connection was opened: another life of the instance may be behind it.

use std::{sync::Arc, time::{Duration, Instant}};

use bytes::Bytes;
use parking_lot::Mutex;
use postern_core::{Blame, Error, Kind, Text, message_codec::MessageCodec};
use postern_net::grpc::{GrpcUpstream, ReflectionLimits};
use postern_system::clock;
use tokio::task::spawn_blocking;

use crate::proto;

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
    codec: Option<Arc<dyn MessageCodec>>,
    at: Instant,
    /// Connections that were opened until then.
    n_opened: u64,
}

impl InstanceSchema {
    /// As it was told last.
    pub(super) fn known(&self) -> Option<Arc<dyn MessageCodec>> {
        self.told.lock().as_ref()?.codec.clone()
    }

    /// As the instance says; `None` where it describes nothing.
    ///
    /// # Errors
    /// Where it cannot be asked and has told nothing before, or what it tells cannot be used.
    pub(super) async fn ask(
        &self,
        upstream: &GrpcUpstream,
        service: &Text,
    ) -> Result<Option<Arc<dyn MessageCodec>>, Error> {
        if let Some(told) = self.current(upstream) {
            return Ok(told.codec);
        }
        let _asking = self.asking.lock().await;
        if let Some(told) = self.current(upstream) {
            return Ok(told.codec);
        }
        let codec = match upstream.reflect(service, ReflectionLimits::default()).await {
            Ok(files) => Some(codec_of(files.0).await?),
            Err(error) if matches!(error.kind, Kind::Unimplemented | Kind::NotFound) => None,
            Err(error) => match self.known() {
                Some(codec) => return Ok(Some(codec)),
                None => return Err(error),
            },
        };
        *self.told.lock() = Some(Told {
            codec: codec.clone(),
            at: clock::now(),
            n_opened: upstream.n_opened(),
        });
        Ok(codec)
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

async fn codec_of(files: Vec<Bytes>) -> Result<Arc<dyn MessageCodec>, Error> {
    let reading = spawn_blocking(move || proto::of_descriptors(&files));
    let read = reading.await;
    let read = read.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    read.map_err(|reason| {
        let message = format!("what the instance says of its service cannot be used: {reason}");
        Error::new(Kind::Internal, Blame::Upstream, message)
    })
}

/// However often connections are opened.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(10);
