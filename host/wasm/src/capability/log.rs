//! Import `log`: lines in the gateway's log, named after the plugin and the call, within a rate.

use std::{fmt::Write as _, time::Instant};

use parking_lot::Mutex;
use wasmtime::{
    StoreContextMut,
    component::{Linker, LinkerInstance, WasmList, WasmStr},
};

use crate::{
    bindings::{self, Level},
    call_path::Bailout,
    convert,
    limits::PluginLimits,
    spec::LogLevel,
    state::{CallContext, State},
};

/// Longest message, and longest list of fields, in octets; the rest is cut.
const TEXT_BYTES_MAX: usize = 8 * 1024;

type Store<'a> = StoreContextMut<'a, State>;

/// The rate of one plugin's lines: a bucket of tokens.
pub(crate) struct Lines {
    per_second: f64,
    burst: f64,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    tokens: f64,
    filled: Instant,
    /// Since the last line that was kept.
    n_dropped: u64,
}

/// Whether a line is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Kept { n_dropped_before: u64 },
    Dropped,
}

impl Lines {
    pub(crate) fn new(limits: &PluginLimits, now: Instant) -> Self {
        let burst = f64::from(limits.log_lines_burst);
        let bucket = Bucket {
            tokens: burst,
            filled: now,
            n_dropped: 0,
        };
        let per_second = f64::from(limits.log_lines_per_second);
        Self {
            per_second,
            burst,
            bucket: Mutex::new(bucket),
        }
    }

    pub(crate) fn admit(&self, now: Instant) -> Admission {
        let mut bucket = self.bucket.lock();
        let passed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = passed
            .mul_add(self.per_second, bucket.tokens)
            .min(self.burst);
        bucket.filled = now;
        if bucket.tokens < 1.0 {
            bucket.n_dropped += 1;
            return Admission::Dropped;
        }
        bucket.tokens -= 1.0;
        Admission::Kept {
            n_dropped_before: std::mem::take(&mut bucket.n_dropped),
        }
    }
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::LOG)?;
    link_enabled(&mut interface)?;
    interface.func_wrap("write", write)
}

/// As `link`, for calls that may be begun anew: a line that is to be written bails out.
pub(super) fn link_inline(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::LOG)?;
    link_enabled(&mut interface)?;
    interface.func_wrap(
        "write",
        |mut store: Store<'_>, (level, _, _): Line| -> wasmtime::Result<()> {
            store.data_mut().on_host_call()?;
            if is_enabled(store.data(), level) {
                return Err(Bailout::HostCall.into());
            }
            Ok(())
        },
    )
}

fn link_enabled(interface: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    interface.func_wrap("enabled", |mut store: Store<'_>, (level,): (Level,)| {
        store.data_mut().on_host_call()?;
        Ok((is_enabled(store.data(), level),))
    })
}

type Line = (Level, WasmStr, WasmList<(WasmStr, WasmStr)>);

fn write(mut store: Store<'_>, (level, message, fields): Line) -> wasmtime::Result<()> {
    store.data_mut().on_host_call()?;
    if !is_enabled(store.data(), level) || !admit(store.data()) {
        return Ok(());
    }
    let mut message = message.to_str(&store)?.into_owned();
    convert::cut(&mut message, TEXT_BYTES_MAX);
    let mut text = String::new();
    for index in 0..fields.len() {
        let Some(field) = fields.get(&mut store, index) else {
            break;
        };
        let (name, value) = field?;
        if !text.is_empty() {
            text.push(' ');
        }
        push_word(&mut text, &name.to_str(&store)?);
        text.push('=');
        push_word(&mut text, &value.to_str(&store)?);
        if text.len() > TEXT_BYTES_MAX {
            convert::cut(&mut text, TEXT_BYTES_MAX);
            break;
        }
    }
    emit(store.data(), level, &message, &text);
    Ok(())
}

/// Adds a name or a value of a field: as it is where it is one plain word, else in quotes, so that no value
/// passes for another field. A guest may have it from a peer.
fn push_word(text: &mut String, word: &str) {
    let is_plain =
        |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=' | '\\');
    if !word.is_empty() && word.chars().all(is_plain) {
        text.push_str(word);
    } else {
        // Writing to a `String` does not fail.
        let _ = write!(text, "{word:?}");
    }
}

/// A line that the guest printed to its standard error, as runtimes do when they give up.
pub(crate) fn on_stderr(guest: &crate::state::Guest, line: &str) {
    if guest.spec.log_level <= LogLevel::Warn && admit_guest(guest) {
        tracing::warn!(target: "plugin", plugin = %guest.plugin, stream = "stderr", "{line}");
    }
}

fn is_enabled(state: &State, level: Level) -> bool {
    rank(level) >= state.guest.spec.log_level
        && match level {
            Level::Trace => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
            Level::Debug => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
            Level::Info => tracing::enabled!(target: "plugin", tracing::Level::INFO),
            Level::Warn => tracing::enabled!(target: "plugin", tracing::Level::WARN),
            Level::Error => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
        }
}

fn admit(state: &State) -> bool {
    admit_guest(&state.guest)
}

/// Takes a place for one line, counts it, and tells of those that were dropped before it.
fn admit_guest(guest: &crate::state::Guest) -> bool {
    use std::sync::atomic::Ordering::Relaxed;

    match guest.lines.admit(Instant::now()) {
        Admission::Dropped => {
            guest.stats.log_lines_dropped.fetch_add(1, Relaxed);
            false
        }
        Admission::Kept { n_dropped_before } => {
            guest.stats.log_lines.fetch_add(1, Relaxed);
            if n_dropped_before > 0 {
                let limit = guest.spec.limits.log_lines_per_second;
                tracing::warn!(
                    target: "plugin",
                    plugin = %guest.plugin,
                    "{n_dropped_before} lines over the rate of {limit} a second were dropped"
                );
            }
            true
        }
    }
}

fn emit(state: &State, level: Level, message: &str, fields: &str) {
    let ambient = state.ambient.as_ref();
    let service = ambient.map_or("", |ambient| ambient.call.service().as_str());
    let method = ambient.map_or("", |ambient| ambient.call.method().as_str());
    let correlation = ambient.map_or("", |ambient| ambient.call.context().correlation.as_str());
    let trace = ambient.and_then(trace_id).unwrap_or_default();
    let plugin = &*state.guest.plugin;
    macro_rules! line {
        ($level:ident) => {
            tracing::event!(
                target: "plugin", tracing::Level::$level,
                plugin, service, method, correlation, trace, fields, "{message}"
            )
        };
    }
    match level {
        Level::Trace => line!(TRACE),
        Level::Debug => line!(DEBUG),
        Level::Info => line!(INFO),
        Level::Warn => line!(WARN),
        Level::Error => line!(ERROR),
    }
}

/// The trace id, as `traceparent` writes it.
fn trace_id(ambient: &CallContext) -> Option<String> {
    let trace = ambient.call.context().trace?;
    Some(format!("{:032x}", trace.trace_id))
}

const fn rank(level: Level) -> LogLevel {
    match level {
        Level::Trace => LogLevel::Trace,
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_value_cannot_pass_for_another_field() {
        let shown = |word: &str| {
            let mut text = String::new();
            push_word(&mut text, word);
            text
        };
        for plain in ["Echo", "10.0.0.7:1", "é", "{}"] {
            assert_eq!(shown(plain), plain);
        }
        assert_eq!(shown("Echo outcome=ok"), "\"Echo outcome=ok\"");
        assert_eq!(shown("a=b"), "\"a=b\"");
        assert_eq!(shown("\n\""), "\"\\n\\\"\"");
        assert_eq!(shown(""), "\"\"");
    }

    #[test]
    fn a_burst_passes_then_the_rate_holds_and_drops_are_told() {
        let start = Instant::now();
        let limits = PluginLimits {
            log_lines_per_second: 10,
            log_lines_burst: 2,
            ..PluginLimits::default()
        };
        let lines = Lines::new(&limits, start);
        assert_eq!(
            lines.admit(start),
            Admission::Kept {
                n_dropped_before: 0
            }
        );
        assert_eq!(
            lines.admit(start),
            Admission::Kept {
                n_dropped_before: 0
            }
        );
        assert_eq!(lines.admit(start), Admission::Dropped);
        assert_eq!(
            lines.admit(start + Duration::from_millis(99)),
            Admission::Dropped
        );
        let later = start + Duration::from_millis(101);
        assert_eq!(
            lines.admit(later),
            Admission::Kept {
                n_dropped_before: 2
            }
        );
        assert_eq!(lines.admit(later), Admission::Dropped);
    }
}
