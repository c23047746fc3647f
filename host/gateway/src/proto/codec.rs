//! Messages of a schema's services between protobuf and JSON (protobuf.dev, "ProtoJSON format").
//!
//! | of | what is not known | too much |
//! | --- | --- | --- |
//! | JSON | a field is refused, with the name that was probably meant | values, depth: `extent.rs` |
//! | protobuf | a field is left out | values, depth: `extent.rs` |
//!
//! Fields that have their default value are absent from JSON, as the mapping has it.

use std::{collections::HashMap, io};

use bytes::Bytes;
use postern_core::{
    Error,
    message_codec::{Direction, MessageCodec, MessageForm},
    service::{MethodInfo, ServiceInfo},
};
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};

use super::{extent, json_faults};

/// The codec of one schema.
#[derive(Debug)]
pub(crate) struct DescriptorCodec {
    /// By service, then by method.
    services: HashMap<String, HashMap<String, CodedMethod>>,
}

#[derive(Debug)]
struct CodedMethod {
    info: MethodInfo,
    request: MessageDescriptor,
    response: MessageDescriptor,
}

impl DescriptorCodec {
    /// Of `services`, which `pool` has.
    pub(crate) fn new(pool: &DescriptorPool, services: &[ServiceInfo]) -> Self {
        let methods = |service: &ServiceInfo| {
            let coded = service.methods.iter().filter_map(|info| {
                let method = CodedMethod {
                    info: info.clone(),
                    request: pool.get_message_by_name(&info.request.name)?,
                    response: pool.get_message_by_name(&info.response.name)?,
                };
                Some((info.name.to_string(), method))
            });
            coded.collect()
        };
        let services = services.iter();
        let services = services.map(|service| (service.name.to_string(), methods(service)));
        Self {
            services: services.collect(),
        }
    }

    fn find(&self, service: &str, method: &str) -> Option<&CodedMethod> {
        self.services.get(service)?.get(method)
    }
}

impl MessageCodec for DescriptorCodec {
    fn has_service(&self, service: &str) -> bool {
        self.services.contains_key(service)
    }

    fn method(&self, service: &str, method: &str) -> Option<&MethodInfo> {
        Some(&self.find(service, method)?.info)
    }

    fn convert(
        &self,
        service: &str,
        method: &str,
        direction: Direction,
        from: MessageForm,
        message: &Bytes,
    ) -> Result<Bytes, Error> {
        let found = self.find(service, method);
        let found = found.ok_or_else(|| {
            Error::internal(format!("{service}/{method} is no method of the schema"))
        })?;
        let descriptor = match direction {
            Direction::Request => &found.request,
            Direction::Response => &found.response,
        };
        match from {
            MessageForm::Protobuf => to_json(descriptor, message),
            MessageForm::Json => to_protobuf(descriptor, message),
        }
    }
}

/// The JSON of a message.
///
/// # Errors
/// `invalid-argument` for octets that are no such message, or one with too much in it.
pub(super) fn to_json(descriptor: &MessageDescriptor, message: &Bytes) -> Result<Bytes, Error> {
    extent::check_wire(descriptor, message)?;
    let decoded = DynamicMessage::decode(descriptor.clone(), message.clone());
    let decoded = decoded.map_err(|error| {
        let name = descriptor.full_name();
        Error::invalid_argument(format!("no message {name} of protobuf: {error}"))
    })?;
    let mut json = BoundedJson(Vec::with_capacity(message.len() * 2));
    let mut serializer = serde_json::Serializer::new(&mut json);
    let written = decoded.serialize_with_options(&mut serializer, &SerializeOptions::new());
    match written {
        Ok(()) => Ok(json.0.into()),
        Err(error) if error.is_io() => {
            Err(Error::invalid_argument(error.to_string()).with_too_large())
        }
        Err(error) => {
            let name = descriptor.full_name();
            Err(Error::invalid_argument(format!(
                "message {name} has no form in JSON: {error}"
            )))
        }
    }
}

/// The protobuf of a message.
///
/// # Errors
/// `invalid-argument` with the field and what is wrong with it.
pub(super) fn to_protobuf(descriptor: &MessageDescriptor, json: &Bytes) -> Result<Bytes, Error> {
    extent::check_json(json)?;
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let read = DynamicMessage::deserialize_with_options(
        descriptor.clone(),
        &mut deserializer,
        &strictly(),
    );
    let read = read.and_then(|message| deserializer.end().map(|()| message));
    match read {
        Ok(message) => Ok(message.encode_to_vec().into()),
        Err(error) => Err(json_faults::explain(descriptor, json, &error)),
    }
}

/// What is not known is refused.
pub(super) fn strictly() -> DeserializeOptions {
    DeserializeOptions::new().deny_unknown_fields(true)
}

/// JSON up to a bound.
struct BoundedJson(Vec<u8>);

impl io::Write for BoundedJson {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if self.0.len() + octets.len() > JSON_BYTES_MAX {
            let message =
                format!("the message in JSON exceeds the limit of {JSON_BYTES_MAX} octets");
            return Err(io::Error::other(message));
        }
        self.0.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The largest message that a listener takes, in base64, and half of it again.
const JSON_BYTES_MAX: usize = 200 * 1024 * 1024;

#[cfg(test)]
mod tests;
