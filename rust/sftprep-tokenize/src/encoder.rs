//! Encoding text: the result type and the per-thread encoder.

use crate::added::AddedMatch;
use crate::error::{Code, TokenizerError};
use crate::tokenizer::Tokenizer;

/// Token ids and, for each, the bytes of the text that it covers.
///
/// The spans are in order and cover the text: each begins where the one before ends, the first at
/// 0, the last ends at the text's length. A token may cover no byte (a dummy prefix) or a part of
/// a character. The vectors are public so that a caller can move them out or reuse them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Token ids, in order.
    pub ids: Vec<u32>,
    /// `[start, end)` in bytes of the text given, one per id.
    pub offsets: Vec<[u32; 2]>,
}

impl Encoding {
    /// Empties both vectors and keeps their memory.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.offsets.clear();
    }
}

/// Encodes texts with one tokenizer. Holds scratch memory, so each thread takes its own from
/// [`Tokenizer::encoder`] and uses it for many texts.
pub struct Encoder<'t> {
    tokenizer: &'t Tokenizer,
}

impl<'t> Encoder<'t> {
    pub(crate) fn new(tokenizer: &'t Tokenizer) -> Self {
        Self { tokenizer }
    }

    /// The tokenizer that this encoder belongs to.
    pub fn tokenizer(&self) -> &'t Tokenizer {
        self.tokenizer
    }

    /// Replaces the content of `out` by the tokens of `text`: the ids that
    /// `tokenizers.Tokenizer.encode(text, add_special_tokens=False)` gives.
    ///
    /// Edge behaviour that is part of that: a dummy prefix (`Prepend`, `Metaspace`) comes at the
    /// start of every piece of text between added tokens (or of the first piece, as the file
    /// says); `lstrip`/`rstrip` tokens cover the whitespace beside them; tokens marked
    /// `normalized` are found after normalization. Truncation and padding of the file are ignored.
    ///
    /// # Errors
    ///
    /// Texts over 4 GiB, and texts that the model itself refuses (an unknown token that is not in
    /// the vocabulary).
    pub fn encode(&mut self, text: &str, out: &mut Encoding) -> Result<(), TokenizerError> {
        self.encode_accepting(text, &mut |_| true, out)
    }

    /// Like [`Encoder::encode`], but asks `accept` for every added token found in the text.
    ///
    /// A refused match is plain text: the text between accepted matches is tokenized as one piece.
    /// After a refusal a shorter added token at the same place is offered, then those that begin
    /// within the refused text. With every match accepted the result is that of `encode`.
    ///
    /// # Errors
    ///
    /// As [`Encoder::encode`].
    pub fn encode_accepting(
        &mut self,
        text: &str,
        accept: &mut dyn FnMut(&AddedMatch) -> bool,
        out: &mut Encoding,
    ) -> Result<(), TokenizerError> {
        out.clear();
        if u32::try_from(text.len()).is_err() {
            return Err(TokenizerError::new(
                Code::TooLong,
                format!(
                    "a text of {} bytes is too long to tokenize; split it",
                    text.len()
                ),
            ));
        }
        self.tokenizer.hf().encode(text, accept, out)
    }
}
