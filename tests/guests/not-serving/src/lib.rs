//! Says that it cannot serve, and why: at once, or after as many checks as its manifest's
//! `config.checks` says.

use std::sync::atomic::{AtomicU32, Ordering};

use postern_guest::{Health, Octets, config};

/// Checks that this instance has answered.
static N_CHECKS: AtomicU32 = AtomicU32::new(0);

struct NotServing;

/// Echoes, if it ever gets that far.
#[postern_guest::service]
impl NotServing {
    fn echo(message: Octets) -> Octets {
        message
    }

    #[health]
    fn check() -> Health {
        let good = config::text("checks").and_then(|checks| checks.parse().ok());
        if N_CHECKS.fetch_add(1, Ordering::Relaxed) < good.unwrap_or(0) {
            return Health::Serving;
        }
        Health::NotServing("the database is away".to_owned())
    }
}
