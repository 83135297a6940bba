//! What `check` looks for: every issue with its dimension, what it means and what to do about it.

use serde::Serialize;

/// The six dimensions of data quality (Budach et al., The Effects of Data Quality on Machine
/// Learning Performance), for conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Dimension {
    /// Whether what is learnt is right.
    TargetAccuracy,
    /// Whether what is given is intact.
    FeatureAccuracy,
    /// Whether everything is there.
    Completeness,
    /// Whether it is there once.
    Uniqueness,
    /// Whether the same is always written the same way.
    ConsistentRepresentation,
    /// Whether kinds of rows have their share.
    ClassBalance,
}

impl Dimension {
    /// All dimensions, in the order of the report.
    pub(super) const ALL: [Self; 6] = [
        Self::TargetAccuracy,
        Self::FeatureAccuracy,
        Self::Completeness,
        Self::Uniqueness,
        Self::ConsistentRepresentation,
        Self::ClassBalance,
    ];

    /// Name in reports and options.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::TargetAccuracy => "target_accuracy",
            Self::FeatureAccuracy => "feature_accuracy",
            Self::Completeness => "completeness",
            Self::Uniqueness => "uniqueness",
            Self::ConsistentRepresentation => "consistent_representation",
            Self::ClassBalance => "class_balance",
        }
    }

    /// The question that it answers.
    pub(super) const fn question(self) -> &'static str {
        match self {
            Self::TargetAccuracy => "is what is learnt right?",
            Self::FeatureAccuracy => "is what is given intact?",
            Self::Completeness => "is everything there?",
            Self::Uniqueness => "is it there once?",
            Self::ConsistentRepresentation => "is the same written the same way?",
            Self::ClassBalance => "does every kind of row have its share?",
        }
    }
}

macro_rules! issues {
    ($($variant:ident = $name:literal in $dimension:ident, counted $counted:literal:
        $title:literal, $fix:literal;)*) => {
        /// Something that may be wrong with a row.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub(in super::super) enum Issue { $(#[doc = $title] $variant,)* }

        impl Issue {
            /// All issues, in the order of the report.
            pub(super) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Name in reports and options.
            pub(in super::super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The dimension it belongs to.
            pub(super) const fn dimension(self) -> Dimension {
                match self { $(Self::$variant => Dimension::$dimension,)* }
            }

            /// Whether rows with it count towards its dimension's number; others are only shown.
            pub(super) const fn counted(self) -> bool {
                match self { $(Self::$variant => $counted,)* }
            }

            /// What it means.
            pub(in super::super) const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What to do about it, in one line.
            pub(super) const fn fix(self) -> &'static str {
                match self { $(Self::$variant => $fix,)* }
            }
        }
    };
}

issues! {
    Conflict = "conflict" in TargetAccuracy, counted true:
        "the same prompt has another answer elsewhere",
        "keep the better answer: look at both rows, or `sftprep dedup --field prompt`";
    AnswerIsPrompt = "answer_is_prompt" in TargetAccuracy, counted true:
        "the answer repeats the prompt", "write the answer, or leave the row out";
    Loop = "loop" in TargetAccuracy, counted true:
        "a passage of the answer comes round again and again",
        "cut the answer before the loop, or leave the row out";
    WrongCalculation = "wrong_calculation" in TargetAccuracy, counted true:
        "a calculation marked <<…=…>> is wrong", "correct the calculation";
    Incapable = "incapable" in TargetAccuracy, counted true:
        "the answer says that a model cannot do it", "answer it, or leave the row out";
    RefusedSafe = "refused_safe" in TargetAccuracy, counted false:
        "a prompt that names nothing dangerous is refused",
        "answer it; refusals of harmless prompts teach over-refusal";
    Mojibake = "mojibake" in FeatureAccuracy, counted true:
        "UTF-8 was read as another encoding", "decode the source as UTF-8, or repair with ftfy";
    ControlCharacter = "control_character" in FeatureAccuracy, counted true:
        "control or invisible characters", "strip them where the text is made";
    ReplacementCharacter = "replacement_character" in FeatureAccuracy, counted true:
        "characters were lost in decoding (U+FFFD)", "go back to the source and decode it as it is";
    MergedRecord = "merged_record" in FeatureAccuracy, counted true:
        "another record runs into this one", "split the record, or cut the text before it";
    BrokenTemplate = "broken_template" in FeatureAccuracy, counted true:
        "a template was not filled in, or lost a line break",
        "render the rows again with a template that is whole";
    ControlText = "control_text" in FeatureAccuracy, counted true:
        "the text holds control tokens of a chat template",
        "store messages, not rendered text; pack keeps such text from becoming control tokens";
    UrlOnly = "url_only" in FeatureAccuracy, counted true:
        "the prompt points to a page that the model does not see",
        "put the content into the prompt, or leave the row out";
    MissingAttachment = "missing_attachment" in FeatureAccuracy, counted true:
        "the prompt points to a picture or file that is not there",
        "attach it, or leave the row out";
    PrivateData = "private_data" in FeatureAccuracy, counted false:
        "addresses or numbers of people", "mask them, unless they are made up";
    Unreadable = "unreadable" in Completeness, counted true:
        "the line is no JSON object", "mend the line; `sftprep errors row.json` explains";
    MissingField = "missing_field" in Completeness, counted true:
        "a field is missing or null", "fill the field, or leave the row out";
    EmptyPrompt = "empty_prompt" in Completeness, counted true:
        "the prompt is empty", "fill the prompt, or leave the row out";
    EmptyAnswer = "empty_answer" in Completeness, counted true:
        "the answer is empty or blank", "fill the answer, or leave the row out";
    EmptyTurn = "empty_turn" in Completeness, counted true:
        "another message is empty or blank", "fill the message, or remove it";
    NoAnswer = "no_answer" in Completeness, counted true:
        "nobody answers", "add the answer, or leave the row out";
    EndsWithUser = "ends_with_user" in Completeness, counted true:
        "the last message is not the assistant's", "cut the conversation after the last answer";
    NothingTrained = "nothing_trained" in Completeness, counted true:
        "no token of the row would be trained", "leave the row out, or change what is trained";
    NotRendered = "not_rendered" in Completeness, counted true:
        "the chat template or the label rules refuse the row",
        "`sftprep explain DATA --row N` says why";
    TooLong = "too_long" in Completeness, counted true:
        "the row is longer than --max-len and would be dropped or cut",
        "raise --max-len, or split the row";
    Truncated = "truncated" in Completeness, counted false:
        "the answer may have been cut off (a ranking)",
        "read the first of the list; raise the token limit of the generator";
    Identical = "identical" in Uniqueness, counted true:
        "another row has the same text", "`sftprep dedup`";
    Normalised = "normalised" in Uniqueness, counted true:
        "another row has the same text but for case, white space and quotes", "`sftprep dedup`";
    Near = "near" in Uniqueness, counted true:
        "another row has nearly the same text", "`sftprep dedup`, after a look at the least alike";
    AcrossSources = "across_sources" in Uniqueness, counted false:
        "the duplicate is in another input", "`sftprep dedup` over all inputs at once";
    Leak = "leak" in Uniqueness, counted true:
        "the duplicate is on the other side of a train/test split",
        "`sftprep decontaminate TRAIN --against TEST`";
    RepeatedTurn = "repeated_turn" in Uniqueness, counted true:
        "a question and its answer are there twice in the row", "remove the repetition";
    NoInputMarker = "no_input_marker" in ConsistentRepresentation, counted true:
        "a marker such as <noinput> stands for an empty input", "make the input empty";
    UnknownRole = "unknown_role" in ConsistentRepresentation, counted true:
        "a message has a role that is not known", "map it with --role NAME=ROLE";
    WrongType = "wrong_type" in ConsistentRepresentation, counted true:
        "a field has another type than its format wants", "convert the field";
    RepeatedRole = "repeated_role" in ConsistentRepresentation, counted true:
        "two messages of one role follow each other", "join them, or add what is missing between";
    StartsWithAssistant = "starts_with_assistant" in ConsistentRepresentation, counted true:
        "the assistant speaks first", "remove the first message, or add the question";
    RolesSwapped = "roles_swapped" in ConsistentRepresentation, counted true:
        "user and assistant seem to be exchanged", "exchange the roles";
    LateSystem = "late_system" in ConsistentRepresentation, counted true:
        "a system message is not at the beginning", "move it to the beginning, or remove it";
    OtherScript = "other_script" in ConsistentRepresentation, counted true:
        "the answer is in another script than the prompt, which does not ask for it",
        "answer in the language of the prompt";
    OpenFence = "open_fence" in ConsistentRepresentation, counted true:
        "a code fence is opened and not closed", "close the fence";
    Identity = "identity" in ConsistentRepresentation, counted true:
        "the answer says that it is another model", "remove the sentence, or put your model's name";
    AiPhrase = "ai_phrase" in ConsistentRepresentation, counted false:
        "the answer speaks of itself as an AI", "remove the phrase unless it is wanted";
    Refusal = "refusal" in ClassBalance, counted false:
        "the answer refuses", "balance refusals: a few per cent of safety rows are enough";
    Swapped = "swapped" in TargetAccuracy, counted false:
        "the answer may belong to another prompt (a ranking)",
        "read the first of the list; a shifted column shows as a run of neighbouring lines";
}

/// Issues of a row, one bit each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct IssueSet(u64);

impl IssueSet {
    pub(super) fn add(&mut self, issue: Issue) {
        self.0 |= 1 << issue as u8;
    }

    pub(super) fn has(self, issue: Issue) -> bool {
        self.0 & (1 << issue as u8) != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Issue> {
        Issue::ALL
            .iter()
            .copied()
            .filter(move |issue| self.has(*issue))
    }

    /// Whether an issue that counts is of the dimension.
    pub(super) fn touches(self, dimension: Dimension) -> bool {
        self.iter()
            .any(|issue| issue.counted() && issue.dimension() == dimension)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_issue_has_a_bit_and_a_name_of_its_own() {
        assert!(Issue::ALL.len() <= 64);
        let mut names: Vec<&str> = Issue::ALL.iter().map(|issue| issue.name()).collect();
        names.extend(Dimension::ALL.map(Dimension::name));
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for (at, issue) in Issue::ALL.iter().enumerate() {
            let mut set = IssueSet::default();
            set.add(*issue);
            assert_eq!(set.iter().collect::<Vec<_>>(), [*issue], "{at}");
            assert!(!issue.fix().is_empty() && !issue.title().is_empty());
        }
    }
}
