//! What an artifact is made of, by the descriptors of its layers. Pure.

use oci_client::manifest::{OciDescriptor, OciImageManifest};

use super::fault::PullFault;
use crate::{
    plugins::{
        folder::{COMPONENT_BYTES_MAX, MANIFEST_BYTES_MAX},
        signature::SIGNATURE_BYTES_MAX,
    },
    proto::{SCHEMA_BYTES_MAX, SCHEMA_ENDS},
};

/// The files of a plugin, as they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// Of the artifact's manifest: `sha256:` and 64 hex digits.
    pub digest: String,
    pub component: Vec<u8>,
    pub manifest: Option<Vec<u8>>,
    pub schema: Option<ArtifactSchema>,
    pub component_signature: Option<Vec<u8>>,
    pub manifest_signature: Option<Vec<u8>>,
}

/// The schema of protobuf that lies beside the component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArtifactSchema {
    /// How the name of its file ends: `proto` is a source, all others are sets of descriptors.
    pub end: &'static str,
    pub octets: Vec<u8>,
    pub signature: Option<Vec<u8>>,
}

/// A part of an artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Component,
    Manifest,
    /// With the end of its file's name, as its signature has.
    Schema(&'static str),
    ComponentSignature,
    ManifestSignature,
    SchemaSignature(&'static str),
}

/// Layers that are fetched, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartLayer {
    pub part: Part,
    pub digest: String,
    /// Of the descriptor, within the bound of its part.
    pub bytes: u64,
}

impl Part {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Component => "the component",
            Self::Manifest => "the manifest",
            Self::ComponentSignature => "the signature of the component",
            Self::ManifestSignature => "the signature of the manifest",
            Self::Schema(_) => "the schema",
            Self::SchemaSignature(_) => "the signature of the schema",
        }
    }

    const fn bytes_max(self) -> u64 {
        match self {
            Self::Component => COMPONENT_BYTES_MAX,
            Self::Manifest => MANIFEST_BYTES_MAX,
            Self::Schema(_) => SCHEMA_BYTES_MAX,
            Self::ComponentSignature | Self::ManifestSignature | Self::SchemaSignature(_) => {
                SIGNATURE_BYTES_MAX
            }
        }
    }

    /// What a layer is; `None` for what a plugin has no use for, such as a licence.
    fn of(layer: &OciDescriptor) -> Option<Self> {
        if COMPONENT_TYPES.contains(&layer.media_type.as_str()) {
            return Some(Self::Component);
        }
        let title = layer.annotations.as_ref();
        let title = title.and_then(|annotations| annotations.get(TITLE));
        if layer.media_type == SCHEMA_TYPE {
            let end = title.and_then(|title| schema_end(title));
            return Some(Self::Schema(end.unwrap_or("binpb")));
        }
        let title = title?;
        let ends = [
            (".wasm.minisig", Self::ComponentSignature),
            (".toml.minisig", Self::ManifestSignature),
            (".toml", Self::Manifest),
        ];
        let known = ends.into_iter().find(|(end, _)| title.ends_with(end));
        let of_schema = title.strip_suffix(".minisig").and_then(schema_end);
        let known = known.map(|(_, part)| part);
        known.or_else(|| of_schema.map(Self::SchemaSignature))
    }
}

/// How the name of a schema ends that is called `title`.
fn schema_end(title: &str) -> Option<&'static str> {
    let (_, found) = title.rsplit_once('.')?;
    SCHEMA_ENDS.into_iter().find(|end| *end == found)
}

/// The layers of a plugin in an artifact, the component first.
///
/// # Errors
/// When there is no component in it, two of one part, or one is longer than may be.
pub(super) fn layers(manifest: &OciImageManifest) -> Result<Vec<PartLayer>, PullFault> {
    let mut found: Vec<PartLayer> = Vec::new();
    for layer in &manifest.layers {
        let Some(part) = Part::of(layer) else {
            continue;
        };
        let (limit, bytes) = (
            part.bytes_max(),
            u64::try_from(layer.size).unwrap_or(u64::MAX),
        );
        if bytes > limit {
            return Err(PullFault::TooLarge {
                what: part.name().to_owned(),
                bytes,
                limit,
            });
        }
        let is_same = |known: &PartLayer| known.part.name() == part.name();
        if found.iter().any(is_same) {
            let reason = format!("{} is in it twice", part.name());
            return Err(PullFault::NoComponent { reason });
        }
        found.push(PartLayer {
            part,
            digest: layer.digest.clone(),
            bytes,
        });
    }
    found.sort_by_key(|layer| layer.part);
    let of_schema = found.iter().find_map(|layer| match layer.part {
        Part::Schema(end) => Some(end),
        Part::Component
        | Part::Manifest
        | Part::ComponentSignature
        | Part::ManifestSignature
        | Part::SchemaSignature(_) => None,
    });
    // A signature of another file says nothing of this one.
    found.retain(|layer| match layer.part {
        Part::SchemaSignature(end) => of_schema == Some(end),
        Part::Component
        | Part::Manifest
        | Part::Schema(_)
        | Part::ComponentSignature
        | Part::ManifestSignature => true,
    });
    if found
        .first()
        .is_none_or(|first| first.part != Part::Component)
    {
        let types = manifest.layers.iter().take(TYPES_SHOWN_MAX);
        let types: Vec<_> = types
            .map(|layer| layer.media_type.escape_debug().to_string())
            .collect();
        let reason = match types.as_slice() {
            [] => "it has no layer".to_owned(),
            types => format!(
                "no layer is of type {}; it has {}",
                COMPONENT_TYPES.join(" or "),
                types.join(", ")
            ),
        };
        return Err(PullFault::NoComponent { reason });
    }
    Ok(found)
}

/// `application/wasm` of the CNCF's guidance for Wasm OCI artifacts, and what wasm-to-oci wrote before.
const COMPONENT_TYPES: [&str; 2] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
];
/// Ours, of a source of protobuf or a set of descriptors: other artifacts may have such files for other ends.
const SCHEMA_TYPE: &str = "application/vnd.postern.schema.v1";
/// The annotation that `oras push` writes.
const TITLE: &str = "org.opencontainers.image.title";
const TYPES_SHOWN_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(media_type: &str, title: &str, size: i64) -> OciDescriptor {
        OciDescriptor {
            media_type: media_type.to_owned(),
            digest: format!("sha256:{title}"),
            size,
            annotations: Some([(TITLE.to_owned(), title.to_owned())].into()),
            ..OciDescriptor::default()
        }
    }

    fn parts(layers: Vec<OciDescriptor>) -> Result<Vec<Part>, String> {
        let manifest = OciImageManifest {
            layers,
            ..OciImageManifest::default()
        };
        let found = super::layers(&manifest).map_err(|fault| fault.to_string())?;
        Ok(found.iter().map(|layer| layer.part).collect())
    }

    #[test]
    fn knows_components_by_type_and_other_parts_by_title() {
        for media_type in COMPONENT_TYPES {
            let layers = vec![
                layer("application/toml", "users.toml", 1),
                layer("text/plain", "LICENSE", 1),
                layer("text/plain", "../../users.wasm.minisig", 1),
                layer(media_type, "users.wasm", 1),
                layer("text/plain", "users.toml.minisig", 1),
            ];
            let expected = [
                Part::Component,
                Part::Manifest,
                Part::ComponentSignature,
                Part::ManifestSignature,
            ];
            assert_eq!(parts(layers).as_deref(), Ok(&expected[..]));
        }
    }

    #[test]
    fn knows_a_schema_by_type_and_its_signature_by_its_end() {
        let of = |titles: &[&str]| {
            let mut layers = vec![layer(COMPONENT_TYPES[0], "users.wasm", 1)];
            layers.extend(titles.iter().map(|title| {
                let media_type = match title.ends_with(".minisig") {
                    true => "text/plain",
                    false => SCHEMA_TYPE,
                };
                layer(media_type, title, 1)
            }));
            parts(layers)
        };
        for end in SCHEMA_ENDS {
            let signature = format!("users.{end}.minisig");
            let found = of(&[&signature, &format!("users.{end}")]);
            let expected = [
                Part::Component,
                Part::Schema(end),
                Part::SchemaSignature(end),
            ];
            assert_eq!(found.as_deref(), Ok(&expected[..]));
        }
        let set = [Part::Component, Part::Schema("binpb")];
        assert_eq!(of(&["users"]).as_deref(), Ok(&set[..]));
        // Of another file, or of none.
        assert_eq!(
            of(&["users.binpb", "users.proto.minisig"]).as_deref(),
            Ok(&set[..])
        );
        assert_eq!(of(&["users.proto.minisig"]).as_deref(), Ok(&set[..1]));
        let told = of(&["users.proto", "users.binpb"]).expect_err("which one?");
        assert!(told.contains("the schema is in it twice"), "{told}");
        // Of another type it is no schema of ours.
        let layers = vec![
            layer(COMPONENT_TYPES[0], "users.wasm", 1),
            layer("text/plain", "users.proto", 1),
        ];
        assert_eq!(parts(layers).as_deref(), Ok(&set[..1]));
    }

    #[test]
    fn what_has_no_component_is_refused_with_the_types_that_it_has() {
        let image = "application/vnd.oci.image.layer.v1.tar+gzip";
        let told = parts(vec![layer(image, "users.wasm", 1)]).expect_err("an image");
        assert!(
            told.contains(image) && told.contains("application/wasm"),
            "{told}"
        );
        let told = parts(Vec::new()).expect_err("nothing");
        assert!(told.contains("it has no layer"), "{told}");
        let two = vec![
            layer(COMPONENT_TYPES[0], "a", 1),
            layer(COMPONENT_TYPES[1], "b", 1),
        ];
        let told = parts(two).expect_err("which one?");
        assert!(told.contains("the component is in it twice"), "{told}");
    }

    #[test]
    fn a_part_of_the_most_octets_passes_and_one_more_does_not() {
        let wasm = || layer(COMPONENT_TYPES[0], "users.wasm", 1);
        for (media_type, title, limit) in [
            ("text/plain", "users.toml", MANIFEST_BYTES_MAX),
            ("text/plain", "users.wasm.minisig", SIGNATURE_BYTES_MAX),
            (SCHEMA_TYPE, "users.proto", SCHEMA_BYTES_MAX),
        ] {
            let of = |size: u64| {
                let size = i64::try_from(size).expect("small");
                parts(vec![wasm(), layer(media_type, title, size)])
            };
            assert!(of(limit).is_ok(), "{title}");
            let told = of(limit + 1).expect_err(title);
            assert!(told.contains(&format!("the limit is {limit}")), "{told}");
        }
        let told = parts(vec![layer(COMPONENT_TYPES[0], "a", -1)]).expect_err("no length");
        assert!(told.contains("the limit is"), "{told}");
    }
}
