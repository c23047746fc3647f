//! The password of a bridge in a file, which may be written anew at any time.

use std::path::PathBuf;

use postern_core::BoxFuture;
use postern_net::mqtt_client::{BrokerPassword, BrokerPasswordSource};

use crate::sources::{files::FILE_BYTES_MAX, sight};

/// The file.
#[derive(Debug)]
pub(super) struct PasswordFile(pub(super) PathBuf);

impl BrokerPasswordSource for PasswordFile {
    fn password(&self) -> BoxFuture<Result<BrokerPassword, String>> {
        let path = self.0.clone();
        Box::pin(async move {
            let shown = path.display().to_string();
            let reading = tokio::task::spawn_blocking(move || sight::read(&path, FILE_BYTES_MAX));
            let read = reading.await.map_err(|error| error.to_string())?;
            let octets = read.map_err(|error| error.to_string())?;
            let mut octets = octets.ok_or_else(|| format!("password-file {shown} is not there"))?;
            while octets
                .last()
                .is_some_and(|octet| matches!(octet, b'\r' | b'\n'))
            {
                octets.pop();
            }
            match octets.is_empty() {
                true => Err(format!("password-file {shown} is empty")),
                false => Ok(BrokerPassword(octets.into())),
            }
        })
    }
}
