//! Shuttle's words of synchronisation under the names that the engine uses.

pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::cell::Cell;
use std::ops::Deref;
use std::time::Duration;

pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub fn new(value: T) -> Self {
        Mutex(shuttle::sync::Mutex::new(value))
    }

    pub fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Only on a real host do lines of the cache matter.
pub(crate) struct CachePadded<T>(T);

impl<T> CachePadded<T> {
    pub fn new(value: T) -> Self {
        CachePadded(value)
    }
}

impl<T> Deref for CachePadded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// Sleeps at the second look.
pub(crate) struct Backoff(Cell<bool>);

impl Backoff {
    pub fn new() -> Self {
        Backoff(Cell::new(false))
    }

    pub fn snooze(&self) {
        self.0.set(true);
        shuttle::thread::yield_now();
    }

    pub fn is_completed(&self) -> bool {
        self.0.get()
    }
}

pub(crate) struct Bell {
    rung: shuttle::sync::Mutex<bool>,
    heard: shuttle::sync::Condvar,
}

impl Default for Bell {
    fn default() -> Self {
        Bell {
            rung: shuttle::sync::Mutex::new(false),
            heard: shuttle::sync::Condvar::new(),
        }
    }
}

impl Bell {
    pub fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.heard.notify_one();
    }

    pub fn wait(&self, _: Option<Duration>) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
        *rung = false;
    }
}
