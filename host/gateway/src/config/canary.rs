//! `[canary]` of a manifest: how a version is tried that comes beside another one of its plugin.

use std::{cmp::Ordering, time::Duration};

use postern_core::{Text, canary::CanaryRules};
use serde_json::json;

use super::{
    leaf::{Leaf, is_token, word_leaf},
    section::{Bounds, Field, SectionReader, Shape, section},
    value::{Node, Value},
    words::HashKey,
};

section! {
    /// How a new version is tried, and what it must keep to. Without this table it takes the calls at once.
    pub(crate) struct Canary {
        /// What it does: "split" answers a share of the calls, "shadow" gets copies whose answers are compared
        /// and not sent.
        pub mode: CanaryMode = CanaryMode::Split;
        /// Its share of the calls, "0%" to "90%", by chance.
        pub weight: Percent = Percent::new(5.0), within "0%" to "90%";
        /// Calls that it gets whatever its weight: "NAME: VALUE", or "NAME" for any value of that header.
        pub header: Option<HeaderMatch> = None;
        /// What a caller is kept by, so that all its calls go to the same version: "principal", "peer",
        /// "header:NAME", "payload-field:NAME". Each call goes by itself when left out.
        pub sticky: Option<HashKey> = None;
        /// How long it is tried at least before it takes the place of the version before.
        pub promote_after: Duration = Duration::from_secs(600), within "0s" to "30d";
        /// Calls that it and the version before have answered each, at least, before it does.
        pub min_calls: u32 = 1000, within "1" to "1000000000";
        /// By how many points its share of failed calls may be larger. Faults of callers do not count.
        pub error_rate: Percent = Percent::new(0.5), within "0%" to "100%";
        /// By how many points its traps per call may be more.
        pub trap_rate: Percent = Percent::new(0.0), within "0%" to "100%";
        /// By how much its p99 may be longer.
        pub p99: Percent = Percent::new(25.0), within "0%" to "10000%";
        /// By how much its p99 may be longer in any case.
        pub p99_slack: Duration = Duration::from_millis(1), within "0s" to "60s";
        /// Headers of replies that are compared beside status and body, in mode "shadow".
        pub compare_headers: Vec<String> = vec!["content-type".to_owned()];
        /// Copies under way at one time, in mode "shadow". What comes beyond is not copied.
        pub shadow_calls: u32 = 64, within "1" to "10000";
    }
}

/// The table, where there is one.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct CanaryTable(pub Option<Canary>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CanaryMode {
    Split,
    Shadow,
}

word_leaf!(CanaryMode { Split = "split", Shadow = "shadow" });

/// A part of a hundred, written `"5%"` or `"0.5%"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Percent(f64);

/// A header, and its value where it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderMatch {
    /// In lower case.
    pub name: Text,
    pub value: Option<Text>,
}

impl Canary {
    /// What the comparison is held to.
    #[must_use]
    pub(crate) fn rules(&self) -> CanaryRules {
        CanaryRules {
            promote_after: self.promote_after,
            calls_min: self.min_calls.into(),
            error_tolerance: self.error_rate.share(),
            trap_tolerance: self.trap_rate.share(),
            p99_tolerance: self.p99.share(),
            p99_slack: self.p99_slack,
        }
    }
}

impl CanaryTable {
    /// Whether copies of calls come to the version.
    pub(super) fn is_shadow(&self) -> bool {
        let canary = self.0.as_ref();
        canary.is_some_and(|canary| canary.mode == CanaryMode::Shadow)
    }

    /// A copy of a call has no effect outside, and a folder keeps what is written.
    pub(super) fn check(&self, writes_files: bool, reader: &mut SectionReader) {
        if writes_files && self.is_shadow() {
            reader.fault_of_key(
                "canary.mode",
                "a shadow answers copies of calls, and may write to a folder that is granted",
                "remove \":rw\" from grants.files, or write mode = \"split\"",
            );
        }
    }
}

impl Percent {
    pub(crate) const fn new(percent: f64) -> Self {
        Self(percent)
    }

    /// 0 to 1.
    #[must_use]
    pub(crate) fn share(self) -> f64 {
        self.0 / 100.0
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl Field for CanaryTable {
    fn merge(&mut self, node: &Node, path: &str, bounds: Bounds, reader: &mut SectionReader) {
        let mut canary = self.0.take().unwrap_or_default();
        canary.merge(node, path, bounds, reader);
        self.0 = Some(canary);
    }

    fn shape(&self, bounds: Bounds) -> Shape {
        self.0.clone().unwrap_or_default().shape(bounds)
    }
}

impl Leaf for Percent {
    fn expected() -> String {
        "a percentage such as \"5%\" or \"0.5%\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let unreadable = || format!("{} is not a percentage", value.shown());
        let text = value.as_text().ok_or_else(unreadable)?;
        let number = text
            .trim()
            .strip_suffix('%')
            .ok_or_else(unreadable)?
            .trim_end();
        let is_plain = number
            .bytes()
            .all(|octet| octet.is_ascii_digit() || octet == b'.');
        let number: f64 = number.parse().map_err(|_| unreadable())?;
        match is_plain && number.is_finite() {
            true => Ok(Self(number)),
            false => Err(unreadable()),
        }
    }

    fn written(&self) -> Option<String> {
        self.to_string().written()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? *%$" })
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        self.0.partial_cmp(&other.0)
    }
}

impl Leaf for HeaderMatch {
    fn expected() -> String {
        "\"NAME: VALUE\" or \"NAME\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let unreadable = || format!("{} names no header", value.shown());
        let text = value.as_text().ok_or_else(unreadable)?;
        let (name, wanted) = match text.split_once(':') {
            Some((name, wanted)) => (name, Some(wanted.trim())),
            None => (text, None),
        };
        match is_token(name) && wanted != Some("") {
            true => Ok(Self {
                name: name.to_ascii_lowercase().into(),
                value: wanted.map(Text::from),
            }),
            false => Err(unreadable()),
        }
    }

    fn written(&self) -> Option<String> {
        match &self.value {
            Some(value) => format!("{}: {value}", self.name).written(),
            None => self.name.to_string().written(),
        }
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[^ :]+(: *.+)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Manifest};

    fn read(text: &str) -> Result<Option<Canary>, String> {
        let manifest = Manifest::parse("users@2.toml", text, &Config::default());
        let manifest = manifest.map_err(|faults| faults.to_string())?;
        Ok(manifest.canary.0)
    }

    #[test]
    fn the_table_itself_says_that_a_version_is_tried() {
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("[canary]\n"), Ok(Some(Canary::default())));
    }

    #[test]
    fn reads_what_a_version_is_held_to() {
        let text = "[canary]\nweight = \"12.5%\"\nheader = \"X-Canary: yes\"\nsticky = \"principal\"\n\
                    error-rate = \"3%\"\np99 = \"50%\"\npromote-after = \"0s\"\nmin-calls = 7\n";
        let canary = read(text).expect("valid").expect("there");
        let header = HeaderMatch {
            name: "x-canary".into(),
            value: Some("yes".into()),
        };
        assert_eq!(canary.header, Some(header));
        assert_eq!(canary.weight.to_string(), "12.5%");
        let rules = canary.rules();
        assert_eq!((rules.calls_min, rules.promote_after), (7, Duration::ZERO));
        assert!((rules.error_tolerance - 0.03).abs() < 1e-9, "{rules:?}");
        assert!((rules.p99_tolerance - 0.5).abs() < 1e-9, "{rules:?}");
    }

    #[test]
    fn a_shadow_writes_no_files() {
        let text = |access: &str, mode: &str| {
            format!("[grants]\nfiles = [\"a:/a{access}\"]\n[canary]\nmode = \"{mode}\"\n")
        };
        let told = read(&text(":rw", "shadow")).expect_err("it could write");
        assert!(
            told.contains("canary.mode: a shadow answers copies"),
            "{told}"
        );
        for (access, mode) in [("", "shadow"), (":rw", "split")] {
            assert!(read(&text(access, mode)).is_ok(), "{access} {mode}");
        }
    }

    #[test]
    fn tells_what_is_wrong_with_a_share() {
        for (text, reason) in [
            ("weight = \"91%\"", "\"91%\" is above the limit of 90%"),
            ("weight = \"5\"", "\"5\" is not a percentage"),
            ("weight = 0.05", "0.05 is not a percentage"),
            ("weight = \"-1%\"", "\"-1%\" is not a percentage"),
            ("weight = \"nan%\"", "\"nan%\" is not a percentage"),
            ("header = \"a b: c\"", "\"a b: c\" names no header"),
            ("header = \"x-canary:\"", "\"x-canary:\" names no header"),
        ] {
            let told = read(&format!("[canary]\n{text}\n")).expect_err(text);
            assert!(told.contains(reason), "{text}: {told}");
        }
    }
}
