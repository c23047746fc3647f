//! A trap as the log shows it: one record, with the names of the call that it ended and the end of what the
//! guest said.

use crate::{
    outcome::TrapReason,
    spec::LogLevel,
    state::Guest,
    trap::{TrapContext, Trapped},
};

/// Writes the record, within the plugin's rate. `role` is what the guest was entered for. That a caller's time
/// is over is no fault of the guest.
pub(crate) fn report(guest: &Guest, trapped: &Trapped, role: &'static str) {
    let none = TrapContext::default();
    let TrapContext {
        service,
        method,
        correlation,
        trace,
        stderr,
    } = trapped.context.as_deref().unwrap_or(&none);
    let (plugin, reason) = (&*guest.plugin, trapped.reason.name());
    macro_rules! record {
        ($level:ident) => {
            tracing::event!(
                target: "plugin", tracing::Level::$level,
                plugin, role, service, method, correlation, trace, reason, stderr,
                "stopped: {}", trapped.text
            )
        };
    }
    if trapped.reason == TrapReason::Deadline {
        record!(DEBUG);
    } else if guest.spec.log_level <= LogLevel::Warn && guest.admit_line() {
        record!(WARN);
    }
}
