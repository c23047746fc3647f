//! When what listeners show expires.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;

use super::{MetricsSnapshot, encode_level, gauge};

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
        Ok(())
    }
}
