//! The gateway's log on the standard error output: readable at a terminal, JSON lines otherwise.
//! The level can change while the gateway runs; the format is chosen at the start.

use std::io::{self, IsTerminal};

use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt,
    layer::SubscriberExt,
    reload::{self, Handle},
    util::SubscriberInitExt,
};

use crate::config::{Log, LogFormat};

/// Changes the level of the log that `install` began.
#[derive(Debug, Clone)]
pub struct LogLevel {
    /// `None` where somebody else's subscriber was there first, as in tests.
    filter: Option<Handle<EnvFilter, Registry>>,
}

/// Why a level is not in force.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log level {directives:?}: {reason}")]
    Level { directives: String, reason: String },
}

/// Begins to log. A second call in one process changes nothing.
///
/// # Errors
/// `Level` when the directives are not understood.
pub fn install(log: &Log) -> Result<LogLevel, LogError> {
    let (filter, handle) = reload::Layer::new(parse(log.level.directives())?);
    let is_text = match log.format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let lines = if is_text {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        fmt::layer()
            .with_ansi(colour)
            .with_writer(io::stderr)
            .compact()
            .boxed()
    } else {
        fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(io::stderr)
            .boxed()
    };
    let is_first = Registry::default()
        .with(filter)
        .with(lines)
        .try_init()
        .is_ok();
    Ok(LogLevel {
        filter: is_first.then_some(handle),
    })
}

/// Whether `install` would take these settings.
///
/// # Errors
/// As `install`.
pub fn check(log: &Log) -> Result<(), LogError> {
    parse(log.level.directives()).map(drop)
}

impl LogLevel {
    /// Puts the level of `log` in force.
    ///
    /// # Errors
    /// `Level` when the directives are not understood; what was in force stays.
    pub fn apply(&self, log: &Log) -> Result<(), LogError> {
        let filter = parse(log.level.directives())?;
        let Some(handle) = &self.filter else {
            return Ok(());
        };
        handle.reload(filter).map_err(|error| LogError::Level {
            directives: log.level.directives().to_owned(),
            reason: error.to_string(),
        })
    }
}

fn parse(directives: &str) -> Result<EnvFilter, LogError> {
    // What the watcher of files says below a warning is about its own housekeeping. Directives that
    // come later win, so whoever wants to read it can.
    EnvFilter::try_new(format!("notify=warn,{directives}")).map_err(|error| LogError::Level {
        directives: directives.to_owned(),
        reason: error.to_string(),
    })
}
