//! Versions of services and ranges of them, by Semantic Versioning 2.0.0.
//!
//! | text | range |
//! |---|---|
//! | `1`, `1.2`, `1.2.3`, `^1.2` | at least that, below the next incompatible version |
//! | `=1.2.3`, `=1.2` | exactly that; any patch of 1.2 |
//! | `~1.2.3` | at least that, below 1.3.0 |
//! | `>=1.2, <2` | both |
//! | `*` | every version, also entries that have none |
//!
//! A pre-release is in a range only when the range names a pre-release of the same major, minor
//! and patch: who asks for `1` does not get `1.1.0-rc.1`.

use std::{cmp::Ordering, fmt};

use semver::{Comparator, Op, Prerelease, VersionReq};

/// Octets of a version or a range.
pub const VERSION_BYTES_MAX: usize = 64;

/// A version of a service. Ordered by precedence (section 11 of the specification), then by build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

/// The versions that a caller accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range(VersionReq);

/// Why text is neither a version nor a range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    #[error("version of {bytes} octets exceeds the limit of {limit}")]
    TooLong { bytes: usize, limit: usize },
    #[error("`{text}` is not a version: {problem}")]
    Version { text: String, problem: String },
    #[error("`{text}` is not a range of versions: {problem}")]
    Range { text: String, problem: String },
}

impl Version {
    /// Reads `1.2.3-rc.1+build`. Also `2`, `2.1` and `v2`, as file names and the VSP document
    /// have them: what is missing is 0.
    ///
    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        check_length(text)?;
        let trimmed = text.trim();
        let bare = trimmed.strip_prefix('v').unwrap_or(trimmed);
        let is_short = bare.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let parsed = match bare.bytes().filter(|b| *b == b'.').count() {
            0 if is_short => semver::Version::parse(&format!("{bare}.0.0")),
            1 if is_short => semver::Version::parse(&format!("{bare}.0")),
            _ => semver::Version::parse(bare),
        };
        parsed.map(Self).map_err(|problem| VersionError::Version {
            text: text.to_owned(),
            problem: problem.to_string(),
        })
    }

    /// Which of two is newer, without regard to the build (section 10 of the specification).
    #[must_use]
    pub fn cmp_precedence(&self, other: &Self) -> Ordering {
        self.0.cmp_precedence(&other.0)
    }

    /// The range of this version alone, whatever its build.
    #[must_use]
    pub fn exactly(&self) -> Range {
        let semver::Version {
            major,
            minor,
            patch,
            ..
        } = self.0;
        let exact = Comparator {
            op: Op::Exact,
            major,
            minor: Some(minor),
            patch: Some(patch),
            pre: self.0.pre.clone(),
        };
        Range(VersionReq {
            comparators: vec![exact],
        })
    }

    #[must_use]
    pub fn major(&self) -> u64 {
        self.0.major
    }

    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        self.0.pre != Prerelease::EMPTY
    }
}

impl Range {
    /// `*`: every version, also entries that have none.
    pub const ANY: Self = Self(VersionReq::STAR);

    /// # Errors
    /// What is wrong with `text`.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        check_length(text)?;
        let trimmed = text.trim();
        let bare = trimmed.strip_prefix('v').unwrap_or(trimmed);
        let parsed = VersionReq::parse(bare);
        parsed.map(Self).map_err(|problem| VersionError::Range {
            text: text.to_owned(),
            problem: problem.to_string(),
        })
    }

    /// Whether an entry of `version` is accepted.
    #[must_use]
    pub fn accepts(&self, version: Option<&Version>) -> bool {
        *self == Self::ANY || version.is_some_and(|version| self.0.matches(&version.0))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

const fn check_length(text: &str) -> Result<(), VersionError> {
    let (bytes, limit) = (text.len(), VERSION_BYTES_MAX);
    if bytes > limit {
        return Err(VersionError::TooLong { bytes, limit });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precedence_follows_section_11() {
        // The examples of the specification, each older than the next.
        let ascending = [
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "2.0.0",
            "2.1.0",
            "2.1.1",
            "2.10.0",
        ];
        for (older, a) in ascending.iter().enumerate() {
            for (newer, b) in ascending.iter().enumerate() {
                let found = version(a).cmp_precedence(&version(b));
                assert_eq!(found, older.cmp(&newer), "{a} and {b}");
                assert_eq!(version(a).cmp(&version(b)), found);
            }
        }
    }

    #[test]
    fn a_build_has_no_precedence() {
        let (a, b) = (
            version("1.0.0+20130313144700"),
            version("1.0.0+exp.sha.5114f85"),
        );
        assert_eq!(a.cmp_precedence(&b), Ordering::Equal);
        assert_ne!(a, b);
        assert!(a.exactly().accepts(Some(&b)));
    }

    #[test]
    fn short_versions_are_filled_with_zeros() {
        for (text, expected) in [
            ("2", "2.0.0"),
            ("v2", "2.0.0"),
            ("2.1", "2.1.0"),
            (" 1.2.3 ", "1.2.3"),
        ] {
            assert_eq!(version(text).to_string(), expected);
        }
    }

    #[test]
    fn refuses_what_the_specification_refuses() {
        // Sections 2 and 9: no leading zeros, no empty parts.
        for text in [
            "", "v", "1.", "01.2.3", "1.2.03", "1.0.0-01", "1.0.0-", "1.0.0+", "1.2.3.4", "a",
        ] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
        assert!(Range::parse("").is_err());
        assert!(Range::parse(">=1.2 <2").is_err());
        assert!(Range::parse("one").is_err());
    }

    #[test]
    fn length_is_bounded() {
        let text = |bytes: usize| format!("1.0.0+{}", "a".repeat(bytes - 6));
        assert!(Version::parse(&text(VERSION_BYTES_MAX)).is_ok());
        let (bytes, limit) = (VERSION_BYTES_MAX + 1, VERSION_BYTES_MAX);
        let refused = VersionError::TooLong { bytes, limit };
        assert_eq!(Version::parse(&text(bytes)), Err(refused.clone()));
        assert_eq!(Range::parse(&text(bytes)), Err(refused));
    }

    #[test]
    fn ranges_accept_what_their_table_says() {
        let check = |range: &str, accepted: &[&str], refused: &[&str]| {
            let parsed = Range::parse(range).expect(range);
            for text in accepted {
                assert!(parsed.accepts(Some(&version(text))), "{range} and {text}");
            }
            for text in refused {
                assert!(!parsed.accepts(Some(&version(text))), "{range} and {text}");
            }
        };
        check("1", &["1.0.0", "1.9.9"], &["0.9.9", "2.0.0", "1.1.0-rc.1"]);
        check("v1", &["1.2.3"], &["2.0.0"]);
        check("1.2", &["1.2.0", "1.3.0"], &["1.1.9", "2.0.0"]);
        check("^1.2", &["1.2.0", "1.3.0"], &["1.1.9", "2.0.0"]);
        check("^0.2", &["0.2.0", "0.2.9"], &["0.3.0", "1.0.0"]);
        check(
            ">=1.2, <2",
            &["1.2.0", "1.99.0"],
            &["1.1.9", "2.0.0", "2.0.0-rc.1"],
        );
        check(
            "=1.2.3",
            &["1.2.3", "1.2.3+build"],
            &["1.2.4", "1.2.3-rc.1"],
        );
        check("=1.2", &["1.2.0", "1.2.7"], &["1.3.0"]);
        check("~1.2.3", &["1.2.3", "1.2.9"], &["1.3.0"]);
        check(
            "1.1.0-rc.1",
            &["1.1.0-rc.1", "1.1.0-rc.2", "1.2.0"],
            &["1.1.0-beta"],
        );
        check("*", &["0.0.1", "9.9.9", "1.0.0-rc.1"], &[]);
    }

    #[test]
    fn only_any_accepts_an_entry_without_version() {
        assert!(Range::parse("*").expect("a range").accepts(None));
        assert!(!Range::parse(">=0").expect("a range").accepts(None));
    }

    fn version(text: &str) -> Version {
        Version::parse(text).expect(text)
    }
}
