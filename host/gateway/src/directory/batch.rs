//! Pictures and changes as JSON, in messages of bounded length.
//!
//! | member | in a picture | in changes |
//! |---|---|---|
//! | `picture` | listings with their `peer` | |
//! | `next` | where the next page begins; absent on the last | |
//! | `too-old` | `true` when the cursor that was given says nothing here any more | |
//! | `changes` | | `{"put": LISTING}` or `{"removed": {"instance", "peer"}}`, in order |
//! | `cursor` | from where to follow | where to go on |

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use postern_core::registry::{Cursor, DirectoryChange, EntryKey, EntryRecord, Owner};
use serde::{Deserialize, Serialize};

use super::listing::Listing;

/// Octets of listings in one message; the last listing may pass it. A message stays far below the
/// 8 MiB that a frame has at most, also where every octet of an entry (16 KiB) is escaped.
pub(super) const PAGE_BYTES: usize = 512 * 1024;
/// Changes in one message.
pub(super) const CHANGES_MAX: usize = 64;

/// What is told at one time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Batch {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<Vec<Named>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Name>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub too_old: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<Vec<Step>>,
    pub cursor: CursorText,
}

/// A listing and who told it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Named {
    /// The peer that told it; none for what this gateway answers for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    #[serde(flatten)]
    pub listing: Listing,
}

/// What names an entry to a watcher: names of providers are nobody's business.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Name {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    pub instance: String,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    Put(Box<Named>),
    Removed(Name),
}

/// A cursor as callers keep it: opaque, and text, since the epoch is no number that JavaScript has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CursorText(pub Cursor);

impl Batch {
    /// The page of `records` that begins after `after`.
    pub(super) fn page(records: &[Arc<EntryRecord>], after: Option<&Name>, cursor: Cursor) -> Self {
        let mut pages = Pages::new(records, after, cursor);
        pages.next().unwrap_or_else(|| pages.empty())
    }

    /// All pages of `records`, in the order of names.
    pub(super) fn pages(records: &[Arc<EntryRecord>], cursor: Cursor) -> Vec<Self> {
        let mut pages = Pages::new(records, None, cursor);
        let all: Vec<_> = pages.by_ref().collect();
        if all.is_empty() {
            return vec![pages.empty()];
        }
        all
    }

    pub(super) fn of_changes(changes: &[DirectoryChange], cursor: Cursor) -> Self {
        Self {
            changes: Some(changes.iter().map(Step::from).collect()),
            ..Self::at(cursor)
        }
    }

    pub(super) fn to_json(&self) -> Bytes {
        json(self)
    }

    const fn at(cursor: Cursor) -> Self {
        Self {
            picture: None,
            next: None,
            too_old: false,
            changes: None,
            cursor: CursorText(cursor),
        }
    }
}

/// Cuts records into pages.
struct Pages {
    rest: std::iter::Peekable<std::vec::IntoIter<(Name, Arc<EntryRecord>)>>,
    cursor: Cursor,
}

impl Pages {
    fn new(records: &[Arc<EntryRecord>], after: Option<&Name>, cursor: Cursor) -> Self {
        let named = records
            .iter()
            .map(|record| (Name::of(&record.key), Arc::clone(record)));
        let mut named: Vec<_> = named
            .filter(|(name, _)| after.is_none_or(|after| name > after))
            .collect();
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self {
            rest: named.into_iter().peekable(),
            cursor,
        }
    }

    fn empty(&self) -> Batch {
        Batch {
            picture: Some(Vec::new()),
            ..Batch::at(self.cursor)
        }
    }
}

impl Iterator for Pages {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.rest.peek()?;
        let mut picture = Vec::new();
        let mut last = None;
        let mut bytes = 0;
        while bytes < PAGE_BYTES
            && let Some((name, record)) = self.rest.next()
        {
            let named = Named::from(&*record);
            bytes += json(&named).len();
            picture.push(named);
            last = Some(name);
        }
        Some(Batch {
            picture: Some(picture),
            next: last.filter(|_| self.rest.peek().is_some()),
            ..Batch::at(self.cursor)
        })
    }
}

impl Name {
    fn of(key: &EntryKey) -> Self {
        Self {
            peer: peer_of(key),
            instance: key.instance.to_string(),
        }
    }
}

impl From<&EntryRecord> for Named {
    fn from(record: &EntryRecord) -> Self {
        Self {
            peer: peer_of(&record.key),
            listing: Listing::from(record),
        }
    }
}

impl From<&DirectoryChange> for Step {
    fn from(change: &DirectoryChange) -> Self {
        match change {
            DirectoryChange::Put(record) => Self::Put(Box::new(Named::from(&**record))),
            DirectoryChange::Removed(key) => Self::Removed(Name::of(key)),
        }
    }
}

fn peer_of(key: &EntryKey) -> Option<String> {
    match &key.owner {
        Owner::Peer(name) => Some(name.to_string()),
        Owner::Local(_) | Owner::Config | Owner::Registered(_) => None,
    }
}

/// Everything that is written here has texts for keys and finite numbers, which JSON has.
pub(super) fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

impl fmt::Display for CursorText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.0.epoch, self.0.revision)
    }
}

impl FromStr for CursorText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let told = "a cursor is what an answer gave, such as \"00c0ffee00c0ffee-12\"";
        let (epoch, revision) = text.split_once('-').ok_or(told)?;
        if epoch.len() != 16 {
            return Err(told);
        }
        let epoch = u64::from_str_radix(epoch, 16).map_err(|_| told)?;
        let revision = revision.parse().map_err(|_| told)?;
        Ok(Self(Cursor { epoch, revision }))
    }
}

impl Serialize for CursorText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for CursorText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Default for CursorText {
    fn default() -> Self {
        Self(Cursor {
            epoch: 0,
            revision: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use postern_core::registry::{Draft, Entry, InstanceId};

    use super::*;

    const CURSOR: Cursor = Cursor {
        epoch: u64::MAX,
        revision: 3,
    };

    fn record(owner: Owner, instance: &str, text_bytes: usize) -> Arc<EntryRecord> {
        let mut draft = Draft::new(instance, "s");
        for n in 0..text_bytes / 1000 {
            let value = "v".repeat(1000);
            draft.metadata.insert(n.to_string().into(), value.into());
        }
        let entry = Entry::new(&draft).expect("an entry");
        Arc::new(EntryRecord {
            key: EntryKey {
                owner,
                instance: InstanceId::new(instance),
            },
            entry,
            ttl: None,
            revision: 1,
        })
    }

    #[test]
    fn a_cursor_is_read_as_it_is_written() {
        let text = CursorText(CURSOR).to_string();
        assert_eq!(text, "ffffffffffffffff-3");
        assert_eq!(text.parse(), Ok(CursorText(CURSOR)));
        for wrong in ["", "3", "f-3", "ffffffffffffffff-", "gfffffffffffffff-3"] {
            assert!(wrong.parse::<CursorText>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_picture_of_nothing_is_one_empty_page() {
        let pages = Batch::pages(&[], CURSOR);
        let json = "{\"picture\":[],\"cursor\":\"ffffffffffffffff-3\"}";
        assert_eq!(pages.len(), 1);
        assert_eq!(pages[0].to_json(), json);
    }

    #[test]
    fn pages_hold_everything_once_and_are_bounded() {
        let own = (0..90).map(|n| record(Owner::Config, &format!("own-{n:03}"), 10_000));
        let told = (0..90).map(|n| record(Owner::Peer("west".into()), &format!("w-{n}"), 10_000));
        let records: Vec<_> = told.chain(own).collect();
        let pages = Batch::pages(&records, CURSOR);
        assert!(pages.len() > 2, "{} pages", pages.len());
        for page in &pages {
            assert!(page.to_json().len() < PAGE_BYTES + 20_000);
        }
        // The same, page by page as callers without streams ask.
        let mut after = None;
        let mut asked = Vec::new();
        loop {
            let page = Batch::page(&records, after.as_ref(), CURSOR);
            after.clone_from(&page.next);
            asked.push(page);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(pages, asked);
        let names = pages
            .iter()
            .flat_map(|page| page.picture.clone().unwrap_or_default());
        let names: std::collections::BTreeSet<_> = names
            .map(|named| (named.peer, named.listing.instance))
            .collect();
        assert_eq!(names.len(), 180);
    }

    #[test]
    fn a_batch_is_read_as_it_is_written() {
        let put = DirectoryChange::Put(record(Owner::Registered("principal:x".into()), "a", 0));
        let removed = DirectoryChange::Removed(EntryKey {
            owner: Owner::Peer("west".into()),
            instance: InstanceId::new("b"),
        });
        let batch = Batch::of_changes(&[put, removed], CURSOR);
        let json = batch.to_json();
        assert_eq!(
            serde_json::from_slice::<Batch>(&json).expect("a batch"),
            batch
        );
        let text = String::from_utf8_lossy(&json);
        assert!(
            text.contains(r#"{"removed":{"peer":"west","instance":"b"}}"#),
            "{text}"
        );
        assert!(!text.contains("principal"), "{text}");
    }
}
