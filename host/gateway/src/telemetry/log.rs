//! The gateway's log on the standard error output: readable at a terminal, JSON lines otherwise.
//! The level can change while the gateway runs; the format is chosen at the start.
//!
//! ```text
//! event ─▶ level ─▶ throttle (lines of one place) ─▶ format (text, json) ─▶ queue ─▶ thread ─▶ stderr
//! ```
//! Nothing before the queue waits for whoever reads the log.

use std::{
    io::{self, IsTerminal},
    panic,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tracing::{error, level_filters::LevelFilter, warn};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt,
    layer::SubscriberExt,
    reload::{self, Handle},
    util::SubscriberInitExt,
};

use super::{
    text::TextLines,
    throttle::{OWN_TARGET, Throttle, ThrottleLayer},
    writer::{LogQueue, LogWriter},
};
use crate::config::{Log, LogFormat};

/// Changes the level of the log that `install` began.
#[derive(Debug, Clone)]
pub(crate) struct LogLevelHandle {
    /// `None` where somebody else's subscriber was there first, as in tests.
    filter: Option<Handle<EnvFilter, Registry>>,
}

/// Why a level is not in force.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    #[error("log level {directives:?}: {reason}")]
    Level { directives: String, reason: String },
    #[error("no thread for the log: {0}")]
    Thread(io::Error),
}

/// Lines that were not written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LogNumbers {
    /// Nobody took them in time.
    pub dropped: u64,
    /// They said again what the same place of the code had said too often.
    pub suppressed: u64,
}

/// The log of this process.
static INSTALLED: OnceLock<Installed> = OnceLock::new();

struct Installed {
    queue: Arc<LogQueue>,
    throttle: Arc<Throttle>,
}

/// Begins to log. A second call in one process changes nothing.
///
/// # Errors
/// `Level` when the directives are not understood, `Thread` when the system gives none.
pub(crate) fn install(log: &Log) -> Result<LogLevelHandle, LogError> {
    let (filter, handle) = reload::Layer::new(parse(log.level.directives())?);
    let is_text = match log.format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let queue = Arc::new(LogQueue::new(QUEUE_BYTES_MAX));
    let throttle = Arc::<Throttle>::default();
    let writer = LogWriter(Arc::clone(&queue));
    let lines = if is_text {
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        fmt::layer()
            .with_ansi(colour)
            .with_writer(writer)
            .event_format(TextLines)
            .boxed()
    } else {
        fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(writer)
            .boxed()
    };
    let is_first = Registry::default()
        .with(filter)
        .with(ThrottleLayer(Arc::clone(&throttle)))
        .with(lines)
        .try_init()
        .is_ok();
    if is_first {
        let told = Arc::clone(&throttle);
        let maintain = move || tell_suppressed(&told);
        queue
            .start(io::stderr(), tell_dropped, maintain)
            .map_err(LogError::Thread)?;
        let _ = INSTALLED.set(Installed { queue, throttle });
        if !cfg!(test) {
            log_panics();
        }
    }
    Ok(LogLevelHandle {
        filter: is_first.then_some(handle),
    })
}

/// Whether `install` would take these settings.
///
/// # Errors
/// As `install`.
pub(crate) fn check(log: &Log) -> Result<(), LogError> {
    parse(log.level.directives()).map(drop)
}

/// Waits until what was logged is written, for a second at most: nobody may be reading.
pub(crate) fn flush() {
    if let Some(Installed { queue, .. }) = INSTALLED.get() {
        queue.flush(FLUSH_MAX);
    }
}

/// What was not written until this moment.
#[must_use]
pub(crate) fn numbers() -> LogNumbers {
    INSTALLED
        .get()
        .map_or_else(LogNumbers::default, |installed| LogNumbers {
            dropped: installed.queue.n_dropped(),
            suppressed: installed.throttle.n_suppressed(),
        })
}

impl LogLevelHandle {
    /// Puts the level of `log` in force.
    ///
    /// # Errors
    /// `Level` when the directives are not understood; what was in force stays.
    pub(crate) fn apply(&self, log: &Log) -> Result<(), LogError> {
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
    // Directives that come later win, so whoever names a library reads it.
    let all = format!("{}{directives}", quiet(directives));
    EnvFilter::try_new(all).map_err(|error| LogError::Level {
        directives: directives.to_owned(),
        reason: error.to_string(),
    })
}

/// The directives that keep libraries at `LIBRARIES`' levels, or below where everything else is.
fn quiet(directives: &str) -> String {
    let everywhere = directives
        .split(',')
        .rfind(|directive| !directive.contains('='));
    let everywhere = everywhere.and_then(|level| level.trim().parse().ok());
    let everywhere = everywhere.unwrap_or(LevelFilter::ERROR);
    let libraries = LIBRARIES.iter().map(|(library, level)| {
        let level = (*level).min(everywhere);
        format!("{library}={level},")
    });
    libraries.collect()
}

fn tell_dropped(n_lines: u64) {
    warn!(target: OWN_TARGET, n_lines, "lines of the log were dropped: nobody took them in time");
}

fn tell_suppressed(throttle: &Throttle) {
    for suppressed in throttle.take_suppressed() {
        let (n_lines, place, line) = (suppressed.n_lines, suppressed.target, suppressed.line);
        warn!(target: OWN_TARGET, n_lines, place, line, "lines that repeat one another were left out");
    }
}

/// Panics are lines of the log: the standard hook would wait for whoever reads them.
fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(tracing::field::display);
        error!(target: OWN_TARGET, place, panic = message, "a thread panicked");
        if std::thread::current().name() == Some("main") {
            // The process is about to end.
            flush();
        }
    }));
}

/// Libraries whose lines below a level are about their own housekeeping, or about what peers do
/// that is no fault of the gateway, as often as they do it.
const LIBRARIES: [(&str, LevelFilter); 9] = [
    ("cranelift", LevelFilter::WARN),
    ("cranelift_codegen", LevelFilter::WARN),
    ("wasmtime", LevelFilter::WARN),
    ("notify", LevelFilter::ERROR),
    ("h2", LevelFilter::ERROR),
    ("hyper", LevelFilter::ERROR),
    ("hyper_util", LevelFilter::ERROR),
    ("rustls", LevelFilter::ERROR),
    ("quinn_udp", LevelFilter::ERROR),
];
/// Bytes of lines that wait to be written: some ten thousand, half a minute of a busy log.
const QUEUE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long the end of the process waits for the log.
const FLUSH_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(directives: &str, library: &str, expected: &str) {
        let quiet = quiet(directives);
        let found = quiet
            .split(',')
            .find_map(|one| one.strip_prefix(&format!("{library}=")));
        assert_eq!(found, Some(expected), "{directives}");
    }

    #[test]
    fn libraries_are_kept_quiet_and_never_made_louder() {
        check("info", "h2", "error");
        check("trace,postern_net=info", "notify", "error");
        check("postern_net=debug", "notify", "error");
        check("off", "h2", "off");
        check("error", "notify", "error");
    }

    #[test]
    fn a_library_that_is_named_is_read() {
        let shown = |directives: &str| parse(directives).expect("a filter").to_string();
        assert!(shown("info,h2=debug").contains("h2=debug"));
        assert!(!shown("info,h2=debug").contains("h2=error"));
        assert!(shown("info").contains("h2=error"));
    }
}
