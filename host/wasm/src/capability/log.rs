//! Import `log`: lines in the gateway's log, named after the plugin and the call, within a rate.

mod wasi;

use std::fmt::Write as _;

use wasmtime::{
    StoreContextMut,
    component::{Linker, LinkerInstance, WasmList, WasmStr},
};

use crate::{
    bindings::{self, Level},
    call_path::Bailout,
    convert,
    journal::Journal,
    spec::LogLevel,
    state::{CallContext, StoreState},
    store_stats::HostImport,
};

/// Longest message, and longest list of fields, in octets; the rest is cut.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Of a name and a value in a guest's memory: two places and two lengths. So no list of empty ones is endless.
const PAIR_BYTES: usize = 16;

type Store<'a> = StoreContextMut<'a, StoreState>;

/// The interface of WASI for the same.
pub(crate) fn link_wasi(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    wasi::link(linker)
}

/// As `link_wasi`, for calls that may be begun anew.
pub(crate) fn link_wasi_inline(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    wasi::link_inline(linker)
}

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::LOG)?;
    link_enabled(&mut interface)?;
    interface.func_wrap("write", write)
}

/// As `link`, for calls that may be begun anew: a line that is to be written bails out.
pub(crate) fn link_inline(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    let mut interface = linker.instance(bindings::LOG)?;
    link_enabled(&mut interface)?;
    interface.func_wrap(
        "write",
        |mut store: Store<'_>, (level, _, _): Line| -> wasmtime::Result<()> {
            store.data_mut().on_host_call_of(HostImport::Log)?;
            if is_enabled(store.data(), level) {
                return Err(Bailout::HostCall.into());
            }
            Ok(())
        },
    )
}

fn link_enabled(interface: &mut LinkerInstance<'_, StoreState>) -> wasmtime::Result<()> {
    interface.func_wrap("enabled", |mut store: Store<'_>, (level,): (Level,)| {
        store.data_mut().on_host_call_of(HostImport::Log)?;
        Ok((is_enabled(store.data(), level),))
    })
}

type Line = (Level, WasmStr, WasmList<(WasmStr, WasmStr)>);

fn write(mut store: Store<'_>, (level, message, fields): Line) -> wasmtime::Result<()> {
    store.data_mut().on_host_call_of(HostImport::Log)?;
    if !is_enabled(store.data(), level) {
        return Ok(());
    }
    let octets = message.to_str(&store)?.len() + n_octets(&mut store, &fields)?;
    store.data_mut().on_logged(octets)?;
    let journal = store.data().journal.clone();
    // Of a replay only its journal has lines: nobody is to take them for those of a call.
    let is_replay = journal.as_ref().is_some_and(Journal::is_replay);
    let is_admitted = !is_replay && store.data().guest.admit_line();
    if !is_admitted && journal.is_none() {
        return Ok(());
    }
    let message = begin_of(&message.to_str(&store)?).to_owned();
    let mut text = String::new();
    for index in 0..fields.len() {
        let Some(field) = fields.get(&mut store, index) else {
            break;
        };
        let (name, value) = field?;
        if !text.is_empty() {
            text.push(' ');
        }
        push_word(&mut text, begin_of(&name.to_str(&store)?));
        text.push('=');
        push_word(&mut text, begin_of(&value.to_str(&store)?));
        if text.len() > TEXT_BYTES_MAX {
            convert::cut(&mut text, TEXT_BYTES_MAX);
            break;
        }
    }
    if let Some(journal) = journal {
        journal.on_line(format!("{} {message} {text}", name(level)).trim_end());
    }
    if is_admitted {
        let octets = message.len() + text.len();
        store.data().guest.log_rate.charge(octets);
        emit(store.data(), level, &message, &text);
    }
    Ok(())
}

/// Octets of all names and values, as the guest has them, with what a pair takes beside.
fn n_octets(
    store: &mut Store<'_>,
    fields: &WasmList<(WasmStr, WasmStr)>,
) -> wasmtime::Result<usize> {
    let mut octets = 0_usize;
    for index in 0..fields.len() {
        let Some(field) = fields.get(&mut *store, index) else {
            break;
        };
        let (name, value) = field?;
        let field = name.to_str(&*store)?.len() + value.to_str(&*store)?.len();
        octets = octets.saturating_add(field).saturating_add(PAIR_BYTES);
        // The rest is not looked at: it is too much already.
        if octets > store.data().guest.spec.limits.log_call_bytes_max {
            break;
        }
    }
    Ok(octets)
}

/// What of a text is written: a guest may have one as long as its memory.
fn begin_of(text: &str) -> &str {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text.get(..end).unwrap_or_default()
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

fn is_enabled(state: &StoreState, level: Level) -> bool {
    match &state.journal {
        Some(journal) => journal.enables(level as u8),
        None => is_told(state.guest.spec.log_level, level),
    }
}

/// The least level that is written, where the plugin may write those from `least` on: its number among all
/// levels, 5 where none is.
pub(crate) fn least_told(least: LogLevel) -> u8 {
    let levels = [
        Level::Trace,
        Level::Debug,
        Level::Info,
        Level::Warn,
        Level::Error,
    ];
    let told = levels.into_iter().find(|level| is_told(least, *level));
    told.map_or(5, |level| level as u8)
}

fn is_told(least: LogLevel, level: Level) -> bool {
    rank(level) >= least
        && match level {
            Level::Trace => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
            Level::Debug => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
            Level::Info => tracing::enabled!(target: "plugin", tracing::Level::INFO),
            Level::Warn => tracing::enabled!(target: "plugin", tracing::Level::WARN),
            Level::Error => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
        }
}

/// Writes a line that was admitted, with one field where that has a value.
fn emit_line(state: &StoreState, level: Level, message: &str, (name, value): (&str, &str)) {
    let (message, value) = (begin_of(message), begin_of(value));
    let mut fields = String::new();
    if !value.is_empty() {
        fields = format!("{name}=");
        push_word(&mut fields, value);
    }
    state.guest.log_rate.charge(message.len() + fields.len());
    emit(state, level, message, &fields);
}

fn emit(state: &StoreState, level: Level, message: &str, fields: &str) {
    let ambient = state.ambient.as_ref();
    let service = ambient.map_or("", |ambient| ambient.call.service().as_str());
    let method = ambient.map_or("", |ambient| ambient.call.method().as_str());
    let correlation = ambient.map_or("", |ambient| ambient.call.context().correlation.as_str());
    let trace = ambient.and_then(CallContext::trace_id).unwrap_or_default();
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

const fn name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
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
    fn of_a_long_text_the_begin_is_written() {
        let long = "é".repeat(TEXT_BYTES_MAX);
        assert_eq!(begin_of(&long).len(), TEXT_BYTES_MAX);
        assert_eq!(begin_of("short"), "short");
    }
}
