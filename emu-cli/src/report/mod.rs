//! Reports as people and programs read them.
//!
//! Owns wording and layout. It computes nothing that the library has not counted.

pub mod accounts;
pub mod bench;
pub mod capture;
pub mod comparison;
pub mod exec;
pub mod explore;
pub mod fail_each;
pub mod hpt;
pub mod json;
pub mod layout;
pub mod litmus;
pub mod probe;
pub mod steps;
pub mod sweep;
pub mod text;
pub mod vectors;
pub mod verdict;

#[cfg(test)]
pub mod sample;
