//! A handler that speaks protobuf, for callers of either form.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{
    Blame, Body, BoxFuture, Call, Error, Handler, Reply,
    message_codec::{
        Conversion, HandlerForm, MessageCodec, MessageForm, convert_call, convert_reply,
    },
};
use prost::Message;

/// `handler` behind the codec of its schema.
pub(super) struct CodedService {
    codec: Arc<dyn MessageCodec>,
    handler: Arc<dyn Handler>,
}

impl CodedService {
    pub(super) fn new(codec: Arc<dyn MessageCodec>, handler: Arc<dyn Handler>) -> Self {
        Self { codec, handler }
    }
}

impl Handler for CodedService {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let converted = Conversion::of(&self.codec, &call, FORM).and_then(|conversion| {
            let none =
                || Error::invalid_argument("this service takes no requests of HTTP as they are");
            let conversion = conversion.ok_or_else(none)?;
            let call = convert_call(&conversion, call)?;
            Ok((conversion, call))
        });
        match converted {
            Ok((conversion, call)) => {
                let answer = self.handler.call(call);
                Box::pin(async move { convert_reply(&conversion, answer.await?) })
            }
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

const FORM: HandlerForm = HandlerForm {
    form: MessageForm::Protobuf,
    message_bytes_max: MESSAGE_BYTES_MAX,
    blame: Blame::Gateway,
};

/// The only message of a call.
///
/// # Errors
/// `invalid-argument` for more than one message, or octets that are no `M`.
pub(super) async fn read_one<M: Message + Default>(body: Body) -> Result<M, Error> {
    read(&body.into_one(MESSAGE_BYTES_MAX).await?)
}

/// # Errors
/// `invalid-argument` for octets that are no `M`.
pub(super) fn read<M: Message + Default>(octets: &Bytes) -> Result<M, Error> {
    if octets.len() > MESSAGE_BYTES_MAX {
        let message = format!("message exceeds the limit of {MESSAGE_BYTES_MAX} octets");
        return Err(Error::invalid_argument(message).with_too_large());
    }
    let read = M::decode(octets.clone());
    read.map_err(|error| Error::invalid_argument(format!("no message of this method: {error}")))
}

/// Questions of these services are a name or two.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
