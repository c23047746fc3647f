//! Traps when it is asked for its health: the generation before it must go on serving.

use postern_guest::{Health, Octets};

struct HealthTrap;

/// Echoes, if it ever gets that far.
#[postern_guest::service]
impl HealthTrap {
    fn echo(message: Octets) -> Octets {
        message
    }

    #[health]
    fn check() -> Health {
        std::process::abort()
    }
}
