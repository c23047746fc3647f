//! Values by their type: what imports and roles keep where the frame does not know them.

use std::any::Any;

/// What is kept in a store for the time of one entry, or for as long as the store lives. Few values, so
/// looking one up is a walk over a short list. Emptied places keep their box: the next entry of the same
/// role allocates nothing.
#[derive(Default)]
pub(crate) struct Slots {
    slots: Vec<Box<dyn Slot>>,
    /// Whether something was put in since it was cleared.
    is_used: bool,
}

/// What all instances of a generation share. It does not change once it is there.
#[derive(Default)]
pub(crate) struct Shared(Vec<Box<dyn Any + Send + Sync>>);

/// An `Option` of some type.
trait Slot: Any + Send {
    fn clear(&mut self);
}

impl<T: Any + Send> Slot for Option<T> {
    fn clear(&mut self) {
        *self = None;
    }
}

impl Slots {
    pub(crate) fn put<T: Any + Send>(&mut self, value: T) {
        self.is_used = true;
        match self.slot_mut::<T>() {
            Some(slot) => *slot = Some(value),
            None => self.slots.push(Box::new(Some(value))),
        }
    }

    pub(crate) fn get<T: Any + Send>(&self) -> Option<&T> {
        let mut slots = self.slots.iter().map(|slot| &**slot as &dyn Any);
        slots
            .find_map(|slot| slot.downcast_ref::<Option<T>>())?
            .as_ref()
    }

    pub(crate) fn get_mut<T: Any + Send>(&mut self) -> Option<&mut T> {
        self.slot_mut::<T>()?.as_mut()
    }

    /// Two at once; `None` unless both are there.
    pub(crate) fn pair_mut<A: Any + Send, B: Any + Send>(&mut self) -> Option<(&mut A, &mut B)> {
        let (mut a, mut b) = (None, None);
        for slot in &mut self.slots {
            let slot = &mut **slot as &mut dyn Any;
            if slot.is::<Option<A>>() {
                a = slot.downcast_mut::<Option<A>>();
            } else {
                b = slot.downcast_mut::<Option<B>>().or(b);
            }
        }
        Some((a?.as_mut()?, b?.as_mut()?))
    }

    pub(crate) fn take<T: Any + Send>(&mut self) -> Option<T> {
        self.slot_mut::<T>()?.take()
    }

    /// Empties all.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.is_used) {
            for slot in &mut self.slots {
                slot.clear();
            }
        }
    }

    fn slot_mut<T: Any + Send>(&mut self) -> Option<&mut Option<T>> {
        let mut slots = self
            .slots
            .iter_mut()
            .map(|slot| &mut **slot as &mut dyn Any);
        slots.find_map(|slot| slot.downcast_mut::<Option<T>>())
    }
}

impl Shared {
    pub(crate) fn put<T: Any + Send + Sync>(&mut self, value: T) {
        self.0.push(Box::new(value));
    }

    pub(crate) fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.iter().find_map(|value| value.downcast_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_under_its_type_until_it_is_taken_or_all_are_cleared() {
        let mut slots = Slots::default();
        slots.put(7_u8);
        slots.put("seven");
        assert_eq!(
            (slots.get::<u8>(), slots.get::<&str>()),
            (Some(&7), Some(&"seven"))
        );
        assert_eq!(slots.get::<u16>(), None);
        slots.put(8_u8);
        assert_eq!((slots.take::<u8>(), slots.take::<u8>()), (Some(8), None));
        slots.clear();
        assert_eq!(slots.get_mut::<&str>(), None);
        slots.put("eight");
        assert_eq!(
            (slots.take::<&str>(), slots.slots.len()),
            (Some("eight"), 2)
        );
    }

    #[test]
    fn what_is_shared_is_found_under_its_type() {
        let mut shared = Shared::default();
        shared.put(7_u8);
        assert_eq!((shared.get::<u8>(), shared.get::<u16>()), (Some(&7), None));
    }
}
