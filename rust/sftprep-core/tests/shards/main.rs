//! Whole datasets: what is written is what is read, and what is damaged is found.

#![allow(clippy::unwrap_used)] // helpers of tests are not inside #[test]

mod common;
mod damage;
mod folder;
mod roundtrip;
