//! Logs in stores of others: what the durable topics ask of whoever knows those stores.

use std::sync::Arc;

use postern_core::{
    Error, Text,
    event::{
        TopicPattern,
        durable::{EventLog, LogLimits},
    },
};

use super::store::DeadLetterSink;

/// Opens logs by the names of their stores.
pub(crate) trait NamedLogs: Send + Sync {
    /// A log of `pattern` in `store`, which need not be asked for anything yet.
    ///
    /// # Errors
    /// Where there is no such store.
    fn open_log(
        self: Arc<Self>,
        store: &str,
        pattern: TopicPattern,
        limits: (LogLimits, Option<Text>),
        dead_letters: DeadLetterSink,
    ) -> Result<Arc<dyn EventLog>, Error>;
}
