//! Questions and answers of imports as a journal writes them.

use bytes::Bytes;

use crate::{
    bindings::Failure,
    recorded::{HostAnswer, RecordedInstance, RecordedListing, RecordedOctets},
};

/// What an argument, or an item of an answer, takes beside its octets.
const PART_BYTES: usize = 16;

/// A question to the host: a function and its arguments.
pub(crate) struct HostQuestion {
    pub(super) ask: &'static str,
    pub(super) with: Vec<Option<RecordedOctets>>,
    /// How many of the first arguments say what it is about.
    n_keys: Option<usize>,
    pub(super) nature: Nature,
}

/// What asking does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// Asked again, it has the same answer.
    Read,
    Effect,
    /// Counts for whoever watches the plugin.
    Count,
}

/// What a journal can write down and give again.
pub(crate) trait Answer: Sized {
    fn tell(&self) -> HostAnswer;

    /// `None` where `answer` is of another shape.
    fn read(answer: &HostAnswer) -> Option<Self>;
}

impl HostQuestion {
    /// Of a function that changes nothing.
    pub(crate) const fn read(ask: &'static str) -> Self {
        Self::new(ask, Nature::Read)
    }

    /// Of a function that has an effect, or whose answers change.
    pub(crate) const fn effect(ask: &'static str) -> Self {
        Self::new(ask, Nature::Effect)
    }

    /// Of a change of a metric. Another one than recorded says nothing against who makes it.
    pub(crate) const fn count(ask: &'static str) -> Self {
        Self::new(ask, Nature::Count)
    }

    const fn new(ask: &'static str, nature: Nature) -> Self {
        Self {
            ask,
            with: Vec::new(),
            n_keys: None,
            nature,
        }
    }

    pub(crate) fn text(self, text: impl Into<String>) -> Self {
        self.octets(text.into())
    }

    pub(crate) fn octets(self, octets: impl Into<Bytes>) -> Self {
        self.option(Some(octets))
    }

    pub(crate) fn option(mut self, octets: Option<impl Into<Bytes>>) -> Self {
        self.with
            .push(octets.map(|octets| RecordedOctets(octets.into())));
        self
    }

    /// The arguments so far say what it is about; what follows are values.
    pub(crate) fn about(self) -> Self {
        Self {
            n_keys: Some(self.with.len()),
            ..self
        }
    }

    /// Whether a question with these arguments is about the same.
    pub(super) fn has_key_of(&self, with: &[Option<RecordedOctets>]) -> bool {
        let Some(n_keys) = self.n_keys else {
            return false;
        };
        let key = self.with.get(..n_keys);
        key.is_some() && key == with.get(..n_keys)
    }

    pub(super) fn n_octets(&self) -> usize {
        let octets = |part: &Option<RecordedOctets>| part.as_ref().map_or(0, |part| part.0.len());
        self.with.iter().map(|part| octets(part) + PART_BYTES).sum()
    }

    /// `kv.get "user:1"`.
    pub(super) fn shown(&self) -> String {
        super::shown(self.ask, &self.with)
    }
}

/// Octets of an answer.
pub(super) fn n_octets(answer: &HostAnswer) -> usize {
    match answer {
        HostAnswer::Done | HostAnswer::Absent | HostAnswer::Flag(_) | HostAnswer::Number(_) => 0,
        HostAnswer::Numbers(numbers) => 4 * numbers.len(),
        HostAnswer::Octets(octets) => octets.0.len(),
        HostAnswer::Texts(texts) => texts.iter().map(|text| text.len() + PART_BYTES).sum(),
        HostAnswer::Pairs(pairs) => of_pairs(pairs),
        HostAnswer::Listing(listing) => of_listing(listing),
        HostAnswer::Failed(failure) => {
            let details = failure.details.as_ref();
            failure.message.len() + details.map_or(0, |details| details.0.len())
        }
    }
}

fn of_pairs(pairs: &[(String, String)]) -> usize {
    let octets = |(name, value): &(String, String)| name.len() + value.len() + 2 * PART_BYTES;
    pairs.iter().map(octets).sum()
}

fn of_listing(listing: &RecordedListing) -> usize {
    let each = |instance: &RecordedInstance| {
        let texts = [&instance.version, &instance.zone].into_iter().flatten();
        let texts = texts.chain(&instance.addresses).chain([&instance.id]);
        let texts: usize = texts.map(|text| text.len() + PART_BYTES).sum();
        texts + of_pairs(&instance.metadata) + PART_BYTES
    };
    listing.revision.len() + listing.instances.iter().map(each).sum::<usize>()
}

/// An answer of one shape.
macro_rules! answers {
    ($($type:ty: |$answer:ident| $tell:expr, $read:pat => $value:expr;)*) => {$(
        impl Answer for $type {
            fn tell(&self) -> HostAnswer {
                let $answer = self;
                $tell
            }

            fn read(answer: &HostAnswer) -> Option<Self> {
                if let $read = answer { $value } else { None }
            }
        }
    )*};
}

answers! {
    bool: |flag| HostAnswer::Flag(*flag), HostAnswer::Flag(flag) => Some(*flag);
    u32: |number| HostAnswer::Number((*number).into()),
        HostAnswer::Number(number) => u32::try_from(*number).ok();
    u64: |number| HostAnswer::Number(*number), HostAnswer::Number(number) => Some(*number);
    Vec<u32>: |numbers| HostAnswer::Numbers(numbers.clone()),
        HostAnswer::Numbers(numbers) => Some(numbers.clone());
    Vec<u8>: |octets| HostAnswer::Octets(octets.clone().into()),
        HostAnswer::Octets(octets) => Some(octets.0.to_vec());
    String: |text| HostAnswer::Octets(text.clone().into()),
        HostAnswer::Octets(octets) => String::from_utf8(octets.0.to_vec()).ok();
    Vec<String>: |texts| HostAnswer::Texts(texts.clone()),
        HostAnswer::Texts(texts) => Some(texts.clone());
    Vec<(String, String)>: |pairs| HostAnswer::Pairs(pairs.clone()),
        HostAnswer::Pairs(pairs) => Some(pairs.clone());
    RecordedListing: |listing| HostAnswer::Listing(listing.clone()),
        HostAnswer::Listing(listing) => Some(listing.clone());
}

impl Answer for () {
    fn tell(&self) -> HostAnswer {
        HostAnswer::Done
    }

    fn read(answer: &HostAnswer) -> Option<Self> {
        matches!(answer, HostAnswer::Done).then_some(())
    }
}

impl<T: Answer> Answer for Option<T> {
    fn tell(&self) -> HostAnswer {
        self.as_ref().map_or(HostAnswer::Absent, T::tell)
    }

    fn read(answer: &HostAnswer) -> Option<Self> {
        if matches!(answer, HostAnswer::Absent) {
            return Some(None);
        }
        T::read(answer).map(Some)
    }
}

impl<T: Answer> Answer for Result<T, Failure> {
    fn tell(&self) -> HostAnswer {
        match self {
            Ok(answer) => answer.tell(),
            Err(failure) => HostAnswer::Failed(failure.into()),
        }
    }

    fn read(answer: &HostAnswer) -> Option<Self> {
        if let HostAnswer::Failed(failure) = answer {
            return Some(Err(failure.into()));
        }
        T::read(answer).map(Ok)
    }
}
