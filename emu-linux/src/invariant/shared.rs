//! A monitor that several host threads feed, one at a time.
//!
//! Owns the lock. A thread that holds it while it makes runs feeds the monitor without the host's locked
//! instructions. Refuses to be asked in the midst of being told.

use super::Monitor;
use parking_lot::{ReentrantMutex, ReentrantMutexGuard};
use std::cell::RefCell;

/// A monitor that is shared.
#[derive(Debug)]
pub struct SharedMonitor(ReentrantMutex<RefCell<Monitor>>);

impl SharedMonitor {
    /// Shares one.
    pub fn new(monitor: Monitor) -> Self {
        SharedMonitor(ReentrantMutex::new(RefCell::new(monitor)))
    }

    /// Tells it something, or asks.
    #[inline]
    pub fn with<T>(&self, told: impl FnOnce(&mut Monitor) -> T) -> T {
        told(&mut self.0.lock().borrow_mut())
    }

    /// Keeps other threads from it until the guard goes.
    pub fn hold(&self) -> ReentrantMutexGuard<'_, RefCell<Monitor>> {
        self.0.lock()
    }
}
