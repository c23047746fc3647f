//! When what listeners show expires, and how it stands with what an authority issues.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{MetricsSnapshot, counter, encode_count, encode_level, gauge};
use crate::acme::AcmeNumbers;

impl MetricsSnapshot {
    pub(super) fn encode_certificates(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "When a certificate of a listener expires, in seconds since 1970";
        let mut family = gauge(encoder, "certificate_not_after_seconds", help)?;
        for shown in &self.certificates {
            let labels = [
                ("table", shown.table.as_str()),
                ("file", shown.info.name.as_str()),
            ];
            // One that expired before 1970 has expired.
            let not_after = u64::try_from(shown.info.not_after).unwrap_or(0);
            encode_level(&mut family, &labels, not_after)?;
        }
        self.encode_acme(encoder)
    }

    fn encode_acme(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let AcmeNumbers {
            standings,
            issued,
            failed,
        } = &self.acme;
        let help = "Orders of this gateway that ended, by outcome";
        let mut family = counter(encoder, "acme_orders", help)?;
        for (outcome, count) in [("issued", *issued), ("failed", *failed)] {
            encode_count(&mut family, &[("outcome", outcome)], count)?;
        }
        let help = "Failures in a row of a name that an authority is asked for";
        let mut family = gauge(encoder, "acme_failures", help)?;
        for standing in standings {
            let labels = [("name", standing.name.as_str())];
            encode_level(&mut family, &labels, standing.attempts.failures.into())?;
        }
        let help =
            "When a certificate is to be renewed, in seconds since 1970; 0 where none is there";
        let mut family = gauge(encoder, "acme_renewal_seconds", help)?;
        for standing in standings {
            let renewal = u64::try_from(standing.renewal().unwrap_or(0)).unwrap_or(0);
            encode_level(&mut family, &[("name", standing.name.as_str())], renewal)?;
        }
        Ok(())
    }
}
