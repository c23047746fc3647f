//! Import `wasi:logging/logging`: lines in the plugin's log, as components of other hosts write them.

use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, Lower, WasmStr},
};

use super::{emit_line, is_enabled};
use crate::{bindings::Level, call_path::Bailout, state::StoreState};

type Store<'a> = StoreContextMut<'a, StoreState>;

/// The interface, with its versions.
const INTERFACES: [&str; 2] = ["wasi:logging/logging", "wasi:logging/logging@0.1.0-draft"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift, Lower)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "variants are made by lifting")]
enum LoggingLevel {
    #[component(name = "trace")]
    Trace,
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
    #[component(name = "critical")]
    Critical,
}

/// Level, what the line is about, and the line.
type Line = (LoggingLevel, WasmStr, WasmStr);

pub(crate) fn link(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    for name in INTERFACES {
        let mut interface = linker.instance(name)?;
        interface.func_wrap(
            "log",
            |mut store: Store<'_>, (level, context, message): Line| -> wasmtime::Result<()> {
                store.data_mut().on_host_call()?;
                let level = Level::from(level);
                if !is_enabled(store.data(), level) {
                    return Ok(());
                }
                let octets = context.to_str(&store)?.len() + message.to_str(&store)?.len();
                store.data_mut().on_logged(octets)?;
                if store.data().guest.admit_line() {
                    let (context, message) = (context.to_str(&store)?, message.to_str(&store)?);
                    emit_line(store.data(), level, &message, ("context", &context));
                }
                Ok(())
            },
        )?;
    }
    Ok(())
}

/// As `link`, for calls that may be begun anew: a line that is to be written bails out.
pub(crate) fn link_inline(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    for name in INTERFACES {
        let mut interface = linker.instance(name)?;
        interface.func_wrap(
            "log",
            |mut store: Store<'_>, (level, ..): Line| -> wasmtime::Result<()> {
                store.data_mut().on_host_call()?;
                match is_enabled(store.data(), level.into()) {
                    true => Err(Bailout::HostCall.into()),
                    false => Ok(()),
                }
            },
        )?;
    }
    Ok(())
}

impl From<LoggingLevel> for Level {
    fn from(level: LoggingLevel) -> Self {
        match level {
            LoggingLevel::Trace => Self::Trace,
            LoggingLevel::Debug => Self::Debug,
            LoggingLevel::Info => Self::Info,
            LoggingLevel::Warn => Self::Warn,
            LoggingLevel::Error | LoggingLevel::Critical => Self::Error,
        }
    }
}
