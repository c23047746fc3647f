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
    #[expect(clippy::panic, reason = "it is what this guest is for")]
    fn check() -> Health {
        panic!("the table `users` is not there")
    }
}
