//! What a text shows of itself: damage, left-overs, loops, refusals, private data, a missing end.
//!
//! Every detector takes one text and answers with the place where it saw something, so that a
//! report can show it. None of them changes a text, and none decides what becomes of a row.

mod arithmetic;
mod characters;
mod ending;
mod leftovers;
mod loops;
mod phrases;
mod private;
mod refusal;
mod scripts;
mod selves;

pub use arithmetic::{final_number, wrong_calculation};
pub use characters::{Characters, characters, without_invisible};
pub use ending::{open_fence, truncation};
pub use leftovers::{
    Template, broken_template, control_text, merged_record, missing_attachment, no_input_marker,
    url_only,
};
pub use loops::{Loop, find_loop};
pub use phrases::PhraseSet;
pub use private::private_data;
pub use refusal::refusal;
pub use scripts::{Script, has_script, main_script};
pub use selves::{ai_phrase, asks_for_language, identity, incapable, names_danger};
