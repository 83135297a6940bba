//! A tokenized, labelled row, and the spans that say what each of its tokens is.

/// Label of a token that is not trained (the ignore index of torch's cross entropy).
pub const IGNORE_INDEX: i32 = -100;

/// [`TokenSpan::message`] of tokens that belong to no message.
pub const NO_MESSAGE: u32 = u32::MAX;

/// What a run of tokens is; stored as one byte in the sidecar (FORMAT.md lists the numbers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SpanKind {
    /// The template's own text: headers, separators, role names.
    Scaffold = 0,
    /// A system or developer message.
    System = 1,
    /// A user message.
    User = 2,
    /// An assistant's reasoning.
    Reasoning = 3,
    /// An assistant's answer, or a completion.
    Answer = 4,
    /// An assistant's tool call.
    ToolCall = 5,
    /// A tool's output.
    ToolOutput = 6,
    /// The token with which an assistant's turn ends.
    Stop = 7,
    /// Raw text.
    Text = 8,
    /// Pretokenized: nothing is known but the mask.
    Tokens = 9,
}

impl SpanKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Scaffold,
        Self::System,
        Self::User,
        Self::Reasoning,
        Self::Answer,
        Self::ToolCall,
        Self::ToolOutput,
        Self::Stop,
        Self::Text,
        Self::Tokens,
    ];

    /// The kind with that number.
    pub fn from_u8(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Name as users see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scaffold => "scaffold",
            Self::System => "system",
            Self::User => "user",
            Self::Reasoning => "reasoning",
            Self::Answer => "answer",
            Self::ToolCall => "tool_call",
            Self::ToolOutput => "tool_output",
            Self::Stop => "stop",
            Self::Text => "text",
            Self::Tokens => "tokens",
        }
    }
}

/// How a token lies to the spans of the text. What its label would be under another choice of what
/// to train follows from this, without the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Border {
    /// Inside one span.
    #[default]
    Inside,
    /// It begins in its span and ends inside the next one, which is that of the token after it.
    Crosses,
    /// It covers more than the end of its span, and what it covers there is not trained.
    Leaves,
    /// The same, and something of that is trained.
    Swallows,
}

/// A run of tokens of one kind; the spans of an example partition its tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenSpan {
    /// Index after the last token of the run.
    pub end: u32,
    /// Message the tokens belong to, or [`NO_MESSAGE`].
    pub message: u32,
    /// What they are.
    pub kind: SpanKind,
    /// Whether they are trained.
    pub trained: bool,
    /// Whether this is a single token that straddles two spans of the text (never trained then).
    pub straddles: bool,
    /// How it lies to the spans of the text; a token that leaves its span is a run of its own.
    pub border: Border,
    /// Whether they stand in an earlier window of the same sample too (never trained then).
    pub repeated: bool,
    /// Whether this is the last span of a window, and another window of the sample follows.
    pub continues: bool,
    /// Loss weight (1 unless the row says otherwise).
    pub weight: f32,
}

/// One document: token ids with the spans that label them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Example {
    /// Token ids.
    pub input_ids: Vec<u32>,
    /// Partition of the tokens; empty only if there is no token.
    pub spans: Vec<TokenSpan>,
}

impl Example {
    /// Number of tokens that get a label: those in trained spans, but never the first token of a
    /// document, which nothing predicts.
    pub fn trained_tokens(&self) -> u32 {
        trained_tokens(&self.spans)
    }

    /// Labels, unshifted: the id where trained, [`IGNORE_INDEX`] elsewhere and on the first token.
    pub fn labels(&self) -> Vec<i32> {
        let mut labels = vec![IGNORE_INDEX; self.input_ids.len()];
        let mut start = 0;
        for span in &self.spans {
            let end = span.end as usize;
            if span.trained {
                for (label, id) in labels[start..end]
                    .iter_mut()
                    .zip(&self.input_ids[start..end])
                {
                    *label = *id as i32;
                }
            }
            start = end;
        }
        if let Some(first) = labels.first_mut() {
            *first = IGNORE_INDEX;
        }
        labels
    }
}

/// Number of tokens with a label in a document that has these spans.
pub fn trained_tokens(spans: &[TokenSpan]) -> u32 {
    let mut start = 0;
    let mut count = 0;
    for span in spans {
        if span.trained {
            count += span.end - start.max(1).min(span.end);
        }
        start = span.end;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(end: u32, trained: bool) -> TokenSpan {
        let kind = SpanKind::Text;
        TokenSpan {
            end,
            message: NO_MESSAGE,
            kind,
            trained,
            straddles: false,
            border: Border::Inside,
            repeated: false,
            continues: false,
            weight: 1.0,
        }
    }

    #[test]
    fn the_first_token_never_has_a_label() {
        let example = Example {
            input_ids: vec![7, 8, 9, 10],
            spans: vec![span(2, true), span(3, false), span(4, true)],
        };
        assert_eq!(example.labels(), [IGNORE_INDEX, 8, IGNORE_INDEX, 10]);
        assert_eq!(example.trained_tokens(), 2);
        assert_eq!(trained_tokens(&[span(1, true)]), 0);
        assert_eq!(trained_tokens(&[span(0, true), span(3, true)]), 2);
    }
}
