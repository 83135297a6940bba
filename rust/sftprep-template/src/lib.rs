//! Chat templates, rendered byte for byte as transformers renders them, with the origin of
//! every byte.
//!
//! A [`ChatTemplate`] is compiled once and shared by all threads. [`ChatTemplate::render`] gives
//! the text; [`ChatTemplate::render_traced`] gives the same text and, for every byte, whether it
//! is a literal of the template or came from a field of a message.
//!
//! ```
//! use sftprep_template::{ChatTemplate, Clock, Data, Map, Request};
//!
//! let source = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
//! let template = ChatTemplate::compile("example", source)?;
//! let message = Map::from_iter([("role", Data::from("user")), ("content", Data::from("hi"))]);
//! let kwargs = Map::new();
//! let messages = [Data::Map(message)];
//! let request = Request::new(&messages, &kwargs, Clock::date(2025, 6, 30));
//! assert_eq!(template.render(&request)?, "<user>hi");
//! # Ok::<(), sftprep_template::TemplateError>(())
//! ```

// Values are passed as calls produce them, and methods of the interpreter form one family,
// whether or not a particular one needs its state; equal arms keep rules apart on purpose.
#![allow(
    clippy::needless_pass_by_value,
    clippy::unused_self,
    clippy::match_same_arms
)]
#![allow(clippy::unnecessary_wraps, clippy::needless_for_each)]
// Python compares floats exactly, and so does this.
#![allow(clippy::float_cmp)]

mod ast;
mod clock;
mod data;
mod error;
mod escape;
mod eval;
mod filters;
mod fold;
mod iter;
mod lexer;
mod limits;
mod markup;
mod messages;
mod methods;
mod ops;
mod out;
mod parser;
mod pyformat;
mod request;
mod resolve;
mod scratch;
mod source;
mod spans;
mod strftime;
mod template;
mod tests;
mod text;
mod tojson;
mod trace;
mod unicode;
mod unicode_tables;
mod value;
mod variables;
mod walk;

pub use clock::Clock;
pub use data::{Data, Map};
pub use error::{ErrorKind, TemplateError};
pub use request::Request;
pub use source::leaf_text;
pub use spans::{
    Declaration, KindSpan, Labelled, Learned, Method, OnDrop, Refusal, Rule, Session, SpanKind,
    SpanOptions, StartConvention, Turn,
};
pub use template::{ChatTemplate, Origin, Rendered, Segment};
pub use trace::{Leaf, LeafKind};
