//! Failures on demand: what is made to fail, and whether it came to that.
//!
//! Owns the count of pages that vmalloc maps. Refuses an injection that did nothing: the run then tells
//! what would have done something.

use crate::config::RunError;
use crate::kernel::Linux;
use std::sync::atomic::Ordering;

impl Linux {
    /// Counts a page to be mapped; true if this is the one that `--fail-map` takes away.
    pub(crate) fn mapping_fails(&self) -> bool {
        let nth = self.pages_mapped.fetch_add(1, Ordering::Relaxed) + 1;
        self.fail_map == Some(nth)
    }

    /// An allocation or a mapping that was to fail but never came is an option that did nothing.
    pub(crate) fn check_injections(&self) -> Result<(), RunError> {
        let asked = [
            (
                "--fail-alloc",
                self.fail_alloc,
                &self.table_allocations,
                "makes page-table allocations",
            ),
            (
                "--fail-map",
                self.fail_map,
                &self.pages_mapped,
                "maps pages",
            ),
        ];
        for (what, nth, done, does) in asked {
            let done = done.load(Ordering::Relaxed);
            if let Some(nth) = nth.filter(|&nth| nth == 0 || nth > done) {
                return Err(RunError::Value {
                    what,
                    value: nth.to_string(),
                    right: format!("the run {does} 1 to {done}"),
                });
            }
        }
        Ok(())
    }
}
