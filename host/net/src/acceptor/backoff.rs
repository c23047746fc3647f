//! Accepting without falling over: which errors pass, how long to pause after the others.

use std::{io, time::Duration};

/// First pause after an error that needs one.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// Longest pause: descriptors are freed at any moment, and the backlog must not overflow for long.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Doubles the pause with every failure in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    n_failures: u32,
}

/// What to do after an error from `accept`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    /// The error was of the connection that would have come; the next may be well.
    Again,
    /// Descriptors or memory are short (`EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`): wait this long.
    Pause(Duration),
}

impl Backoff {
    pub(crate) fn succeeded(&mut self) {
        self.n_failures = 0;
    }

    pub(crate) fn failed(&mut self, error: &io::Error) -> Advice {
        let is_of_the_connection = matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::NotConnected
                | io::ErrorKind::Interrupted
        );
        if is_of_the_connection {
            return Advice::Again;
        }
        let factor = 1_u32.checked_shl(self.n_failures).unwrap_or(u32::MAX);
        self.n_failures = self.n_failures.saturating_add(1);
        Advice::Pause(PAUSE_MIN.saturating_mul(factor).min(PAUSE_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `EMFILE` on Linux and the BSDs.
    const TOO_MANY_OPEN_FILES: i32 = 24;

    fn pause(backoff: &mut Backoff) -> Advice {
        backoff.failed(&io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES))
    }

    #[test]
    fn pauses_double_up_to_a_second_and_start_anew_after_a_success() {
        let mut backoff = Backoff::default();
        for expected_ms in [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000] {
            assert_eq!(
                pause(&mut backoff),
                Advice::Pause(Duration::from_millis(expected_ms))
            );
        }
        for _ in 0..100 {
            pause(&mut backoff);
        }
        assert_eq!(pause(&mut backoff), Advice::Pause(PAUSE_MAX));
        backoff.succeeded();
        assert_eq!(pause(&mut backoff), Advice::Pause(PAUSE_MIN));
    }

    #[test]
    fn a_connection_that_went_away_costs_no_pause() {
        let mut backoff = Backoff::default();
        let error = io::Error::from(io::ErrorKind::ConnectionAborted);
        assert_eq!(backoff.failed(&error), Advice::Again);
        assert_eq!(pause(&mut backoff), Advice::Pause(PAUSE_MIN));
    }
}
