//! Scans of keys that go on.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use postern_system::random;

/// Where scans go on that have begun. A cursor is a number that nobody can guess; the oldest are
/// forgotten.
#[derive(Debug, Default)]
pub(super) struct Cursors(Mutex<CursorTable>);

#[derive(Debug, Default)]
struct CursorTable {
    /// By number: when it was given, counted, and the key behind which it goes on.
    by_number: BTreeMap<u64, (u64, String)>,
    by_age: BTreeMap<u64, u64>,
    n_given: u64,
}

impl Cursors {
    /// A number for going on behind `key`.
    pub(super) fn give(&self, key: String) -> u64 {
        let number = random::even().max(1);
        let mut table = self.0.lock();
        table.n_given += 1;
        let age = table.n_given;
        table.by_number.insert(number, (age, key));
        table.by_age.insert(age, number);
        while table.by_age.len() > CURSORS_MAX {
            if let Some((_, oldest)) = table.by_age.pop_first() {
                table.by_number.remove(&oldest);
            }
        }
        number
    }

    /// The key behind which a scan goes on; none that is forgotten.
    pub(super) fn key_of(&self, number: u64) -> Option<String> {
        let table = self.0.lock();
        table.by_number.get(&number).map(|(_, key)| key.clone())
    }
}

/// Scans that may go on; the oldest are forgotten.
const CURSORS_MAX: usize = 10_000;
