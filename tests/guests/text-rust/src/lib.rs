//! Takes and gives text, as a text handler.

use postern_guest::{Failure, Octets, Result, call};

struct TextRust;

/// Takes and gives text.
#[postern_guest::service(text)]
impl TextRust {
    /// Gives back what it got.
    #[method(idempotent)]
    fn say(text: Octets) -> Octets {
        text
    }

    /// Gives what is no text.
    fn break_it(_: Octets) -> Octets {
        Octets::from([0xff].as_slice())
    }

    /// Fails, with a header.
    fn fail(_: Octets) -> Result<()> {
        call::add_header("x-own", "kept")?;
        Err(Failure::not_found("nothing"))
    }
}
