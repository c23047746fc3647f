//! When a certificate is due, and how long to wait after a failure. Pure.
//!
//! ```text
//! none ──▶ due at once ──failed──▶ due after a pause, four times as long each time
//!             │  ▲
//!        issued  two thirds of its life are over, and a bit
//!             ▼  │
//!           serves
//! ```

use std::time::{Duration, UNIX_EPOCH};

use postern_net::tls::CertificateInfo;
use serde::{Deserialize, Serialize};

/// How it stands with the certificate of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub name: String,
    /// The certificate that is there.
    pub info: Option<CertificateInfo>,
    pub attempts: Attempts,
}

/// Failures since the last certificate. Kept, so that a gateway that starts again does not ask at once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Attempts {
    /// In a row.
    pub failures: u32,
    /// Of the last one.
    pub reason: String,
    /// Seconds since 1970.
    pub next_try: i64,
}

/// Waits after failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pauses {
    pub first: Duration,
    pub longest: Duration,
}

impl Standing {
    /// When the certificate is to be renewed, in seconds since 1970: two thirds of its life, and up to a
    /// twentieth of it later, so that those that were issued together are not renewed together. The
    /// same for all who look at it. None where there is no certificate.
    #[must_use]
    pub(crate) fn renewal(&self) -> Option<i64> {
        let info = self.info.as_ref()?;
        let life = info.not_after.saturating_sub(info.not_before).max(0);
        let [a, b, ..] = info.fingerprint.0;
        let spread = i64::from(u16::from_be_bytes([a, b]));
        let later = (life / SPREAD_SHARE).saturating_mul(spread) / i64::from(u16::MAX);
        let renewal = info.not_before.saturating_add(life / 3 * 2);
        Some(renewal.saturating_add(later))
    }

    /// When the authority is to be asked, in seconds since 1970; `now` or before means at once. A try
    /// that is further away than any pause was noted by a clock that stood elsewhere, and does not count.
    #[must_use]
    pub(crate) fn due(&self, now: i64, pauses: &Pauses) -> i64 {
        let wanted = self.renewal().unwrap_or(now);
        let furthest = seconds(pauses.longest.max(RETRY_AFTER_MAX) * 2);
        let next_try = self.attempts.next_try;
        let counts = self.attempts.failures > 0 && next_try <= now.saturating_add(furthest);
        match counts {
            true => wanted.max(next_try),
            false => wanted,
        }
    }
}

impl Standing {
    /// What somebody should know of it at `now`, in seconds since 1970; none where all is well.
    #[must_use]
    pub(crate) fn trouble(&self, now: i64) -> Option<String> {
        let Attempts {
            failures,
            reason,
            next_try,
        } = &self.attempts;
        let shown = match self.info {
            Some(_) => "the certificate from before is shown",
            None => "clients that ask for it are refused",
        };
        // Where somebody has put another one there, old failures mean nothing.
        if self.renewal().is_some_and(|renewal| renewal > now) {
            return None;
        }
        match (*failures, &self.info) {
            (0, Some(_)) => None,
            (0, None) => Some(format!("no certificate is there yet; {shown}")),
            (failures, _) => {
                let next = date(*next_try);
                let times = if failures == 1 { "time" } else { "times" };
                Some(format!(
                    "no certificate was issued, {failures} {times} in a row: {reason}; {shown}; tried again {next}"
                ))
            }
        }
    }
}

/// As people read it, of seconds since 1970: "Sun, 06 Nov 1994 08:49:37 GMT".
#[must_use]
pub(crate) fn date(seconds: i64) -> String {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(LAST_SECOND));
    httpdate::fmt_http_date(UNIX_EPOCH + since)
}

impl Attempts {
    /// One more failure at `now`, in seconds since 1970, that asks for `pause`.
    #[must_use]
    pub(crate) fn failed(&self, now: i64, reason: String, pause: Duration) -> Self {
        Self {
            failures: self.failures.saturating_add(1),
            reason,
            next_try: now.saturating_add(seconds(pause).max(1)),
        }
    }
}

impl Pauses {
    /// How long to wait after so many failures in a row, the last included. `retry_after` is what the
    /// authority asks for, and counts up to `RETRY_AFTER_MAX`.
    #[must_use]
    pub(crate) fn after(&self, failures: u32, retry_after: Option<Duration>) -> Duration {
        let factor = FACTOR.saturating_pow(failures.saturating_sub(1));
        let pause = self.first.saturating_mul(factor).min(self.longest);
        let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
        pause.max(asked)
    }
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

/// With a first pause of a minute there are four tries in the first hour: Let's Encrypt takes five failed
/// ones of a name (<https://letsencrypt.org/docs/rate-limits/>).
const FACTOR: u32 = 4;
const SPREAD_SHARE: i64 = 20;
/// Of the year 9999, the last that such a date can have.
const LAST_SECOND: u64 = 253_402_300_799;
/// Let's Encrypt asks for a week at most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(8 * 24 * 3600);
