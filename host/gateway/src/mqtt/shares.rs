//! Shared subscriptions as consumers of the log that sessions have.
//!
//! | consumer of | name |
//! | --- | --- |
//! | a session | the client's, with another `$` before one that begins with it |
//! | a share | `$share/GROUP/FILTER`; `$share:HASH` where that is too long for a name |

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use postern_core::{
    Error, Text,
    event::durable::{CONSUMER_NAME_BYTES_MAX, EventConsumer, EventLog},
    mqtt::{Qos, SHARE_PREFIX, SharedFilter},
};
use postern_net::mqtt::StoredSession;
use sha2::{Digest, Sha256};

use super::store::queue_settings;

/// The name of a session's consumer.
#[must_use]
pub(super) fn name_of_client(client_id: &Text) -> Text {
    match client_id.starts_with(OWN) {
        true => format!("{OWN}{client_id}").into(),
        false => client_id.clone(),
    }
}

/// The name of a share's consumer.
#[must_use]
pub(super) fn name_of_share(filter: &SharedFilter) -> Text {
    let name = filter.to_string();
    if name.len() <= CONSUMER_NAME_BYTES_MAX && !name.contains(char::is_control) {
        return name.into();
    }
    let digest = Sha256::digest(name.as_bytes());
    let hash: String = digest.iter().map(|octet| format!("{octet:02x}")).collect();
    format!("{HASHED}{hash}").into()
}

/// A member of a share's consumer, which is made where there is none.
///
/// # Errors
/// What the store says.
pub(super) async fn open(
    log: &dyn EventLog,
    filter: &SharedFilter,
) -> Result<Box<dyn EventConsumer>, Error> {
    let filters = std::slice::from_ref(&filter.filter);
    let settings = queue_settings(name_of_share(filter), filters, IN_FLIGHT_MAX)?;
    log.consumer(settings).await
}

/// Makes the consumers that shares of these sessions need, and takes those away of shares that have
/// ended with the last run.
///
/// # Errors
/// What the store says.
pub(super) async fn settle(log: &dyn EventLog, sessions: &[StoredSession]) -> Result<(), Error> {
    let subscriptions = sessions.iter().flat_map(|session| &session.subscriptions);
    let shared = subscriptions
        .filter(|(filter, options)| filter.group.is_some() && options.qos != Qos::AtMostOnce)
        .map(|(filter, _)| (name_of_share(filter), filter));
    let shared: BTreeMap<Text, &SharedFilter> = shared.collect();
    let known = log.info().await?.consumers.into_iter();
    let known: BTreeSet<Text> = known.map(|consumer| consumer.name).collect();
    let is_ended = |name: &&Text| is_of_share(name) && !shared.contains_key(*name);
    let ended = known.iter().filter(is_ended);
    try_join_all(ended.map(|name| log.delete_consumer(name))).await?;
    let missing = shared.iter().filter(|(name, _)| !known.contains(*name));
    try_join_all(missing.map(|(_, filter)| open(log, filter))).await?;
    Ok(())
}

fn is_of_share(name: &str) -> bool {
    name.starts_with(SHARE_PREFIX) || name.starts_with(HASHED)
}

/// What names begin with that are not a client's.
const OWN: char = '$';
const HASHED: &str = "$share:";
/// Messages of one share that are with its members at a time. What each may have is bounded by
/// `mqtt.in-flight-max`.
const IN_FLIGHT_MAX: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_has_the_name_of_a_share() {
        let share = |text: &str| name_of_share(&SharedFilter::new(text).expect("a filter"));
        let client = |id: &str| name_of_client(&Text::from(id));
        assert_eq!(share("$share/g/a/+"), "$share/g/a/+");
        assert_eq!(client("$share/g/a/+"), "$$share/g/a/+");
        assert_eq!((client("c1"), client("$")), ("c1".into(), "$$".into()));
        let long = share(&format!("$share/{}/a", "g".repeat(300)));
        assert_eq!(long.len(), HASHED.len() + 64);
        assert_ne!(long, share(&format!("$share/{}/a", "h".repeat(300))));
        assert!(is_of_share(&long) && is_of_share("$share/g/a"));
        assert!(!is_of_share("$$share/g/a") && !is_of_share("c1"));
    }
}
