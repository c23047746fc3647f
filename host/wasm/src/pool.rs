//! Instances of one generation: bounded, reused, with a fair queue when all are busy.
//!
//! Idle instances lie in one part per worker thread. A call takes from its thread's part, then from
//! the others, then makes one while fewer than `max` are alive, then waits. A call that finds an instance
//! takes one uncontended lock, and one more to give it back.
//!
//! What comes free goes to the longest waiter first. No wake-up is lost: a waiter enters the queue
//! *before* it looks for an idle instance once more, and whoever gives something back looks at the
//! queue *after* it has put it down.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use postern_system::shard::{CachePadded, Sharded};
use tokio::sync::oneshot;

/// What can lie idle.
pub(crate) trait Idle {
    fn last_used(&self) -> Instant;
}

/// A bounded set of `T`, most of them idle.
pub(crate) struct InstancePool<T> {
    shards: Sharded<CachePadded<Mutex<Vec<T>>>>,
    /// Alive or being made.
    live: AtomicUsize,
    max: usize,
    queue: Mutex<VecDeque<oneshot::Sender<Permit<T>>>>,
    /// Length of `queue`, readable without its lock.
    queue_length: AtomicUsize,
    queue_max: usize,
}

/// What a call gets from the pool.
#[derive(Debug)]
pub(crate) enum Permit<T> {
    /// An instance.
    Ready(T),
    /// The right to make one; it counts as alive.
    Make,
}

/// The queue is full.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// One that waits in the queue. Dropping it leaves the queue, or passes on the permit that has just come.
pub(crate) struct Waiter<'a, T> {
    pool: &'a InstancePool<T>,
    permit: oneshot::Receiver<Permit<T>>,
}

impl<T> InstancePool<T> {
    pub(crate) fn new(max: usize, queue_max: usize) -> Self {
        Self {
            shards: Sharded::per_thread(CachePadded::default),
            live: AtomicUsize::new(0),
            max: max.max(1),
            queue: Mutex::new(VecDeque::new()),
            queue_length: AtomicUsize::new(0),
            queue_max,
        }
    }

    /// An idle instance that is `wanted`: this thread's, or another's.
    pub(crate) fn try_take_idle(&self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let take = |shard: &CachePadded<Mutex<Vec<T>>>| {
            let mut idle = shard.lock();
            let index = idle.iter().rposition(&wanted)?;
            Some(idle.remove(index))
        };
        take(self.shards.mine()).or_else(|| self.shards.iter().find_map(take))
    }

    /// An instance that is `wanted`, else a permit to make one, else any instance; `None` when all are
    /// busy.
    pub(crate) fn try_take(&self, wanted: impl Fn(&T) -> bool) -> Option<Permit<T>> {
        let idle = self.try_take_idle(wanted).map(Permit::Ready);
        let made = idle.or_else(|| self.try_make());
        made.or_else(|| self.try_take_idle(|_| true).map(Permit::Ready))
    }

    /// Enters the queue.
    pub(crate) fn enqueue(&self) -> Result<Waiter<'_, T>, Full> {
        let (sender, permit) = oneshot::channel();
        {
            let mut queue = self.queue.lock();
            if queue.len() >= self.queue_max {
                return Err(Full);
            }
            queue.push_back(sender);
            self.queue_length.store(queue.len(), SeqCst);
        }
        Ok(Waiter { pool: self, permit })
    }

    /// Puts an instance back.
    pub(crate) fn give_back(&self, instance: T) {
        self.shards.mine().lock().push(instance);
        self.serve_queue();
    }

    /// Says that an instance is no more, or was never made.
    pub(crate) fn release(&self) {
        self.live.fetch_sub(1, SeqCst);
        self.serve_queue();
    }

    /// Instances alive or being made.
    pub(crate) fn live(&self) -> usize {
        self.live.load(SeqCst)
    }

    /// Whether a call would not have to wait.
    pub(crate) fn has_room(&self) -> bool {
        let is_idle = |shard: &CachePadded<Mutex<Vec<T>>>| !shard.lock().is_empty();
        self.live() < self.max || self.shards.iter().any(is_idle)
    }

    /// Hands what is free to those who wait, for as long as there are both.
    fn serve_queue(&self) {
        while self.queue_length.load(SeqCst) > 0 {
            let Some(permit) = self.try_take(|_| true) else {
                return;
            };
            let refused = match self.pop_waiter() {
                Some(waiter) => waiter.send(permit).err(),
                None => Some(permit),
            };
            if let Some(permit) = refused {
                self.put_down(permit);
            }
        }
    }

    /// Like `give_back` and `release`, without a look at the queue: the caller looks again itself.
    fn put_down(&self, permit: Permit<T>) {
        match permit {
            Permit::Ready(instance) => self.shards.mine().lock().push(instance),
            Permit::Make => {
                self.live.fetch_sub(1, SeqCst);
            }
        }
    }

    fn pop_waiter(&self) -> Option<oneshot::Sender<Permit<T>>> {
        let mut queue = self.queue.lock();
        let waiter = queue.pop_front();
        self.queue_length.store(queue.len(), SeqCst);
        waiter
    }

    /// A permit to make an instance, while fewer than `max` are alive.
    pub(crate) fn try_make(&self) -> Option<Permit<T>> {
        let more = |live| (live < self.max).then_some(live + 1);
        self.live
            .fetch_update(SeqCst, SeqCst, more)
            .is_ok()
            .then_some(Permit::Make)
    }
}

impl<T: Idle> InstancePool<T> {
    /// Drops the instances that have had no call for `idle_max`.
    pub(crate) fn retire_idle(&self, now: Instant, idle_max: Duration) -> usize {
        self.retire(|idle| now.saturating_duration_since(idle.last_used()) >= idle_max)
    }
}

impl<T> InstancePool<T> {
    /// Drops the idle instances that are `unwanted`. Says how many.
    pub(crate) fn retire(&self, unwanted: impl Fn(&T) -> bool) -> usize {
        let mut n_retired = 0;
        for shard in &self.shards {
            let old: Vec<T> = shard.lock().extract_if(.., |idle| unwanted(idle)).collect();
            n_retired += old.len();
            for instance in old {
                drop(instance);
                self.release();
            }
        }
        n_retired
    }
}

impl<T> Waiter<'_, T> {
    /// Waits for a permit. `None` if the pool went away, which cannot be while this borrows it.
    pub(crate) async fn permit(&mut self) -> Option<Permit<T>> {
        // Between the look that found nothing and the entry in the queue something may have come.
        self.pool.serve_queue();
        (&mut self.permit).await.ok()
    }
}

impl<T> Drop for Waiter<'_, T> {
    fn drop(&mut self) {
        self.permit.close();
        if let Ok(permit) = self.permit.try_recv() {
            self.pool.put_down(permit);
            self.pool.serve_queue();
            return;
        }
        let mut queue = self.pool.queue.lock();
        queue.retain(|waiter| !waiter.is_closed());
        self.pool.queue_length.store(queue.len(), SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use postern_system::clock;

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Thing(u8, Instant);

    impl Idle for Thing {
        fn last_used(&self) -> Instant {
            self.1
        }
    }

    fn thing(number: u8) -> Thing {
        Thing(number, clock::now())
    }

    fn poll<F: Future>(future: F) -> Poll<F::Output> {
        pin!(future).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn ready(pool: &InstancePool<Thing>) -> Option<u8> {
        match pool.try_take(|_| true)? {
            Permit::Ready(Thing(number, _)) => Some(number),
            Permit::Make => None,
        }
    }

    #[test]
    fn makes_as_many_as_there_may_be() {
        let pool = InstancePool::<Thing>::new(2, 0);
        assert!(matches!(pool.try_take(|_| true), Some(Permit::Make)));
        assert!(matches!(pool.try_take(|_| true), Some(Permit::Make)));
        assert!(pool.try_take(|_| true).is_none());
        pool.release();
        assert!(matches!(pool.try_take(|_| true), Some(Permit::Make)));
        assert_eq!(pool.live(), 2);
    }

    #[test]
    fn what_is_wanted_comes_first_then_a_new_one_then_any() {
        let pool = InstancePool::new(3, 0);
        let is = |number| move |Thing(other, _): &Thing| *other == number;
        for number in [1, 2] {
            pool.try_make();
            pool.give_back(thing(number));
        }
        let wanted = pool.try_take_idle(is(1)).unwrap();
        assert_eq!(wanted.0, 1);
        pool.give_back(wanted);
        assert_eq!(pool.try_take_idle(is(3)), None);
        assert!(matches!(pool.try_take(is(3)), Some(Permit::Make)));
        let any = pool.try_take(is(3));
        assert!(matches!(any, Some(Permit::Ready(Thing(1, _)))), "{any:?}");
    }

    #[test]
    fn what_comes_back_goes_to_the_longest_waiter() {
        let pool = InstancePool::new(1, 2);
        pool.try_take(|_| true);
        let (mut first, mut second) = (pool.enqueue().unwrap(), pool.enqueue().unwrap());
        assert!(pool.enqueue().is_err(), "two wait already");
        assert!(poll(first.permit()).is_pending());
        assert!(poll(second.permit()).is_pending());
        pool.give_back(thing(7));
        assert!(poll(second.permit()).is_pending());
        assert!(matches!(
            poll(first.permit()),
            Poll::Ready(Some(Permit::Ready(Thing(7, _))))
        ));
        pool.release();
        assert!(matches!(
            poll(second.permit()),
            Poll::Ready(Some(Permit::Make))
        ));
    }

    #[test]
    fn a_waiter_that_leaves_passes_its_permit_on() {
        let pool = InstancePool::new(1, 2);
        pool.try_take(|_| true);
        let (first, mut second) = (pool.enqueue().unwrap(), pool.enqueue().unwrap());
        pool.give_back(thing(7));
        assert!(poll(second.permit()).is_pending());
        drop(first);
        assert!(matches!(
            poll(second.permit()),
            Poll::Ready(Some(Permit::Ready(Thing(7, _))))
        ));
    }

    #[test]
    fn a_waiter_that_leaves_makes_room_for_another() {
        let pool = InstancePool::<Thing>::new(1, 1);
        pool.try_take(|_| true);
        drop(pool.enqueue().unwrap());
        assert!(pool.enqueue().is_ok());
    }

    #[test]
    fn what_came_back_before_the_queue_was_entered_is_found() {
        let pool = InstancePool::new(1, 1);
        pool.try_take(|_| true);
        pool.give_back(thing(7));
        let mut late = pool.enqueue().unwrap();
        assert!(matches!(
            poll(late.permit()),
            Poll::Ready(Some(Permit::Ready(Thing(7, _))))
        ));
    }

    #[test]
    fn only_what_has_been_idle_for_the_whole_time_is_retired() {
        let pool = InstancePool::new(2, 0);
        let start = clock::now();
        let second = Duration::from_secs(1);
        pool.try_take(|_| true);
        pool.try_take(|_| true);
        pool.give_back(Thing(1, start));
        pool.give_back(Thing(2, start + second));
        assert_eq!(
            pool.retire_idle(start + second * 2 - Duration::from_nanos(1), second),
            1
        );
        assert_eq!((ready(&pool), pool.live()), (Some(2), 1));
        pool.give_back(Thing(2, start + second));
        assert_eq!(pool.retire_idle(start + second * 2, second), 1);
        assert_eq!(pool.live(), 0);
    }
}
