//! From proven text spans to labelled tokens.
//!
//! The template crate proves which bytes of a rendering an assistant turn consists of; this
//! module decides by policy which of them are trained ([`Policy`]), carries that over to tokens
//! ([`label_tokens`]), and keeps text of a row from becoming a control token ([`ControlTokens`]).

mod control;
mod policy;
mod remask;
mod tokens;
mod truncate;

pub use control::{ControlTokens, TokenClass};
pub use policy::{ByteSpan, Policy, method_name};
pub use remask::{Remask, Remasked};
pub use tokens::{label_tokens, raw_tokens};
pub use truncate::truncate;
