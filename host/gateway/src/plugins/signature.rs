//! Signatures of components, manifests and files of schemas, as minisign makes them:
//! `NAME.wasm.minisig` beside `NAME.wasm`, `NAME.toml.minisig` beside `NAME.toml`, and so on.
//!
//! | what is told | by |
//! | --- | --- |
//! | the octets are those that the holder of a key signed | the signature |
//! | under which name | `file:NAME.wasm` of the trusted comment, where it is there |
//! | when, so that an older version is not put back | `timestamp:SECONDS` of the trusted comment |
//!
//! Component, manifest and each schema file are ordered by itself, over all versions of the plugin: none comes back that is
//! older than what has served. Only the prehashed form is taken, which minisign writes since 0.10.

use std::{collections::BTreeMap, fs, io, path::PathBuf, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use minisign_verify::{Error as MinisignError, PublicKey, Signature};
use postern_wasm::Digest;
use serde::{Deserialize, Serialize};

use crate::{config::SignatureSettings, proto::SchemaFiles};

/// The texts of a deployment's signatures, as they lie in the folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SignatureTexts {
    pub component: Option<String>,
    pub manifest: Option<String>,
    /// Of the files of the schema, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schema: BTreeMap<String, String>,
}

/// Which keys may have signed, and whether one must have.
#[derive(Debug, Clone)]
pub(crate) struct SignaturePolicy {
    keys: Vec<KnownKey>,
    is_required: bool,
}

/// Who signed a deployment, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Signed {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub component: Option<SignedFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<SignedFile>,
    /// Files of the schema.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub schema: BTreeMap<String, SignedFile>,
}

/// A signature that is good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SignedFile {
    /// As minisign writes it: 16 hex digits.
    pub key: String,
    /// Seconds since 1970.
    pub at: u64,
    /// What the signer says, which the signature covers.
    pub comment: String,
}

/// When the newest files were signed that have served, in seconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Newest {
    pub component: Option<u64>,
    pub manifest: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub schema: BTreeMap<String, u64>,
}

#[derive(Debug, Clone)]
struct KnownKey {
    id: String,
    key: PublicKey,
}

/// Why a deployment is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SignatureFault {
    #[error("{file} is not signed: {file}.minisig is not there; sign it (`minisign -Sm {file}`)")]
    Unsigned { file: String },
    #[error("{file}.minisig is no signature of minisign: {reason}; sign {file} again")]
    Malformed { file: String, reason: String },
    #[error(
        "{file} is signed by the key {key}, which is none of plugins.signatures ({known}); \
         sign it with one of those, or name its key there"
    )]
    UnknownKey {
        file: String,
        key: String,
        known: String,
    },
    #[error(
        "{file} is not what the key {key} has signed: one of {file} and {file}.minisig was changed, \
         or they are not of one version; put both there as they were signed"
    )]
    Tampered { file: String, key: String },
    #[error(
        "{file} is signed in the old form, which does not hash the file first; \
         sign it with minisign 0.10 or later"
    )]
    OldForm { file: String },
    #[error(
        "the signature of {file} says no time: its trusted comment is {comment:?}; sign it without -t, \
         or write \"timestamp:SECONDS\" into the comment"
    )]
    NoTime { file: String, comment: String },
    #[error(
        "{file} was signed {ahead_s} s in the future, the limit is {limit_s}; the clock of whoever signed it \
         or the one here is wrong: set it, and sign again"
    )]
    Future {
        file: String,
        ahead_s: u64,
        limit_s: u64,
    },
    #[error(
        "{file} was signed as {signed_as}; sign it under the name that it has here, or put it there \
         under that name"
    )]
    OtherName { file: String, signed_as: String },
    #[error(
        "{file} was signed on {at}, and one that was signed on {newest} has served; sign it again to put \
         an older version back, or use `postern plugins rollback`"
    )]
    Older {
        file: String,
        at: String,
        newest: String,
    },
    #[error(
        "{file} is not there, and the plugin has served with one that was signed; put a signed one there \
         (a comment is enough)"
    )]
    ManifestGone { file: String },
    #[error("{} is no public key of minisign: {reason}", path.display())]
    Key { path: PathBuf, reason: String },
}

impl SignatureTexts {
    /// 64 hex digits; `None` where nothing is signed.
    #[must_use]
    pub(crate) fn digest(&self) -> Option<String> {
        let is_unsigned = *self == Self::default();
        (!is_unsigned).then(|| {
            // What was signed only once and what was signed twice never read alike.
            let mut text = format!("{:?}\n{:?}\n", self.component, self.manifest);
            if !self.schema.is_empty() {
                text.push_str(&format!("{:?}\n", self.schema));
            }
            Digest::of(text.as_bytes()).to_string()
        })
    }
}

impl SignaturePolicy {
    /// Reads the files of keys. Blocks.
    ///
    /// # Errors
    /// When a file is no key.
    pub(crate) fn open(settings: &SignatureSettings) -> Result<Self, SignatureFault> {
        let mut keys = Vec::new();
        for known in &settings.keys {
            keys.push(KnownKey::of(&known.text, &known.key));
        }
        for path in &settings.key_files {
            let fault = |reason: String| SignatureFault::Key {
                path: path.clone(),
                reason,
            };
            let text = read_key(path).map_err(|error| fault(error.to_string()))?;
            let key = PublicKey::decode(&text).map_err(|error| fault(lower(&error)))?;
            let line = text.lines().nth(1).unwrap_or_default();
            keys.push(KnownKey::of(line, &key));
        }
        Ok(Self {
            keys,
            is_required: settings.require_signature,
        })
    }

    /// Whether signatures are looked at.
    #[must_use]
    pub(crate) fn is_on(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Who signed the component of the plugin `name` and its manifest; `None` where neither is signed, or
    /// no signature is looked at. `now` is the time since 1970.
    ///
    /// # Errors
    /// When one is not signed and must be, or a signature is not good.
    pub(crate) fn judge(
        &self,
        name: &str,
        (component, manifest): (&[u8], Option<&str>),
        texts: &SignatureTexts,
        now: Duration,
    ) -> Result<Option<Signed>, SignatureFault> {
        if !self.is_on() {
            return Ok(None);
        }
        let of = |end: &str, octets: &[u8], text: Option<&String>| {
            let file = format!("{name}.{end}");
            match text {
                Some(text) => self.judge_file(file, octets, text, now).map(Some),
                None if self.is_required => Err(SignatureFault::Unsigned { file }),
                None => Ok(None),
            }
        };
        let component = of("wasm", component, texts.component.as_ref())?;
        let manifest = match manifest {
            Some(text) => of("toml", text.as_bytes(), texts.manifest.as_ref())?,
            None => None,
        };
        let is_signed = component.is_some() || manifest.is_some();
        Ok(is_signed.then_some(Signed {
            component,
            manifest,
            ..Signed::default()
        }))
    }

    /// Who signed the files of a schema, those that are signed.
    ///
    /// # Errors
    /// As `judge`.
    pub(crate) fn judge_schema(
        &self,
        schema: &SchemaFiles,
        texts: &SignatureTexts,
        now: Duration,
    ) -> Result<BTreeMap<String, SignedFile>, SignatureFault> {
        let mut signed = BTreeMap::new();
        if !self.is_on() {
            return Ok(signed);
        }
        for (name, octets) in &schema.files {
            let file = name.clone();
            match texts.schema.get(name) {
                Some(text) => {
                    let good = self.judge_file(file, &octets.0, text, now)?;
                    signed.insert(name.clone(), good);
                }
                None if self.is_required => return Err(SignatureFault::Unsigned { file }),
                None => {}
            }
        }
        Ok(signed)
    }

    fn judge_file(
        &self,
        file: String,
        octets: &[u8],
        text: &str,
        now: Duration,
    ) -> Result<SignedFile, SignatureFault> {
        let malformed = |reason: String| SignatureFault::Malformed {
            file: file.clone(),
            reason,
        };
        let signature = Signature::decode(text).map_err(|error| malformed(lower(&error)))?;
        let id = text.lines().nth(1).and_then(key_id);
        let id = id.ok_or_else(|| malformed("it names no key".to_owned()))?;
        let Some(known) = self.keys.iter().find(|known| known.id == id) else {
            let known: Vec<_> = self.keys.iter().map(|known| known.id.as_str()).collect();
            let known = known.join(", ");
            return Err(SignatureFault::UnknownKey {
                file,
                key: id,
                known,
            });
        };
        match known.key.verify(octets, &signature, false) {
            Ok(()) => {}
            Err(MinisignError::UnexpectedAlgorithm | MinisignError::UnsupportedLegacyMode) => {
                return Err(SignatureFault::OldForm { file });
            }
            Err(
                MinisignError::InvalidEncoding
                | MinisignError::InvalidSignature
                | MinisignError::IoError(_)
                | MinisignError::UnexpectedKeyId
                | MinisignError::UnsupportedAlgorithm,
            ) => return Err(SignatureFault::Tampered { file, key: id }),
        }
        let comment = signature.trusted_comment().to_owned();
        let at = check_comment(&file, &comment, now)?;
        Ok(SignedFile {
            key: id,
            at,
            comment,
        })
    }
}

/// What the trusted comment says of name and time; the time, in seconds since 1970.
fn check_comment(file: &str, comment: &str, now: Duration) -> Result<u64, SignatureFault> {
    let said = |name: &str| comment.split('\t').find_map(|said| said.strip_prefix(name));
    if let Some(signed_as) = said("file:").filter(|signed_as| !is_name_of(file, signed_as)) {
        return Err(SignatureFault::OtherName {
            file: file.to_owned(),
            signed_as: signed_as.to_owned(),
        });
    }
    let mut words = comment.split_whitespace();
    let time = words.find_map(|word| word.strip_prefix("timestamp:"));
    let Some(at) = time.and_then(|time| time.parse::<u64>().ok()) else {
        return Err(SignatureFault::NoTime {
            file: file.to_owned(),
            comment: comment.to_owned(),
        });
    };
    let ahead_s = at.saturating_sub(now.as_secs());
    if ahead_s > AHEAD_MAX.as_secs() {
        return Err(SignatureFault::Future {
            file: file.to_owned(),
            ahead_s,
            limit_s: AHEAD_MAX.as_secs(),
        });
    }
    Ok(at)
}

/// Whether `signed_as` is `NAME.wasm` or a version of it, `NAME@VERSION.wasm`, where `file` is `NAME.wasm`.
fn is_name_of(file: &str, signed_as: &str) -> bool {
    // Files of schemas have paths, and signers write the name alone.
    let file = file.rsplit('/').next().unwrap_or(file);
    let (Some((name, end)), Some((signed, signed_end))) =
        (file.rsplit_once('.'), signed_as.rsplit_once('.'))
    else {
        return false;
    };
    let base = signed.split_once('@').map_or(signed, |(base, _)| base);
    end == signed_end && (signed == name || base == name)
}

impl Newest {
    /// Whether a deployment may serve after those that have served. `has_manifest` tells whether one lies
    /// beside the component, and `is_required` whether it would have to be signed.
    ///
    /// # Errors
    /// When something of it is older, or is missing that was signed.
    pub(crate) fn check(
        &self,
        name: &str,
        signed: Option<&Signed>,
        has_manifest: bool,
        is_required: bool,
    ) -> Result<(), SignatureFault> {
        let component = signed.and_then(|signed| signed.component.as_ref());
        let manifest = signed.and_then(|signed| signed.manifest.as_ref());
        let of_schema = signed.into_iter().flat_map(|signed| &signed.schema);
        let of_schema = of_schema
            .map(|(name, file)| (name.clone(), Some(file), self.schema.get(name).copied()));
        let files = [
            (format!("{name}.wasm"), component, self.component),
            (format!("{name}.toml"), manifest, self.manifest),
        ];
        for (name, file, newest) in files.into_iter().chain(of_schema) {
            if let (Some(file), Some(newest)) = (file, newest)
                && file.at < newest
            {
                return Err(SignatureFault::Older {
                    file: name,
                    at: date(file.at),
                    newest: date(newest),
                });
            }
        }
        if is_required && !has_manifest && self.manifest.is_some() {
            let file = format!("{name}.toml");
            return Err(SignatureFault::ManifestGone { file });
        }
        Ok(())
    }

    /// Whatever has served of two versions counts.
    pub(crate) fn merge(&mut self, other: Self) {
        self.component = self.component.max(other.component);
        self.manifest = self.manifest.max(other.manifest);
        for (name, at) in other.schema {
            self.on_served_file(&name, at);
        }
    }

    /// A deployment takes calls that was signed.
    pub(crate) fn on_served(&mut self, signed: &Signed) {
        let later = |newest: &mut Option<u64>, file: Option<&SignedFile>| {
            *newest = (*newest).max(file.map(|file| file.at));
        };
        later(&mut self.component, signed.component.as_ref());
        later(&mut self.manifest, signed.manifest.as_ref());
        for (name, file) in &signed.schema {
            self.on_served_file(name, file.at);
        }
    }

    fn on_served_file(&mut self, name: &str, at: u64) {
        let newest = self.schema.entry(name.to_owned()).or_default();
        *newest = at.max(*newest);
    }
}

impl SignatureFault {
    /// Whether another file of the plugin may be on its way that mends it.
    #[must_use]
    pub(crate) const fn may_be_half(&self) -> bool {
        match self {
            Self::Unsigned { .. } | Self::Malformed { .. } | Self::Tampered { .. } => true,
            Self::UnknownKey { .. }
            | Self::OldForm { .. }
            | Self::NoTime { .. }
            | Self::Future { .. }
            | Self::OtherName { .. }
            | Self::Older { .. }
            | Self::ManifestGone { .. }
            | Self::Key { .. } => false,
        }
    }

    /// Whether it may pass without a change of the plugin or of the configuration: by the clock, or by a
    /// file of keys.
    #[must_use]
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::UnknownKey { .. } | Self::Future { .. } | Self::Key { .. }
        )
    }
}

impl KnownKey {
    fn of(line: &str, key: &PublicKey) -> Self {
        Self {
            // The key was read from the line, so there is one.
            id: key_id(line).unwrap_or_default(),
            key: key.clone(),
        }
    }
}

/// The number of the key that a line of base64 begins with, after two octets for the algorithm: 16 hex
/// digits, the last octet first, as minisign writes it.
fn key_id(line: &str) -> Option<String> {
    let octets = STANDARD.decode(line.trim()).ok()?;
    let id = octets.get(2..10)?;
    Some(
        id.iter()
            .rev()
            .map(|octet| format!("{octet:02X}"))
            .collect(),
    )
}

fn read_key(path: &PathBuf) -> io::Result<String> {
    let length = fs::metadata(path)?.len();
    if length > KEY_BYTES_MAX {
        let told = format!("it has {length} bytes, the limit is {KEY_BYTES_MAX}");
        return Err(io::Error::other(told));
    }
    fs::read_to_string(path)
}

fn date(at: u64) -> String {
    let time = std::time::UNIX_EPOCH.checked_add(Duration::from_secs(at));
    // A date has four digits for the year.
    match time.filter(|_| at < YEAR_10000) {
        Some(time) => httpdate::fmt_http_date(time),
        None => format!("{at} s after 1970"),
    }
}

fn lower(error: &MinisignError) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => text,
    }
}

/// What the clock of whoever signs may be ahead. A time further on would keep every later version away.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);
const YEAR_10000: u64 = 253_402_300_800;
/// A key file has two lines.
const KEY_BYTES_MAX: u64 = 4096;
/// A signature has four lines; its comments are bounded by minisign to some hundred octets each.
pub(crate) const SIGNATURE_BYTES_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests;
