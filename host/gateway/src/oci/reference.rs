//! `oci://REGISTRY/REPOSITORY[:TAG][@sha256:DIGEST]`.

use std::{fmt, net::IpAddr, str::FromStr};

use oci_client::Reference;

/// An artifact of a registry. The registry is always named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArtifactReference(Reference);

impl ArtifactReference {
    pub(super) const fn inner(&self) -> &Reference {
        &self.0
    }

    /// `HOST` or `HOST:PORT`.
    pub(crate) fn registry(&self) -> &str {
        self.0.registry()
    }

    pub(crate) fn repository(&self) -> &str {
        self.0.repository()
    }

    /// The last part of the repository: what the plugin is called unless something else is said.
    pub(crate) fn base_name(&self) -> &str {
        let repository = self.repository();
        repository
            .rsplit_once('/')
            .map_or(repository, |(_, name)| name)
    }

    /// Whether the registry is on this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        let registry = self.registry();
        let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
        let is_address = host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        host == "localhost" || is_address
    }

    /// With the digest that was found, so that the same is named for ever.
    pub(crate) fn pinned(&self, digest: &str) -> String {
        let tag = self.0.tag().map(|tag| format!(":{tag}"));
        let (registry, repository) = (self.registry(), self.repository());
        let tag = tag.unwrap_or_default();
        format!("{SCHEME}{registry}/{repository}{tag}@{digest}")
    }
}

impl fmt::Display for ArtifactReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.0.whole())
    }
}

impl FromStr for ArtifactReference {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let example =
            "write oci://REGISTRY/REPOSITORY:TAG or oci://REGISTRY/REPOSITORY@sha256:DIGEST";
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return Err(format!("it does not begin with {SCHEME}; {example}"));
        };
        let registry = rest.split_once('/').map(|(registry, _)| registry);
        // Anything else would be a repository of a registry that nobody named.
        let is_host = |host: &&str| host.contains(['.', ':']) || *host == "localhost";
        if registry.filter(is_host).is_none() {
            return Err(format!("it names no registry; {example}"));
        }
        let reference = Reference::from_str(rest).map_err(|error| format!("{error}; {example}"))?;
        if let Some(digest) = reference.digest()
            && !digest.starts_with("sha256:")
        {
            return Err(format!("{digest} is no SHA-256; {example}"));
        }
        Ok(Self(reference))
    }
}

const SCHEME: &str = "oci://";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ArtifactReference, String> {
        text.parse()
    }

    #[test]
    fn reads_registry_repository_tag_and_digest() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let text = format!("oci://127.0.0.1:5000/acme/users:1.2@{digest}");
        let reference = read(&text).expect("good");
        assert_eq!(reference.registry(), "127.0.0.1:5000");
        assert_eq!(
            (reference.repository(), reference.base_name()),
            ("acme/users", "users")
        );
        assert_eq!(reference.to_string(), text);
        let tagged = read("oci://registry.example/users").expect("good");
        let pinned = format!("oci://registry.example/users:latest@{digest}");
        assert_eq!(tagged.pinned(&digest), pinned);
    }

    #[test]
    fn knows_registries_of_this_machine() {
        for (text, is_loopback) in [
            ("oci://localhost:5000/users", true),
            ("oci://127.1.2.3/users", true),
            ("oci://localhost.example/users", false),
            ("oci://127.0.0.1.example:80/users", false),
            ("oci://10.0.0.1:5000/users", false),
        ] {
            assert_eq!(read(text).expect(text).is_loopback(), is_loopback, "{text}");
        }
    }

    #[test]
    fn what_names_no_artifact_is_refused_with_an_example() {
        for text in [
            "registry.example/users",
            "https://registry.example/users",
            "oci://users",
            "oci://acme/users",
            "oci://registry.example/Users",
            "oci://registry.example/users:",
            "oci://registry.example/../users",
            "oci://registry.example/users@sha256:12",
            "oci://registry.example/users@sha512:12121212121212121212121212121212",
            "oci://",
        ] {
            let told = read(text).expect_err(text);
            assert!(told.contains("write oci://REGISTRY/"), "{text}: {told}");
        }
    }
}
