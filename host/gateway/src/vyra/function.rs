//! Requests of others: a call for each. What fails gives no answer, as with every module of VYRA; its
//! caller gives up by itself.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{
    Error, Handler, Origin, Text,
    vyra::{VyraRequest, VyraResponse, VyraTopic, as_result, is_object},
};
use postern_net::vyra::{VyraHandler, VyraRequestServer};
use postern_system::clock;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::module::{FunctionCounts, OwnModule, no_redis, persist};

/// Answers `srv:TOPIC:requests` for ever.
pub(super) async fn serve_redis(module: Arc<OwnModule>, name: Text, topic: VyraTopic) {
    let what = format!("vyra function {name} over redis");
    persist(what, || listen(&module, &name, &topic)).await;
}

async fn listen(module: &Arc<OwnModule>, name: &Text, topic: &VyraTopic) -> Result<(), Error> {
    let redis = module.redis.as_ref().ok_or_else(no_redis)?;
    let mut source = redis.subscribe(vec![topic.requests()]).await?;
    let mut answering = JoinSet::new();
    loop {
        let message = tokio::select! {
            message = source.next() => message,
            Some(_) = answering.join_next() => continue,
        };
        let Some(message) = message else {
            return Ok(());
        };
        let request = VyraRequest::read(&message.payload);
        let request =
            request.filter(|request| topic.is_response_channel(&request.response_channel));
        let permit = Arc::clone(&module.permits).try_acquire_owned();
        let (Some(request), Ok(permit)) = (request, permit) else {
            module.pass_over(name);
            continue;
        };
        let (module, name) = (Arc::clone(module), name.clone());
        answering.spawn(async move {
            module.respond(&name, request).await;
            drop(permit);
        });
    }
}

/// Answers the socket of the function for ever.
pub(super) async fn serve_socket(module: Arc<OwnModule>, name: Text, topic: VyraTopic) {
    let what = format!("vyra function {name} over sockets");
    persist(what, || bind(&module, &name, &topic)).await;
}

async fn bind(module: &Arc<OwnModule>, name: &Text, topic: &VyraTopic) -> Result<(), Error> {
    let (folder, file) = (module.socket_folder(), module.module.request_socket(topic));
    let limit = module.config.message_bytes_max.octets();
    let server = VyraRequestServer::bind(&folder, &file, limit).map_err(|error| {
        let path = folder.join(&file);
        let message = format!("{}: {error}", path.display());
        Error::unavailable(postern_core::Blame::Gateway, message).with_source(error)
    })?;
    let asked = Arc::clone(module);
    let name = name.clone();
    let handler: VyraHandler = Arc::new(move |request, origin| {
        let (module, name) = (Arc::clone(&asked), name.clone());
        Box::pin(async move {
            if !is_object(&request) {
                module.pass_over(&name);
                return None;
            }
            module.answer(&name, request, Some(origin)).await
        })
    });
    let permits = Arc::clone(&module.permits);
    server.serve(handler, permits, module.config.timeout).await;
    Ok(())
}

impl OwnModule {
    async fn respond(&self, name: &Text, request: VyraRequest) {
        let Some(data) = self.answer(name, request.data, None).await else {
            return;
        };
        let response = VyraResponse {
            request_id: request.request_id,
            data,
        };
        let Some(redis) = &self.redis else { return };
        let channel = request.response_channel.to_string();
        if let Err(error) = redis.publish(channel, response.write()).await {
            warn!(function = %name, %error, "a response is not sent");
        }
    }

    /// What the function answers; none where it fails.
    async fn answer(&self, name: &Text, data: Bytes, origin: Option<Origin>) -> Option<Bytes> {
        if let Some(counts) = self.counts(name) {
            FunctionCounts::add(&counts.taken);
        }
        let answering = async {
            let mut call = self.call(name, data, origin)?;
            call.context.deadline = clock::now().checked_add(self.config.timeout);
            let reply = self.handler.call(call).await?;
            reply.body.into_one(self.body_bytes_max).await
        };
        match answering.await {
            Ok(payload) => Some(as_result(&payload, "result")),
            Err(error) => {
                if let Some(counts) = self.counts(name) {
                    FunctionCounts::add(&counts.failed);
                }
                debug!(function = %name, %error, "a request gets no answer");
                None
            }
        }
    }
}
