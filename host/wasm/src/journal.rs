//! The journal of one call: whatever the host tells the guest is written down, or answered from what was
//! written down before. Imports reach it through their store; a store without one pays a look at a
//! pointer.
//!
//! ```text
//! recording: question ─▶ the import itself ─▶ answer ─▶ written down, given
//! replaying: question ─▶ the same question in the record, the first that was not taken
//!              ├─ there: its answer
//!              ├─ taken already, and it only reads: the same answer again (a note)
//!              ├─ the same key, other values: the recorded answer (a difference)
//!              └─ not there: `unavailable`, or what an import that cannot fail says itself (a difference)
//! ```
//! A question is found by what it asks and not by its place alone, so that a newer version may ask in
//! another order.

mod answer;
mod clocks;
mod difference;
mod random;

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use postern_core::Kind;

pub(crate) use self::answer::{Answer, HostQuestion};
pub use self::difference::{AskChange, AskDifference};
use self::{
    answer::Nature,
    clocks::Readings,
    random::{JournalRandom, Seed},
};
use crate::{
    bindings::Failure,
    recorded::{HostAnswer, HostAsk, RecordedFailure, RecordedHost, RecordedOctets},
};

/// What one recorded call may hold, in octets: a call of 7 MiB and its reply fit.
pub(crate) const CALL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Octets of an argument that are shown.
const SHOWN_BYTES_MAX: usize = 120;
/// What a reading of a clock or a question takes beside its octets.
const ENTRY_BYTES: usize = 16;

/// The journal of one call, shared by its store's imports.
#[derive(Debug, Clone)]
pub(crate) struct Journal(Arc<Shared>);

/// What a journal begins with.
#[derive(Debug, Clone, Default)]
pub(crate) struct JournalStart {
    /// The environment that the guest sees.
    pub(crate) env: BTreeMap<String, String>,
    /// Names of headers that are not written down.
    pub(crate) left_out: Arc<[String]>,
    /// The least level of lines that the guest is told to write, as `log.level` counts them; 5 is none.
    pub(crate) log_level: u8,
}

#[derive(Debug)]
struct Shared {
    start: JournalStart,
    seed: Seed,
    /// When the call began, or had begun, in nanoseconds since 1970.
    began: u64,
    is_replay: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bytes_left: usize,
    /// It would have held more than it may.
    is_over: bool,
    asked: Vec<HostAsk>,
    lines: Vec<String>,
    wall: Readings,
    monotonic: Readings,
    /// What was recorded, each with whether it was taken.
    recorded: Vec<(HostAsk, bool)>,
    /// Those before it were taken.
    n_taken: usize,
    differences: Vec<AskDifference>,
}

/// A question of a store that has a journal.
pub(crate) struct Asking {
    journal: Journal,
    question: HostQuestion,
}

/// What a replay has of a question.
enum Found<T> {
    Answer(T),
    /// Nothing was recorded.
    Nothing,
    /// It is no replay.
    Recording,
}

/// The names of levels in a recording, as `log.level` counts them.
const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "none"];

impl Journal {
    /// A journal that writes down.
    pub(crate) fn recording(start: JournalStart) -> Self {
        let began = clocks::unix_nanos();
        let (wall, monotonic) = (Readings::wall(began), Readings::monotonic());
        Self::new(start, Seed::fresh(), began, (wall, monotonic), None)
    }

    /// A journal that answers from `host`.
    ///
    /// # Errors
    /// What of it cannot be, in words.
    pub(crate) fn replaying(start: JournalStart, host: &RecordedHost) -> Result<Self, String> {
        let level = LEVELS.iter().position(|level| *level == host.log_level);
        let level = level.and_then(|level| u8::try_from(level).ok());
        let start = JournalStart {
            log_level: level.ok_or_else(|| format!("{:?} is no log level", host.log_level))?,
            ..start
        };
        let wall = Readings::recorded(host.began, &host.wall);
        let monotonic = Readings::recorded(0, &host.monotonic);
        let (seed, began) = (Seed::parse(&host.seed)?, host.began);
        let recorded = host.asked.iter().map(|ask| (ask.clone(), false)).collect();
        Ok(Self::new(
            start,
            seed,
            began,
            (wall, monotonic),
            Some(recorded),
        ))
    }

    fn new(
        start: JournalStart,
        seed: Seed,
        began: u64,
        (wall, monotonic): (Readings, Readings),
        recorded: Option<Vec<(HostAsk, bool)>>,
    ) -> Self {
        let is_replay = recorded.is_some();
        let state = State {
            bytes_left: CALL_BYTES_MAX,
            is_over: false,
            asked: Vec::new(),
            lines: Vec::new(),
            wall,
            monotonic,
            recorded: recorded.unwrap_or_default(),
            n_taken: 0,
            differences: Vec::new(),
        };
        Self(Arc::new(Shared {
            start,
            seed,
            began,
            is_replay,
            state: Mutex::new(state),
        }))
    }

    pub(crate) fn is_replay(&self) -> bool {
        self.0.is_replay
    }

    pub(crate) fn env(&self) -> &BTreeMap<String, String> {
        &self.0.start.env
    }

    /// Whether a header of this name is written down.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        let mut left_out = self.0.start.left_out.iter();
        !left_out.any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Whether the guest is told to write lines of this level, as `log.level` counts them.
    pub(crate) fn enables(&self, level: u8) -> bool {
        level >= self.0.start.log_level
    }

    /// Takes `n_octets` of what the call may hold; says whether there is room.
    pub(crate) fn charge(&self, n_octets: usize) -> bool {
        self.0.state.lock().charge(n_octets)
    }

    /// Writes a line of the guest down.
    pub(crate) fn on_line(&self, line: &str) {
        let mut state = self.0.state.lock();
        if state.charge(line.len() + ENTRY_BYTES) {
            state.lines.push(line.to_owned());
        }
    }

    /// Random numbers that follow from the seed. Each `stream` has its own.
    pub(crate) fn random(&self, stream: u8) -> JournalRandom {
        self.0.seed.random(stream)
    }

    pub(crate) fn wall_nanos(&self) -> u64 {
        self.0.state.lock().read(|state| &mut state.wall)
    }

    pub(crate) fn monotonic_nanos(&self) -> u64 {
        self.0.state.lock().read(|state| &mut state.monotonic)
    }

    /// What was written down; `None` where it was more than a call may hold. Of a replay it is what the
    /// guest was told in it.
    pub(crate) fn host(&self) -> Option<RecordedHost> {
        let state = self.0.state.lock();
        let level = LEVELS.get(usize::from(self.0.start.log_level));
        (!state.is_over).then(|| RecordedHost {
            began: self.0.began,
            seed: self.0.seed.to_string(),
            log_level: (*level.unwrap_or(&"none")).to_owned(),
            wall: state.wall.steps(),
            monotonic: state.monotonic.steps(),
            asked: state.asked.clone(),
            lines: state.lines.clone(),
        })
    }

    /// How what was asked in a replay differs from what was recorded.
    pub(crate) fn differences(&self) -> Vec<AskDifference> {
        let mut state = self.0.state.lock();
        let state = &mut *state;
        let left: Vec<_> = state.recorded.iter().filter(|(_, taken)| !taken).collect();
        let left = left
            .into_iter()
            .map(|(ask, _)| AskDifference::not_asked(ask));
        let clocks = [("wall", &state.wall), ("monotonic", &state.monotonic)];
        let clocks = clocks.into_iter().filter_map(|(name, readings)| {
            let (recorded, read) = readings.counts();
            (recorded != read).then(|| AskDifference::clock(name, recorded, read))
        });
        let mut all = std::mem::take(&mut state.differences);
        for difference in left.chain(clocks) {
            difference::push(&mut all, difference);
        }
        all
    }

    /// Finds the answer to `question` in the record.
    /// What is not there is told as `miss`.
    fn find<T: Answer>(&self, question: &HostQuestion, miss: AskChange) -> Found<T> {
        if !self.0.is_replay {
            return Found::Recording;
        }
        let mut state = self.0.state.lock();
        let state = &mut *state;
        let miss = told_as(question, miss);
        let missed = || AskDifference::unrecorded(miss, question.ask, &question.with);
        let position = position(&state.recorded, state.n_taken, question);
        let Some((index, change)) = position else {
            state.differ(missed());
            return Found::Nothing;
        };
        let Some((recorded, taken)) = state.recorded.get_mut(index) else {
            return Found::Nothing;
        };
        *taken = true;
        let got = recorded.got.clone();
        let change = change.map(|change| told_as(question, change));
        if let Some(change) = change {
            let difference = AskDifference::changed(change, &question.with, recorded);
            state.differ(difference);
        }
        state.skip_taken();
        match T::read(&got) {
            Some(answer) => {
                state.note(question, got);
                Found::Answer(answer)
            }
            None => {
                state.differ(missed());
                Found::Nothing
            }
        }
    }

    fn note(&self, question: &HostQuestion, answer: HostAnswer) {
        self.0.state.lock().note(question, answer);
    }
}

impl State {
    fn charge(&mut self, n_octets: usize) -> bool {
        match self.bytes_left.checked_sub(n_octets) {
            Some(left) => self.bytes_left = left,
            None => self.is_over = true,
        }
        !self.is_over
    }

    fn note(&mut self, question: &HostQuestion, got: HostAnswer) {
        let octets = question.n_octets() + answer::n_octets(&got) + 2 * ENTRY_BYTES;
        if self.charge(octets) {
            self.asked.push(HostAsk {
                ask: question.ask.to_owned(),
                with: question.with.clone(),
                got,
            });
        }
    }

    fn skip_taken(&mut self) {
        let left = self.recorded.get(self.n_taken..).unwrap_or_default();
        self.n_taken += left.iter().take_while(|(_, taken)| *taken).count();
    }

    fn read(&mut self, readings: impl Fn(&mut Self) -> &mut Readings) -> u64 {
        let has_room = self.charge(ENTRY_BYTES);
        readings(self).read(has_room)
    }

    fn differ(&mut self, difference: AskDifference) {
        difference::push(&mut self.differences, difference);
    }
}

/// What a difference of `question` is told as.
const fn told_as(question: &HostQuestion, change: AskChange) -> AskChange {
    match question.nature {
        Nature::Read | Nature::Effect => change,
        Nature::Count => AskChange::Counted,
    }
}

/// Which recorded question answers `question`, and what about it differs. The first `n_taken` were taken.
fn position(
    recorded: &[(HostAsk, bool)],
    n_taken: usize,
    question: &HostQuestion,
) -> Option<(usize, Option<AskChange>)> {
    let is_same = |ask: &HostAsk| ask.ask == question.ask && ask.with == question.with;
    let is_alike = |ask: &HostAsk| ask.ask == question.ask && question.has_key_of(&ask.with);
    let find = |is: &dyn Fn(&(HostAsk, bool)) -> bool| {
        let found = recorded.get(n_taken..)?.iter().position(is)?;
        Some(n_taken + found)
    };
    if let Some(index) = find(&|(ask, taken)| !taken && is_same(ask)) {
        return Some((index, None));
    }
    if question.nature == Nature::Read {
        let last = recorded.iter().rposition(|(ask, _)| is_same(ask));
        return Some((last?, Some(AskChange::Again)));
    }
    let index = find(&|(ask, taken)| !taken && is_alike(ask))?;
    Some((index, Some(AskChange::Changed)))
}

/// The question of a store that may have a journal.
pub(crate) fn asking(
    journal: Option<&Journal>,
    question: impl FnOnce(&Journal) -> HostQuestion,
) -> Option<Asking> {
    let journal = journal?;
    Some(Asking {
        question: question(journal),
        journal: journal.clone(),
    })
}

/// Answers from the journal where it knows, by `real` elsewhere.
pub(crate) async fn through<T: Answer, E>(
    asking: Option<Asking>,
    real: impl Future<Output = Result<Result<T, Failure>, E>>,
) -> Result<Result<T, Failure>, E> {
    let Some(Asking { journal, question }) = asking else {
        return real.await;
    };
    match journal.find(&question, AskChange::Unrecorded) {
        Found::Answer(answer) => Ok(answer),
        Found::Nothing => Ok(Err(unrecorded(&question))),
        Found::Recording => {
            let answer = real.await?;
            journal.note(&question, answer.tell());
            Ok(answer)
        }
    }
}

/// As `through`, of what is not waited for.
pub(crate) fn through_now<T: Answer, E>(
    asking: Option<Asking>,
    real: impl FnOnce() -> Result<Result<T, Failure>, E>,
) -> Result<Result<T, Failure>, E> {
    let Some(Asking { journal, question }) = asking else {
        return real();
    };
    match journal.find(&question, AskChange::Unrecorded) {
        Found::Answer(answer) => Ok(answer),
        Found::Nothing => Ok(Err(unrecorded(&question))),
        Found::Recording => {
            let answer = real()?;
            journal.note(&question, answer.tell());
            Ok(answer)
        }
    }
}

/// As `through_now`, of what cannot fail: what was not recorded is asked for as ever.
pub(crate) fn told<T: Answer, E>(
    asking: Option<Asking>,
    real: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let Some(Asking { journal, question }) = asking else {
        return real();
    };
    match journal.find(&question, AskChange::Answered) {
        Found::Answer(answer) => Ok(answer),
        Found::Nothing | Found::Recording => {
            let answer = real()?;
            journal.note(&question, answer.tell());
            Ok(answer)
        }
    }
}

/// As `told`, of what is waited for.
pub(crate) async fn told_later<T: Answer, E>(
    asking: Option<Asking>,
    real: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(Asking { journal, question }) = asking else {
        return real.await;
    };
    match journal.find(&question, AskChange::Answered) {
        Found::Answer(answer) => Ok(answer),
        Found::Nothing | Found::Recording => {
            let answer = real.await?;
            journal.note(&question, answer.tell());
            Ok(answer)
        }
    }
}

/// `kv.get "user:1"`.
fn shown(ask: &str, with: &[Option<RecordedOctets>]) -> String {
    let with = with.iter().map(|part| match part {
        None => "none".to_owned(),
        Some(octets) => {
            let mut text = octets.shown();
            if text.len() > SHOWN_BYTES_MAX {
                text.truncate(text.floor_char_boundary(SHOWN_BYTES_MAX));
                text.push_str("...");
            }
            format!("{text:?}")
        }
    });
    let with: Vec<_> = with.collect();
    format!("{ask} {}", with.join(", ")).trim_end().to_owned()
}

fn unrecorded(question: &HostQuestion) -> Failure {
    Failure {
        kind: Kind::Unavailable.into(),
        message: format!("the recording has no answer to {}", question.shown()),
        details: None,
    }
}

impl From<&Failure> for RecordedFailure {
    fn from(failure: &Failure) -> Self {
        let details = failure.details.clone();
        Self {
            details: details.map(RecordedOctets::from),
            ..Self::new(failure.kind.into(), failure.message.clone())
        }
    }
}

impl From<&RecordedFailure> for Failure {
    fn from(recorded: &RecordedFailure) -> Self {
        let details = recorded.details.as_ref();
        Self {
            kind: recorded.kind.into(),
            message: recorded.message.clone(),
            details: details.map(RecordedOctets::shown),
        }
    }
}

#[cfg(test)]
mod tests;
