//! A line of the log for people. What comes from peers and guests stands in it escaped, so that no
//! text can end its line, begin another, colour it, or pass for a field.
//!
//! ```text
//! 2026-01-31T12:00:00.000000Z  WARN postern_net::server: session closed address=10.0.0.7:4711 reason="idle for 300 s"
//! 2026-01-31T12:00:00.000000Z  INFO plugin: "user created" plugin="users" service="users" fields="id=7"
//! ```
//! A value is quoted unless it is one plain word. What a guest says is quoted always, and at a terminal
//! each plugin's lines have a colour of their own.

use std::fmt::{self, Debug, Write as _};

use anstyle::{AnsiColor, Style};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// Writes events as lines for people.
#[derive(Debug)]
pub(super) struct TextLines;

/// Message and fields of one event.
#[derive(Debug, Default)]
struct Parts {
    message: String,
    /// Each with a space before it.
    fields: String,
    /// Of a record that came through the crate `log`.
    target: Option<String>,
    /// Whose line it is, if it is a plugin's.
    plugin: Option<String>,
}

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut parts = Parts::default();
        event.record(&mut parts);
        let Parts {
            message,
            fields,
            target,
            plugin,
        } = parts;
        let target = target.as_deref().unwrap_or_else(|| metadata.target());
        let (dim, colour) = match writer.has_ansi_escapes() {
            true => (Style::new().dimmed(), colour_of(*metadata.level())),
            false => (Style::new(), Style::new()),
        };
        write!(writer, "{dim}")?;
        if SystemTime.format_time(&mut writer).is_err() {
            writer.write_str("<unknown time>")?;
        }
        write!(writer, "{dim:#} {colour}{:>5}{colour:#} ", metadata.level())?;
        write!(writer, "{dim}{}:{dim:#} ", escaped(target))?;
        match target == GUEST_TARGET {
            true => {
                let own = plugin.filter(|_| writer.has_ansi_escapes());
                let own = own.map_or_else(Style::new, |plugin| colour_of_plugin(&plugin));
                write!(writer, "{own}{message:?}{own:#}")?;
            }
            false => writer.write_str(&escaped(&message))?,
        }
        writeln!(writer, "{fields}")
    }
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            "log.target" => self.target = Some(value.to_owned()),
            "log.module_path" | "log.file" => {}
            name => {
                if name == "plugin" {
                    self.plugin = Some(value.to_owned());
                }
                // Writing to a `String` does not fail.
                let _ = write!(self.fields, " {name}={value:?}");
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let value = format!("{value:?}");
        if field.name() == "plugin" {
            self.plugin = Some(value.clone());
        }
        match field.name() {
            "message" => self.message = value,
            "log.line" => {}
            name if is_plain(&value) => drop(write!(self.fields, " {name}={value}")),
            name => drop(write!(self.fields, " {name}={value:?}")),
        }
    }
}

/// Whether a value can stand without quotes.
fn is_plain(value: &str) -> bool {
    let is_safe = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
    !value.is_empty() && value.chars().all(is_safe)
}

/// `text` with nothing in it that a terminal or a reader of lines would act on.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

fn colour_of(level: Level) -> Style {
    let colour = match level {
        Level::ERROR => AnsiColor::Red,
        Level::WARN => AnsiColor::Yellow,
        Level::INFO => AnsiColor::Green,
        Level::DEBUG => AnsiColor::Blue,
        Level::TRACE => AnsiColor::Magenta,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// The same for one name always; two names may share one.
fn colour_of_plugin(name: &str) -> Style {
    let sum = name.bytes().fold(0_u32, |sum, octet| {
        sum.wrapping_mul(31).wrapping_add(octet.into())
    });
    let colour = match sum % 6 {
        0 => AnsiColor::Cyan,
        1 => AnsiColor::Magenta,
        2 => AnsiColor::Blue,
        3 => AnsiColor::BrightCyan,
        4 => AnsiColor::BrightMagenta,
        _ => AnsiColor::BrightBlue,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// Target of the lines of plugins.
pub(super) const GUEST_TARGET: &str = "plugin";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing::{info, subscriber::with_default, warn};
    use tracing_subscriber::{fmt, layer::SubscriberExt, registry};

    use super::*;
    use crate::telemetry::writer::{LogQueue, LogWriter};

    /// What `log` leaves in the log: one line, behind its time.
    #[track_caller]
    fn check(log: impl FnOnce(), expected: &str) {
        let queue = Arc::new(LogQueue::new(usize::MAX));
        let lines = fmt::layer()
            .with_ansi(false)
            .with_writer(LogWriter(Arc::clone(&queue)))
            .event_format(TextLines);
        with_default(registry().with(lines), log);
        let text = queue.text();
        let (_, line) = text.split_once(' ').expect("a time");
        assert_eq!(line, format!("{expected}\n"));
    }

    #[test]
    fn at_a_terminal_a_plugin_has_a_colour_of_its_own() {
        let line = |plugin: &str| {
            let queue = Arc::new(LogQueue::new(usize::MAX));
            let lines = fmt::layer()
                .with_ansi(true)
                .with_writer(LogWriter(Arc::clone(&queue)))
                .event_format(TextLines);
            with_default(registry().with(lines), || {
                info!(target: "plugin", plugin, "said");
            });
            let text = queue.text();
            let (before, _) = text.split_once("\"said\"\u{1b}[0m").expect("its end");
            let (_, colour) = before.rsplit_once('\u{1b}').expect("its colour");
            colour.to_owned()
        };
        assert_eq!(line("users"), line("users"));
        assert_ne!(line("users"), line("echo"));
        assert_ne!(line("echo"), line("chat"));
    }

    const FORGED: &str =
        "done\n2026-01-31T12:00:00.000000Z ERROR postern: \u{1b}[31mhacked\u{202e}";

    #[test]
    fn a_guest_cannot_begin_a_line_or_pass_for_a_field() {
        let shown =
            r#""done\n2026-01-31T12:00:00.000000Z ERROR postern: \u{1b}[31mhacked\u{202e}""#;
        check(
            || info!(target: "plugin", plugin = "a", fields = FORGED, "{FORGED}"),
            &format!(r#" INFO plugin: {shown} plugin="a" fields={shown}"#),
        );
        check(
            || info!(target: "plugin", plugin = "a", "said\" plugin=\"b"),
            r#" INFO plugin: "said\" plugin=\"b" plugin="a""#,
        );
    }

    #[test]
    fn what_a_peer_sent_stays_in_its_value() {
        let reason = "gone\r\nWARN x=\"y\"";
        check(
            || warn!(target: "t", %reason, address = %"10.0.0.7:4711", n = 7, "closed"),
            r#" WARN t: closed reason="gone\r\nWARN x=\"y\"" address=10.0.0.7:4711 n=7"#,
        );
        check(
            || warn!(target: "t", "no method {reason}: it's \\ é"),
            r#" WARN t: no method gone\r\nWARN x="y": it's \ é"#,
        );
        check(
            || warn!(target: "t", empty = %"", "m"),
            r#" WARN t: m empty="""#,
        );
    }
}
