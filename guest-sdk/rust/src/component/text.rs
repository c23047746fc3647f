//! Role `text-handler`, of a service that is marked with `text`.

use crate::{
    bindings::{
        imports::postern::gateway::types,
        text_handler::exports::postern::gateway::text_handler::{self, Guest},
    },
    service::{self, Service},
};

impl<S: Service> Guest for S {
    fn handle_text(
        _service: String,
        method: String,
        body: String,
    ) -> Result<String, text_handler::Failure> {
        service::call_text::<S>(&method, body).map_err(types::Failure::from)
    }
}
