//! Integration tests of the library, through the facade only: captures of real kernels, the report
//! of March 2011, determinism, invariants, memory.

mod captures;
mod determinism;
mod disturbances;
mod examples;
mod explore;
mod hypervisor;
mod invariants;
mod kernel_users;
mod pages_64k;
mod policies;
mod reports_2011;
mod rt;
mod stripped;
mod support;
mod table_access;
mod threads;
mod timing;
