//! Lines in the gateway's log, with the plugin's and the call's names already on them.
//!
//! ```
//! # let (id, count) = ("u1", 3);
//! postern_guest::info!("created {id}");
//! postern_guest::warn!(user = id, count = count, "too many attempts: {}", count);
//! ```
//!
//! Fields come before the text; their values are written with `Display`. A line that would not be
//! kept is not formatted. Lines over the plugin's rate are dropped and counted.

use crate::host;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Whether a line of this level would be kept.
#[must_use]
pub fn enabled(level: Level) -> bool {
    host::log_enabled(level)
}

/// Writes a line. The macros of this crate are shorter.
pub fn write(level: Level, message: &str, fields: &[(String, String)]) {
    host::log_write(level, message, fields);
}

/// Writes a line of a level given first: `log!(Level::Info, user = id, "created")`.
#[macro_export]
macro_rules! log {
    ($level:expr, $($key:ident = $value:expr,)* $text:literal $($rest:tt)*) => {{
        let level = $level;
        if $crate::log::enabled(level) {
            let fields: &[(::std::string::String, ::std::string::String)] = &[
                $((::std::string::String::from(stringify!($key)), ::std::string::ToString::to_string(&$value))),*
            ];
            $crate::log::write(level, &::std::format!($text $($rest)*), fields);
        }
    }};
}

/// Every step, for the author of the plugin.
#[macro_export]
macro_rules! trace {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Trace, $($line)+) };
}

/// An exception in one call.
#[macro_export]
macro_rules! debug {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Debug, $($line)+) };
}

/// A state changed.
#[macro_export]
macro_rules! info {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Info, $($line)+) };
}

/// Someone should look.
#[macro_export]
macro_rules! warn {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Warn, $($line)+) };
}

/// The plugin is broken.
#[macro_export]
macro_rules! error {
    ($($line:tt)+) => { $crate::log!($crate::log::Level::Error, $($line)+) };
}
