//! The host's words of synchronisation that [`crate::board`] and [`crate::handover`] are written in.
//!
//! Owns nothing but their names, and a bell. A test puts shuttle's words here instead and so sees every
//! schedule of the same code.

pub(crate) use crossbeam::utils::{Backoff, CachePadded};
pub(crate) use parking_lot::Mutex;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

use parking_lot::Condvar;
use std::time::Duration;

/// Wakes one thread. A ring that comes before the wait is not lost.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    /// Wakes the thread that waits here, or the next one that comes to wait.
    pub fn ring(&self) {
        let mut rung = self.rung.lock();
        *rung = true;
        self.heard.notify_one();
    }

    /// Waits for a ring, no longer than `most` if that is given, and takes it.
    pub fn wait(&self, most: Option<Duration>) {
        let mut rung = self.rung.lock();
        match most {
            Some(most) if !*rung => {
                self.heard.wait_for(&mut rung, most);
            }
            _ => {
                while !*rung {
                    self.heard.wait(&mut rung);
                }
            }
        }
        *rung = false;
    }
}
