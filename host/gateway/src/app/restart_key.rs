//! The secret by which the next life of this gateway tells the peers of QUIC that their connections are
//! gone. It lies in the store.

use postern_net::RestartKey;
use postern_system::random;
use postern_wasm::{Records, StoreError};
use tracing::warn;

/// The secret from the life before, or a new one that is kept.
///
/// # Errors
/// Where the store cannot be read. One that cannot be written costs the next life the secret.
pub(super) async fn restart_key(records: &Records) -> Result<RestartKey, StoreError> {
    let kept = records.load_all().await?;
    let kept = kept.into_iter().find(|(name, _)| name == NAME);
    if let Some(secret) = kept.and_then(|(_, octets)| octets.try_into().ok()) {
        return Ok(RestartKey::new(secret));
    }
    let mut secret = [0; 32];
    for half in secret.chunks_mut(16) {
        half.copy_from_slice(&random::secret().to_ne_bytes());
    }
    if let Err(error) = records.put(NAME.to_owned(), secret.to_vec()).await {
        warn!(%error, "peers of QUIC will not be told when this gateway is started again");
    }
    Ok(RestartKey::new(secret))
}

const NAME: &str = "restart-key";
