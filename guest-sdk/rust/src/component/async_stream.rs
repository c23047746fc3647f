//! The role `async-stream-handler` as a component exports it, and the ends of its streams.

use wit_bindgen::{StreamReader, StreamResult, StreamWriter, spawn_local};

use crate::{
    async_stream::{AsyncReply, AsyncRequest, AsyncStreamHandler},
    bindings::{
        async_stream_handler::{
            exports::postern::gateway::async_stream_handler, postern::gateway::async_call,
            wit_stream,
        },
        imports::postern::gateway::types,
    },
    failure::Failure,
    plugin::{Exported, Held, Plugin},
};

pub(crate) struct Reader(StreamReader<u8>);
pub(crate) struct Writer(StreamWriter<u8>);

impl Reader {
    /// Reads as much as there is room for behind what `room` holds. Says whether the request has ended.
    pub(crate) async fn read(&mut self, room: Vec<u8>) -> (Vec<u8>, bool) {
        let (result, octets) = self.0.read(room).await;
        (octets, matches!(result, StreamResult::Dropped))
    }
}

impl Writer {
    /// Whether all of it has found its reader.
    pub(crate) async fn write_all(&mut self, octets: Vec<u8>) -> bool {
        self.0.write_all(octets).await.is_empty()
    }
}

/// Why the request has ended before its end.
pub(crate) fn request_failure() -> Option<Failure> {
    async_call::request_failure().map(Failure::from)
}

impl<P: Held + AsyncStreamHandler> async_stream_handler::Guest for Exported<P> {
    async fn handle_async(
        service: String,
        method: String,
        request: StreamReader<u8>,
    ) -> Result<StreamReader<u8>, types::Failure> {
        let (writer, reader) = wit_stream::new();
        spawn_local(async move {
            let mut request = AsyncRequest::new(Reader(request));
            let mut reply = AsyncReply::new(Writer(writer));
            let answered = answer::<P>(&service, &method, &mut request, &mut reply).await;
            if let Err(failure) = answered {
                async_call::fail(&types::Failure::from(failure));
            }
        });
        Ok(reader)
    }
}

/// Enters the plugin's value, which is this call's until it has ended: an instance has one at a time.
async fn answer<P: Held + AsyncStreamHandler>(
    service: &str,
    method: &str,
    request: &mut AsyncRequest,
    reply: &mut AsyncReply,
) -> Result<(), Failure> {
    let mut plugin = match P::place().take() {
        Some(plugin) => plugin,
        None => <P as Plugin>::start()?,
    };
    let answered = plugin.handle(service, method, request, reply).await;
    P::place().set(Some(plugin));
    answered
}
