//! The rules of `clean`: what each looks for, and what may be done about it.

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// What is done with a row that a rule finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing is looked for.
    Off,
    /// The row stays, and the ledger says what was found.
    Flag,
    /// What was found is taken out of the row.
    #[serde(alias = "blank")]
    Fix,
    /// The row goes.
    #[serde(alias = "strict")]
    Drop,
}

macro_rules! rules {
    ($($field:ident = $variant:ident, $code:ident, $default:ident, $fixable:literal: $doc:literal;)*) => {
        /// What to do about what is found, rule by rule.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct CleanRules { $(#[doc = $doc] pub $field: Action,)* }

        impl Default for CleanRules {
            fn default() -> Self {
                Self { $($field: Action::$default,)* }
            }
        }

        /// A rule.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Rule { $(#[doc = $doc] $variant,)* }

        impl Rule {
            /// All rules; of several in a row, the first names the reason.
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Name in options.
            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($field),)* }
            }

            /// Reason in the ledger.
            pub(super) const fn code(self) -> Code {
                match self { $(Self::$variant => Code::$code,)* }
            }

            const fn fixable(self) -> bool {
                match self { $(Self::$variant => $fixable,)* }
            }
        }

        impl CleanRules {
            /// What is done about what a rule finds.
            pub(super) const fn action(&self, rule: Rule) -> Action {
                match rule { $(Rule::$variant => self.$field,)* }
            }
        }
    };
}

rules! {
    format = Format, FormatMissing, Drop, false:
        "Rows that do not fit their format; the reason is the format's own code.";
    roles = Roles, QualityRoles, Drop, false:
        "Messages that do not follow each other as a conversation does, roles that are not known.";
    empty_answer = EmptyAnswer, QualityEmptyAnswer, Drop, false:
        "Answers that are empty or blank, and rows in which nobody answers.";
    empty_prompt = EmptyPrompt, QualityEmptyPrompt, Drop, false:
        "Prompts and other messages that are empty or blank.";
    merged_record = MergedRecord, QualityMergedRecord, Drop, true:
        "Answers into which another record runs; a fix cuts them before it.";
    mojibake = Mojibake, QualityMojibake, Flag, true:
        "UTF-8 that was read as another encoding; a fix needs repaired texts.";
    unicode = Unicode, QualityControlCharacter, Fix, true:
        "Control and invisible characters; a fix takes them out.";
    replacement = Replacement, QualityReplacementCharacter, Flag, false:
        "Characters that were lost in decoding (U+FFFD).";
    noinput = NoInput, QualityNoInputMarker, Fix, true:
        "Markers such as <noinput> that stand for an empty input; a fix makes it empty.";
    loops = Loops, QualityLoop, Flag, false:
        "Answers in which a passage comes round again and again.";
    incapable = Incapable, QualityIncapable, Flag, false:
        "Answers that say that a model cannot give one.";
    identity = Identity, QualityIdentity, Flag, false:
        "Answers that say which model speaks or who made it.";
    refusal = Refusal, QualityRefusal, Flag, false:
        "Answers that refuse.";
    leftovers = Leftovers, QualityLeftover, Flag, false:
        "Control tokens as text, templates that were not filled in, links and pictures without content.";
}

impl CleanRules {
    /// Refuses an action that a rule does not have.
    ///
    /// # Errors
    /// `config.value`.
    pub(super) fn validate(&self) -> Result<()> {
        for rule in Rule::ALL {
            if self.action(*rule) == Action::Fix && !rule.fixable() {
                let name = rule.name();
                let message = format!("{name} cannot be fixed");
                return Err(Error::new(Code::ConfigValue, message)
                    .at_field(format!("rules.{name}"))
                    .hint("choose off, flag or drop"));
            }
        }
        Ok(())
    }

    /// Whether a rule takes something out of rows.
    pub(super) fn fixes(&self) -> bool {
        Rule::ALL
            .iter()
            .any(|rule| self.action(*rule) == Action::Fix)
    }
}
