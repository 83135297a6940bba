//! The Jinja of chat templates, with the origin of every byte and the label spans they prove.

mod data;

pub use data::{Data, Map};
