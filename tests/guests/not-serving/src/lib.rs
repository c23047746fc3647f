//! Says that it cannot serve, and why.

use postern_guest::{Health, Octets};

struct NotServing;

/// Echoes, if it ever gets that far.
#[postern_guest::service]
impl NotServing {
    fn echo(message: Octets) -> Octets {
        message
    }

    #[health]
    fn check() -> Health {
        Health::NotServing("the database is away".to_owned())
    }
}
