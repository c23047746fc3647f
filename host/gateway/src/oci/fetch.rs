//! Asks a registry for an artifact.

use std::time::Duration;

use futures_util::StreamExt;
use oci_client::{
    Client, RegistryOperation,
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    manifest::{ImageIndexEntry, OciDescriptor},
    secrets::RegistryAuth,
};
use tokio::time::{sleep, timeout};

use super::{
    artifact::{Artifact, ArtifactSchema, Part, PartLayer, layers},
    credentials::RegistryCredentials,
    fault::{Asked, PullFault},
    reference::ArtifactReference,
};
use crate::telemetry::process;

/// How a registry is asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct FetchOptions {
    pub credentials: Option<RegistryCredentials>,
    /// Without TLS. Only for registries on this machine.
    pub is_plain: bool,
    /// Certificates in PEM, by which alone the registry is verified; those of the system where left out.
    pub authorities: Option<String>,
}

/// Fetches the artifact that `reference` names; what comes is as its digests say, and within bounds.
///
/// # Errors
/// Why there is none.
pub(crate) async fn fetch(
    reference: &ArtifactReference,
    options: FetchOptions,
) -> Result<Artifact, PullFault> {
    let registry = reference.registry();
    let fetching = Box::pin(fetch_whole(reference, options));
    let fetched = timeout(PULL_TIME_MAX, fetching).await;
    fetched.unwrap_or_else(|_| Err(late(registry, PULL_TIME_MAX)))
}

async fn fetch_whole(
    reference: &ArtifactReference,
    options: FetchOptions,
) -> Result<Artifact, PullFault> {
    let name = reference.to_string();
    let user = options.credentials.as_ref();
    let user = user.map(|credentials| credentials.user.clone());
    let asked = Asked {
        registry: reference.registry(),
        what: &name,
        user: user.as_deref(),
    };
    let client = client(&options).map_err(|error| asked.fault(error))?;
    let auth = match options.credentials {
        Some(RegistryCredentials { user, password }) => RegistryAuth::Basic(user, password),
        None => RegistryAuth::Anonymous,
    };
    let asking = async {
        let operation = RegistryOperation::Pull;
        client.auth(reference.inner(), &auth, operation).await?;
        client
            .pull_image_manifest_and_list_digest(reference.inner(), &auth)
            .await
    };
    let answered = whole_answer(asking, asked).await?;
    let (manifest, digest, index) = answered.map_err(|error| asked.fault(error))?;
    let mut artifact = Artifact {
        // What was asked for is the index, where there is one.
        digest: index.unwrap_or(digest),
        component: Vec::new(),
        manifest: None,
        schema: None,
        component_signature: None,
        manifest_signature: None,
    };
    for layer in layers(&manifest)? {
        let asked = Asked {
            what: layer.part.name(),
            ..asked
        };
        let octets = fetch_layer(&client, reference, &layer, asked).await?;
        match layer.part {
            Part::Component => artifact.component = octets,
            Part::Manifest => artifact.manifest = Some(octets),
            Part::Schema(end) => {
                artifact.schema = Some(ArtifactSchema {
                    end,
                    octets,
                    signature: None,
                });
            }
            Part::ComponentSignature => artifact.component_signature = Some(octets),
            Part::ManifestSignature => artifact.manifest_signature = Some(octets),
            // Layers come in order: the schema is there.
            Part::SchemaSignature(_) => {
                if let Some(schema) = &mut artifact.schema {
                    schema.signature = Some(octets);
                }
            }
        }
    }
    Ok(artifact)
}

fn client(options: &FetchOptions) -> Result<Client, OciDistributionError> {
    // The library asks the process for one.
    postern_net::tls::install_provider();
    let authorities = options.authorities.iter().flat_map(|pem| certificates(pem));
    Client::try_from(ClientConfig {
        protocol: match options.is_plain {
            true => ClientProtocol::Http,
            false => ClientProtocol::Https,
        },
        tls_certs_only: authorities.collect(),
        platform_resolver: Some(Box::new(component_of)),
        connect_timeout: Some(CONNECT_TIME_MAX),
        read_timeout: Some(SILENCE_MAX),
        user_agent: concat!("postern/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })
}

/// Each certificate of a PEM text by itself.
fn certificates(pem: &str) -> Vec<Certificate> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let parts = pem.split(BEGIN).skip(1);
    let certificate = |part: &str| Certificate {
        encoding: CertificateEncoding::Pem,
        data: format!("{BEGIN}{part}").into_bytes(),
    };
    parts.map(certificate).collect()
}

/// Of an index the only artifact, or the one for WebAssembly.
fn component_of(entries: &[ImageIndexEntry]) -> Option<String> {
    let is_wasm = |entry: &&ImageIndexEntry| {
        let platform = entry.platform.as_ref();
        platform.is_some_and(|platform| platform.architecture.to_string() == "wasm")
    };
    let entry = match entries {
        [only] => Some(only),
        entries => entries.iter().find(is_wasm),
    };
    entry.map(|entry| entry.digest.clone())
}

/// The library reads answers whole, however long they are: an answer that makes the process grow is
/// broken off.
async fn whole_answer<T>(
    asking: impl Future<Output = T>,
    asked: Asked<'_>,
) -> Result<T, PullFault> {
    let registry = asked.registry;
    let before = process::resident_bytes();
    let grown = async {
        loop {
            sleep(LOOK_INTERVAL).await;
            let after = process::resident_bytes();
            if let (Some(before), Some(after)) = (before, after)
                && after.saturating_sub(before) > ANSWER_GROWTH_MAX
            {
                return;
            }
        }
    };
    tokio::select! {
        answered = timeout(ANSWER_TIME_MAX, asking) => {
            answered.map_err(|_| late(registry, ANSWER_TIME_MAX))
        }
        () = grown => Err(PullFault::Flood {
            registry: registry.to_owned(),
            limit: ANSWER_GROWTH_MAX,
        }),
    }
}

async fn fetch_layer(
    client: &Client,
    reference: &ArtifactReference,
    layer: &PartLayer,
    asked: Asked<'_>,
) -> Result<Vec<u8>, PullFault> {
    // No other places: a descriptor may name some of somebody else's.
    let descriptor = OciDescriptor {
        digest: layer.digest.clone(),
        ..OciDescriptor::default()
    };
    let asking = client.pull_blob_stream(reference.inner(), &descriptor);
    let answered = whole_answer(asking, asked).await?;
    let mut stream = answered.map_err(|error| asked.fault(error))?;
    let too_large = |bytes: u64| PullFault::TooLarge {
        what: asked.what.to_owned(),
        bytes,
        limit: layer.bytes,
    };
    let mut octets = Vec::new();
    // The last item is an error where the digest differs.
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|error| asked.of_stream(&error))?;
        let length = octets.len() as u64 + chunk.len() as u64;
        if length > layer.bytes {
            return Err(too_large(length));
        }
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}

fn late(registry: &str, limit: Duration) -> PullFault {
    PullFault::Late {
        registry: registry.to_owned(),
        limit,
    }
}

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// No octet for so long, and the registry counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// For credentials and a manifest, a few kilobytes.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// Registries take no manifest above 4 MiB; the rest is what a connection and its TLS need.
const ANSWER_GROWTH_MAX: u64 = 64 * 1024 * 1024;
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// The largest component over a line of 4 Mbit/s.
const PULL_TIME_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_of_one_file_are_taken_apart() {
        let one = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        let found = certificates(&format!("# ours\n{one}{one}"));
        let texts: Vec<_> = found.iter().map(|found| found.data.as_slice()).collect();
        assert_eq!(texts, [one.as_bytes(), one.as_bytes()]);
    }
}
