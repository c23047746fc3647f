//! What a log keeps of an event beside it: which publication of its publisher's it is. The event goes
//! once its consumers have handled it; a publisher that was not answered may repeat it after that.
//!
//! ```text
//! number:u64  packet_id:u16  client, to the end
//! ```
//! Integers are big-endian.

use bytes::Buf;

use super::RecordError;
use crate::text::Text;

/// Which publication of its client's an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventReceipt {
    pub client: Text,
    /// Grows with each of the client's.
    pub number: u64,
    /// What the client knows it by.
    pub packet_id: u16,
}

impl EventReceipt {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES + self.client.len());
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.packet_id.to_be_bytes());
        out.extend_from_slice(self.client.as_bytes());
        out
    }

    /// # Errors
    /// What is wrong with the octets.
    pub fn decode(mut octets: &[u8]) -> Result<Self, RecordError> {
        let missing = HEAD_BYTES.saturating_sub(octets.len());
        let short = |_| RecordError::Short { missing };
        let number = octets.try_get_u64().map_err(short)?;
        let packet_id = octets.try_get_u16().map_err(short)?;
        let what = "the client of a receipt";
        let client = std::str::from_utf8(octets).map_err(|_| RecordError::Invalid { what })?;
        Ok(Self {
            client: client.into(),
            number,
            packet_id,
        })
    }
}

/// Before the client's name.
const HEAD_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        let receipt = EventReceipt {
            client: "device-7".into(),
            number: 1 << 50,
            packet_id: 65_535,
        };
        let octets = receipt.encode();
        assert_eq!(octets.len(), HEAD_BYTES + 8);
        assert_eq!(EventReceipt::decode(&octets), Ok(receipt));
        for length in 0..HEAD_BYTES {
            assert!(EventReceipt::decode(&octets[..length]).is_err(), "{length}");
        }
        assert!(EventReceipt::decode(&[0xFF; 12]).is_err());
    }
}
