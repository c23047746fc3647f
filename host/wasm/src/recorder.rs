//! Which calls of a plugin are recorded, and where the records go. One recording of a plugin at a time; a
//! plugin of which none is made pays one relaxed load for each call.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use postern_core::Call;
use postern_system::random;
use tokio::sync::mpsc;

use crate::{digest::Digest, recorded::RecordedCall};

/// Calls that are recorded at one time, each in an instance beside those of the pool.
const IN_FLIGHT_MAX: usize = 8;
/// Records that wait for their reader. With those in flight, 24 are in memory, of at most 16 MiB each.
const WAITING_MAX: usize = 16;

/// What is to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordingFilter {
    /// Only this method, as `METHOD` or `SERVICE/METHOD`.
    pub method: Option<String>,
    /// The share of calls, above 0 and at most 1.
    pub share: f64,
    /// Calls after which the recording ends.
    pub calls_max: u64,
    /// Names of headers that are left out.
    pub left_out: Arc<[String]>,
}

/// Why calls that the filter had taken are not in a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SkippedCalls {
    /// The caller went away, or its deadline passed: how far the guest came was chance.
    pub unfinished: u64,
    /// The call held more than a record may.
    pub too_large: u64,
    /// As many calls as may be were being recorded, or no instance could be made.
    pub busy: u64,
    /// Whoever reads the recording was too slow.
    pub unread: u64,
    /// The version in service cannot be recorded.
    pub unrecordable: u64,
}

/// The generation that a recorded call was answered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedGeneration {
    pub number: u64,
    pub component: Digest,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Whether callers were told what it said before it trapped.
    pub tells_callers: bool,
}

/// A recorded call, and the generation that answered it.
pub(crate) type Recorded = (Arc<RecordedGeneration>, RecordedCall);

/// A plugin's recording, where one is made.
#[derive(Default)]
pub(crate) struct RecorderSlot {
    is_on: AtomicBool,
    recorder: Mutex<Option<Arc<Recorder>>>,
}

/// A recording that is made.
pub(crate) struct Recorder {
    pub(crate) filter: RecordingFilter,
    sender: mpsc::Sender<Recorded>,
    n_in_flight: AtomicUsize,
    n_recorded: AtomicU64,
    skipped: Mutex<SkippedCalls>,
    /// The generation that answered last: its number, and what is said of it where it can be recorded.
    generation: Mutex<Option<(u64, Option<Arc<RecordedGeneration>>)>>,
}

/// A call that is being recorded. Dropped before it is finished, the call is not in the recording.
pub(crate) struct RecordingPermit {
    pub(crate) recorder: Arc<Recorder>,
    is_counted: bool,
}

impl RecorderSlot {
    /// Whether a recording is made.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Relaxed)
    }

    /// Begins a recording; `None` where one is made already.
    pub(crate) fn begin(
        &self,
        filter: RecordingFilter,
    ) -> Option<(Arc<Recorder>, mpsc::Receiver<Recorded>)> {
        let mut recorder = self.recorder.lock();
        if recorder.is_some() {
            return None;
        }
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let begun = Arc::new(Recorder {
            filter,
            sender,
            n_in_flight: AtomicUsize::new(0),
            n_recorded: AtomicU64::new(0),
            skipped: Mutex::default(),
            generation: Mutex::default(),
        });
        *recorder = Some(Arc::clone(&begun));
        self.is_on.store(true, Relaxed);
        Some((begun, receiver))
    }

    /// Ends the recording.
    pub(crate) fn end(&self) {
        let mut recorder = self.recorder.lock();
        self.is_on.store(false, Relaxed);
        *recorder = None;
    }

    /// A permit to record `call`, where it is one of those that are to be.
    pub(crate) fn admit(&self, call: &Call) -> Option<RecordingPermit> {
        let recorder = self.recorder.lock().clone()?;
        recorder.takes(call).then_some(())?;
        let n_before = recorder.n_in_flight.fetch_add(1, Relaxed);
        let mut permit = RecordingPermit {
            recorder,
            is_counted: false,
        };
        let recorder = &permit.recorder;
        let n_begun = u64::try_from(n_before).unwrap_or(u64::MAX);
        if n_begun.saturating_add(recorder.n_recorded()) >= recorder.filter.calls_max {
            permit.is_counted = true;
            return None;
        }
        if n_before >= IN_FLIGHT_MAX {
            permit.skip(|skipped| &mut skipped.busy);
            return None;
        }
        Some(permit)
    }
}

impl Recorder {
    pub(crate) fn n_recorded(&self) -> u64 {
        self.n_recorded.load(Relaxed)
    }

    pub(crate) fn skipped(&self) -> SkippedCalls {
        *self.skipped.lock()
    }

    /// What is said of the generation of this number. `find` looks, once for each.
    pub(crate) fn generation(
        &self,
        number: u64,
        find: impl FnOnce() -> Option<RecordedGeneration>,
    ) -> Option<Arc<RecordedGeneration>> {
        let mut known = self.generation.lock();
        match &*known {
            Some((of, generation)) if *of == number => generation.clone(),
            Some(_) | None => {
                let found = find().map(Arc::new);
                *known = Some((number, found.clone()));
                found
            }
        }
    }

    fn takes(&self, call: &Call) -> bool {
        let RecordingFilter { method, share, .. } = &self.filter;
        let is_method = method
            .as_deref()
            .is_none_or(|wanted| match wanted.split_once('/') {
                Some((service, method)) => call.service == service && call.method == method,
                None => call.method == wanted,
            });
        is_method && is_drawn(*share, random::even())
    }
}

/// Whether a call is within `share`, by a number that is even over 64 bits.
fn is_drawn(share: f64, drawn: u64) -> bool {
    // 32 bits are fine enough for any share.
    let drawn = (drawn >> 32) as f64 / (f64::from(u32::MAX) + 1.0);
    drawn < share
}

impl RecordingPermit {
    /// Puts the record of the call into the recording.
    pub(crate) fn finish(mut self, generation: Arc<RecordedGeneration>, call: RecordedCall) {
        match self.recorder.sender.try_send((generation, call)) {
            Ok(()) => {
                self.is_counted = true;
                self.recorder.n_recorded.fetch_add(1, Relaxed);
            }
            Err(_) => self.skip(|skipped| &mut skipped.unread),
        }
    }

    /// Gives the call up, and says why.
    pub(crate) fn skip(mut self, why: impl FnOnce(&mut SkippedCalls) -> &mut u64) {
        self.is_counted = true;
        let mut skipped = self.recorder.skipped.lock();
        *why(&mut skipped) += 1;
    }
}

impl Drop for RecordingPermit {
    fn drop(&mut self) {
        self.recorder.n_in_flight.fetch_sub(1, Relaxed);
        if !self.is_counted {
            self.recorder.skipped.lock().unfinished += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(calls_max: u64) -> RecordingFilter {
        RecordingFilter {
            method: None,
            share: 1.0,
            calls_max,
            left_out: Arc::default(),
        }
    }

    fn call() -> Call {
        Call::unary("users", "Get", "")
    }

    fn record() -> (Arc<RecordedGeneration>, RecordedCall) {
        let generation = RecordedGeneration {
            number: 1,
            component: Digest::of(b""),
            env: BTreeMap::new(),
            tells_callers: false,
        };
        let call = RecordedCall {
            request: crate::recorded::RecordedRequest::default(),
            host: crate::recorded::RecordedHost::default(),
            outcome: crate::recorded::RecordedOutcome::Reply(Default::default()),
        };
        (Arc::new(generation), call)
    }

    #[test]
    fn as_many_calls_are_recorded_as_were_asked_for_and_unfinished_ones_do_not_count() {
        let slot = RecorderSlot::default();
        assert!(!slot.is_on() && slot.admit(&call()).is_none());
        let (recorder, mut receiver) = slot.begin(filter(2)).expect("none is made");
        assert!(slot.is_on() && slot.begin(filter(2)).is_none());
        let first = slot.admit(&call()).expect("one of two");
        let second = slot.admit(&call()).expect("two of two");
        assert!(slot.admit(&call()).is_none());
        drop(second);
        let (generation, recorded) = record();
        first.finish(generation, recorded);
        let third = slot.admit(&call()).expect("the second was given up");
        let (generation, recorded) = record();
        third.finish(generation, recorded);
        assert!(slot.admit(&call()).is_none());
        assert_eq!(recorder.n_recorded(), 2);
        let unfinished = SkippedCalls {
            unfinished: 1,
            ..SkippedCalls::default()
        };
        assert_eq!(recorder.skipped(), unfinished);
        assert!(receiver.try_recv().is_ok() && receiver.try_recv().is_ok());
        slot.end();
        assert!(!slot.is_on() && slot.admit(&call()).is_none());
    }

    #[test]
    fn what_is_too_much_at_one_time_or_for_the_reader_is_skipped() {
        let slot = RecorderSlot::default();
        let (recorder, _receiver) = slot.begin(filter(1000)).expect("none is made");
        let mut permits: Vec<_> = (0..IN_FLIGHT_MAX).map(|_| slot.admit(&call())).collect();
        assert!(permits.iter().all(Option::is_some));
        assert!(slot.admit(&call()).is_none());
        permits.clear();
        for _ in 0..=WAITING_MAX {
            let permit = slot.admit(&call()).expect("nothing is in flight");
            let (generation, recorded) = record();
            permit.finish(generation, recorded);
        }
        let skipped = recorder.skipped();
        assert_eq!(
            (skipped.busy, skipped.unread, skipped.unfinished),
            (1, 1, 8)
        );
    }

    #[test]
    fn methods_and_shares_are_chosen() {
        let taken = |method: &str| {
            let slot = RecorderSlot::default();
            let method = Some(method.to_owned());
            let begun = slot.begin(RecordingFilter {
                method,
                ..filter(9)
            });
            begun.is_some() && slot.admit(&call()).is_some()
        };
        assert!(taken("Get") && taken("users/Get"));
        assert!(!taken("Put") && !taken("orders/Get"));
        assert!(is_drawn(1.0, u64::MAX) && !is_drawn(0.5, u64::MAX));
        assert!(is_drawn(0.01, 0) && is_drawn(0.5, u64::MAX / 2 - u64::from(u32::MAX)));
    }
}
