//! Never answers when it is asked for its health: the host must stop asking.

use postern_guest::{Health, Octets};

struct HealthLoop;

/// Echoes, if it ever gets that far.
#[postern_guest::service]
impl HealthLoop {
    fn echo(message: Octets) -> Octets {
        message
    }

    #[health]
    fn check() -> Health {
        loop {
            std::hint::black_box(());
        }
    }
}
