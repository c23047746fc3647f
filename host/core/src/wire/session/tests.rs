//! Claims about the session machine.
