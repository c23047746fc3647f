//! Who may come in and what they may call: `[auth]` and `[authorization]`.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use super::{
    CallPattern, Faults, Secret, Size, Wildcard,
    callers::{CertificateCaller, UnixCaller},
    leaf::{Leaf, word_leaf},
    named::Named,
    section::{Field, SectionReader, join, section},
    value::Value,
};

section! {
    /// How callers prove who they are. Credentials that are there must be good wherever they are
    /// looked at; absent ones make a caller anonymous.
    pub(crate) struct Auth {
        /// What calls need: "required" refuses anonymous ones, "optional" takes them, "off" looks at
        /// no credentials at all.
        pub authentication: AuthenticationMode = AuthenticationMode::Optional;
        /// Calls that need credentials, whatever `authentication` says. Wins over `optional` and
        /// `off`.
        pub required: Vec<CallPattern> = Vec::new();
        /// Calls that need none but whose credentials are looked at. Wins over `off`.
        pub optional: Vec<CallPattern> = Vec::new();
        /// Calls whose credentials are not looked at.
        pub off: Vec<CallPattern> = Vec::new();
        /// Whether a service sees the credentials of a caller that was identified by them.
        pub forward_credentials: bool = false;
        /// Verified tokens that are remembered until they expire; 0 verifies each time.
        pub tokens_max: usize = 10_000, within "0" to "1000000";
        /// Longest token or key.
        pub credentials_bytes_max: Size = Size::new(16 * 1024), within "64B" to "60KiB";
        /// How often files of keys are looked at for changes that the system does not tell of.
        pub files_interval: Duration = Duration::from_secs(5), within "100ms" to "1h";
        /// Credentials that are not good from one address a second; more are answered
        /// `resource-exhausted`, and new tokens from there are not looked at. 0 sets no limit.
        pub failures_rate: u32 = 10, within "0" to "1000000";
        /// Credentials that are not good from one address at once before the rate holds.
        pub failures_burst: u32 = 100, within "1" to "1000000";
        /// Who issues tokens (JWT, RFC 7519), by a name of your choice.
        pub jwt: BTreeMap<String, Jwt> = BTreeMap::new();
        /// Keys that are sent as they are.
        pub api_keys: ApiKeys = ApiKeys::default();
        /// Callers over Unix sockets, by a name of your choice.
        pub unix: BTreeMap<String, UnixCaller> = BTreeMap::new();
        /// Callers that show certificates, by a name of your choice. Of several that fit, the first by
        /// name counts.
        pub certificates: BTreeMap<String, CertificateCaller> = BTreeMap::new();
    }
}

section! {
    /// One issuer of tokens, sent as `authorization: Bearer TOKEN`. Exactly one of `secret`,
    /// `secret-file`, `public-key-file`, `jwks-file` and `jwks-url` says with which keys it signs.
    pub(crate) struct Jwt {
        /// Claim `iss` that its tokens have; any when left out.
        pub issuer: Option<String> = None;
        /// Claim `aud`: one of these must be among the token's; not looked at when empty.
        pub audiences: Vec<String> = Vec::new();
        /// Signatures that are taken: HS256, HS384 and HS512 with a secret; RS, PS and ES256, ES384
        /// and EdDSA with public keys. When empty: HS256, or RS256, ES256 and EdDSA.
        pub algorithms: Vec<Algorithm> = Vec::new();
        /// Secret shared with the issuer, 32 octets or more.
        pub secret: Option<Secret> = None;
        /// File that holds the secret; one line break at its end is no part of it.
        pub secret_file: Option<PathBuf> = None;
        /// Public key or certificate in PEM.
        pub public_key_file: Option<PathBuf> = None;
        /// Set of public keys (JWKS, RFC 7517).
        pub jwks_file: Option<PathBuf> = None;
        /// Where to fetch the set of public keys: https.
        pub jwks_url: Option<String> = None;
        /// Certificates of authorities in PEM for `jwks-url`, in the place of the system's.
        pub jwks_ca_file: Option<PathBuf> = None;
        /// Whether `jwks-url` may be http, which anybody on the way can forge.
        pub jwks_allow_http: bool = false;
        /// How often the set is fetched.
        pub jwks_refresh: Duration = Duration::from_secs(600), within "100ms" to "24h";
        /// Least time between two fetches, for tokens of keys that are not in the set and after a
        /// fetch that failed.
        pub jwks_refetch: Duration = Duration::from_secs(10), within "10ms" to "1h";
        /// How long the set is used beyond `jwks-refresh` while it cannot be fetched.
        pub jwks_stale_max: Duration = Duration::from_secs(3600), within "0s" to "7d";
        /// Time for one fetch.
        pub jwks_timeout: Duration = Duration::from_secs(5), within "10ms" to "1m";
        /// Longest set of keys.
        pub jwks_bytes_max: Size = Size::mib(1), within "1KiB" to "16MiB";
        /// How far the clocks of issuer and gateway may differ.
        pub leeway: Duration = Duration::from_secs(30), within "0s" to "10m";
        /// Claims that a token must have.
        pub required_claims: Vec<String> = vec!["exp".to_owned()];
        /// Claim that names the caller; members of members are written "a.b".
        pub name_claim: String = "sub".to_owned();
        /// Claims whose words are the caller's roles: a list of texts, or one text of words.
        pub role_claims: Vec<String> = ["roles", "scope", "realm_access.roles"]
            .map(str::to_owned)
            .to_vec();
    }
}

section! {
    /// Keys that are sent as they are. Only their hashes are kept.
    pub(crate) struct ApiKeys {
        /// Header that carries a key.
        pub header: String = "x-vsp-api-key".to_owned();
        /// Keys by the name of their owner.
        pub keys: BTreeMap<String, ApiKey> = BTreeMap::new();
        /// TOML file of more keys, one table `[NAME]` each with the keys that `keys.NAME` has.
        pub file: Option<PathBuf> = None;
    }
}

section! {
    /// One key.
    pub(crate) struct ApiKey {
        /// SHA-256 of the key: "sha256:" and 64 hexadecimal digits.
        pub hash: Option<KeyHash> = None;
        /// Roles of its owner.
        pub roles: Vec<String> = Vec::new();
        /// When it ceases to be good: "2027-01-31T12:00:00Z", or a day, of which it means the start.
        pub expires: Option<Timestamp> = None;
    }
}

section! {
    /// Who may call what. A deny rule that fits a call and its caller refuses it. Else an allow rule
    /// that fits both lets it pass. Else, if an allow rule is about the call, it is refused. Else
    /// `default` decides.
    pub(crate) struct Authorization {
        /// What becomes of calls that no rule is about: "allow" or "deny".
        pub default: Effect = Effect::Allow;
        /// Rules by a name of your choice; their order means nothing.
        pub rules: BTreeMap<String, Rule> = BTreeMap::new();
    }
}

section! {
    /// One rule. It fits callers who have one of the roles or names, or who are anonymous where it
    /// says so; where it says nothing of callers it fits all.
    pub(crate) struct Rule {
        /// "allow" or "deny".
        pub effect: Effect = Effect::Allow;
        /// Calls that the rule is about.
        pub calls: Vec<CallPattern> = vec![CallPattern::all()];
        /// Roles, any of which is enough.
        pub roles: Vec<String> = Vec::new();
        /// Names of callers, with "*" for any part; "*" alone is everybody who is identified.
        pub principals: Vec<Wildcard> = Vec::new();
        /// Whether it fits callers who are not identified.
        pub anonymous: bool = false;
    }
}

/// What a call needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthenticationMode {
    Required,
    Optional,
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Deny,
}

/// How a token is signed (RFC 7518 section 3.1, RFC 8037 section 3.1). There is no `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// SHA-256 of an API key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash(pub [u8; 32]);

/// A moment, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(pub u64);

word_leaf!(AuthenticationMode { Required = "required", Optional = "optional", Off = "off" });
word_leaf!(Effect { Allow = "allow", Deny = "deny" });
word_leaf!(Algorithm {
    Hs256 = "HS256",
    Hs384 = "HS384",
    Hs512 = "HS512",
    Rs256 = "RS256",
    Rs384 = "RS384",
    Rs512 = "RS512",
    Ps256 = "PS256",
    Ps384 = "PS384",
    Ps512 = "PS512",
    Es256 = "ES256",
    Es384 = "ES384",
    EdDsa = "EdDSA",
});

impl Named for Jwt {}
impl Named for ApiKey {}
impl Named for Rule {}

impl Algorithm {
    /// Whether it is checked with the secret that also signs.
    #[must_use]
    pub(crate) const fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

impl Jwt {
    /// The signatures that are taken, with what an empty list means.
    #[must_use]
    pub(crate) fn algorithms(&self) -> Vec<Algorithm> {
        if !self.algorithms.is_empty() {
            return self.algorithms.clone();
        }
        if self.has_secret() {
            vec![Algorithm::Hs256]
        } else {
            vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa]
        }
    }

    /// Whether its tokens are signed with a shared secret.
    #[must_use]
    pub(crate) const fn has_secret(&self) -> bool {
        self.secret.is_some() || self.secret_file.is_some()
    }
}

impl ApiKeys {
    /// Reads a file of keys. Pure.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text.
    pub(crate) fn parse_file(name: &str, text: &str) -> Result<BTreeMap<String, ApiKey>, Faults> {
        let mut keys = BTreeMap::<String, ApiKey>::new();
        let mut reader = SectionReader::default();
        let root = reader.parse(text);
        Field::merge(&mut keys, &root, "", None, &mut reader);
        for (name, key) in &keys {
            check_api_key(name, key, &mut reader);
        }
        if reader.faults.is_empty() {
            Ok(keys)
        } else {
            Err(Faults::new(name, text, reader.faults))
        }
    }
}

/// A key without a hash would be nobody's. A hash that was written and is wrong has been told.
pub(super) fn check_api_key(path: &str, key: &ApiKey, reader: &mut SectionReader) {
    if key.hash.is_none() && !reader.places.contains_key(&join(path, "hash")) {
        let remedy = "add hash = \"sha256:...\", the SHA-256 of the key";
        reader.fault_of_table(path, "the key \"hash\" is missing", remedy);
    }
}

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

impl std::fmt::Display for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl Leaf for KeyHash {
    fn expected() -> String {
        "\"sha256:\" and 64 hexadecimal digits".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        // What is written could be the key itself, so it stays out of the message.
        let refused = || "the hash is not \"sha256:\" and 64 hexadecimal digits".to_owned();
        let digits = value
            .as_text()
            .and_then(|text| text.strip_prefix("sha256:"));
        let digits = digits
            .filter(|digits| digits.len() == 64)
            .ok_or_else(refused)?;
        let mut hash = [0; 32];
        for (octet, pair) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            // `from_str_radix` would take a sign.
            let pair = std::str::from_utf8(pair)
                .ok()
                .filter(|pair| !pair.contains('+'));
            *octet = pair
                .and_then(|pair| u8::from_str_radix(pair, 16).ok())
                .ok_or_else(refused)?;
        }
        Ok(Self(hash))
    }

    fn written(&self) -> Option<String> {
        "(hidden)".to_owned().written()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$" })
    }
}

impl Leaf for Timestamp {
    fn expected() -> String {
        "a moment such as \"2027-01-31T12:00:00Z\", or a day such as \"2027-01-31\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let refused = || format!("{} is not a moment with a time zone", value.shown());
        let text = if let Value::Literal(text) = value {
            text
        } else {
            value.as_text().ok_or_else(refused)?
        };
        let moment: toml::value::Datetime = text.parse().map_err(|_| refused())?;
        let date = moment.date.ok_or_else(refused)?;
        let days = days_since_1970(i64::from(date.year), date.month.into(), date.day.into());
        let of_day = match (moment.time, moment.offset) {
            (None, _) => 0,
            (Some(time), Some(offset)) => {
                let minutes = match offset {
                    toml::value::Offset::Z => 0,
                    toml::value::Offset::Custom { minutes } => i64::from(minutes),
                };
                let (hour, minute) = (i64::from(time.hour), i64::from(time.minute));
                hour * 3600 + (minute - minutes) * 60 + i64::from(time.second.unwrap_or(0))
            }
            (Some(_), None) => return Err(refused()),
        };
        u64::try_from(days * 86_400 + of_day)
            .map(Self)
            .map_err(|_| refused())
    }

    fn written(&self) -> Option<String> {
        let (year, month, day) = civil(self.0 / 86_400);
        let of_day = self.0 % 86_400;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z").written()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].*)?$" })
    }
}

/// Days of the Gregorian calendar before a date, from 1970-01-01. The calendar repeats every 400
/// years, which are 146,097 days; a year that begins in March has its odd day at its end.
const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day counted from 1970-01-01.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Option<u64> {
        let read = Timestamp::read(&Value::Text(text.to_owned()));
        read.ok().map(|timestamp| timestamp.0)
    }

    #[test]
    fn moments_are_read_with_their_zone() {
        assert_eq!(moment("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(moment("2000-02-29T23:59:59Z"), Some(951_868_799));
        assert_eq!(moment("2026-11-25T12:00:00+02:00"), Some(1_795_600_800));
        assert_eq!(moment("2026-11-25"), Some(1_795_564_800));
        for text in [
            "2026-11-25T12:00:00",
            "12:00:00",
            "soon",
            "1969-12-31",
            "2026-02-30",
        ] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn a_moment_is_written_as_it_is_read_on_every_day_of_400_years() {
        for day in 0..146_097 {
            let timestamp = Timestamp(day * 86_400 + 86_399);
            let written = timestamp.written().expect("always");
            assert_eq!(
                moment(written.trim_matches('"')),
                Some(timestamp.0),
                "{written}"
            );
        }
    }

    #[test]
    fn a_hash_is_64_digits_and_never_shown() {
        let read = |text: &str| KeyHash::read(&Value::Text(text.to_owned()));
        let digits = "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789";
        let hash = read(&format!("sha256:{digits}")).expect("a hash");
        assert_eq!(
            hash.to_string(),
            format!("sha256:{}", digits.to_lowercase())
        );
        assert_eq!(hash.written().as_deref(), Some("\"(hidden)\""));
        let wrong = [
            digits.to_owned(),
            format!("sha256:{}", &digits[1..]),
            format!("sha256:{digits}0"),
            format!("sha256:+{}", &digits[1..]),
            format!("sha256:g{}", &digits[1..]),
        ];
        for text in wrong {
            let told = read(&text).expect_err("no hash");
            assert!(!told.contains(&digits[2..]), "{told}");
        }
    }
}
