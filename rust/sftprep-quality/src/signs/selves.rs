//! Phrases by which a model gives itself away, and words that prompts ask with.

use std::sync::LazyLock;

use super::phrases::PhraseSet;
use super::refusal::listed;
use crate::words::{Word, words};

/// Words with which a model speaks of itself.
const SELF: &str = "i am;i m;i was;my;as an ai;as a language model;as a large language model;as an \
    artificial intelligence;as an assistant";
/// What names the model's maker or the end of its data, wherever it stands after that.
const MAKERS: &str = "openai;chatgpt;anthropic;deepmind;deepseek;lmsys;vicuna;chatglm;gpt 3;gpt 3 5;\
    gpt 4;gpt 4o;mistral ai;alibaba cloud;tongyi;moonshot ai;zhipu;01 ai;stability ai;cohere;\
    trained by google;trained by meta;trained by microsoft;developed by google;developed by meta;\
    developed by microsoft;created by google;created by meta;created by microsoft;knowledge update;\
    knowledge cutoff;knowledge cut off;training cutoff;training cut off;training data only goes;\
    claude;bard;copilot";
/// Words between the two at most.
const NEAR: usize = 12;

static SELVES: LazyLock<(PhraseSet, PhraseSet)> =
    LazyLock::new(|| (PhraseSet::new(listed(SELF)), PhraseSet::new(listed(MAKERS))));

/// The word at which an answer says which model speaks, who made it, or when its data ends.
pub fn identity(words: &[Word]) -> Option<usize> {
    let (selves, makers) = &*SELVES;
    let mut named: Vec<usize> = Vec::new();
    makers.find(words, |_, at| named.push(at));
    if named.is_empty() {
        return None;
    }
    let mut spoken: Vec<usize> = Vec::new();
    selves.find(words, |_, at| spoken.push(at));
    named.into_iter().find(|&name| {
        let close = |&&at: &&usize| at < name && name - at <= NEAR;
        spoken.iter().any(|at| close(&at))
    })
}

/// Phrases that only an assistant says, whichever it is.
const AI_PHRASES: &str = "as an ai language;as an ai model;as an ai assistant;as an ai i;as an ai \
    developed;as an ai trained;as an ai created;as an ai my;as an ai it;as a language model;as a large \
    language model;as an artificial intelligence;i am an ai;i m an ai;i am just an ai;i m just an ai;\
    as a machine learning model;作为一个人工智能;作为一个ai;als ki;en tant qu ia;como modelo de \
    lenguaje;como una ia";

static AI: LazyLock<PhraseSet> = LazyLock::new(|| PhraseSet::new(listed(AI_PHRASES)));

/// The word at which an answer speaks of itself as an AI.
pub fn ai_phrase(words: &[Word]) -> Option<usize> {
    AI.first(words)
}

/// What answers say that were made by a model which could not answer.
const INCAPABLE: &str = "nooutput;no output;this type of instruction cannot;this instruction cannot be;\
    cannot be fulfilled by;can t be fulfilled by;cannot be completed by a;cannot be done by a gpt;a gpt \
    model cannot;the gpt model cannot;gpt models cannot;gpt models are not;gpt language models are not;\
    not possible for gpt;not suitable for gpt;beyond the capability of;beyond the capabilities of;sorry \
    the task;sorry this task;sorry this cannot;sorry this is not possible;unreliable generation;a \
    language model cannot;language models cannot";
/// Words in which it is said.
const SAID_WITHIN: usize = 40;

static INCAPABLES: LazyLock<PhraseSet> = LazyLock::new(|| PhraseSet::new(listed(INCAPABLE)));

/// The word at which an answer says that a model cannot give it.
pub fn incapable(words: &[Word]) -> Option<usize> {
    INCAPABLES.first(&words[..words.len().min(SAID_WITHIN)])
}

/// Words of prompts that may well be refused.
const DANGER: &str = "kill;killing;murder;bomb;bombs;explosive;explosives;weapon;weapons;gun;guns;\
    poison;drug;drugs;cocaine;heroin;meth;steal;stealing;hack;hacking;suicide;self harm;attack;rape;\
    sexual;porn;abuse;torture;terrorist;terrorism;racist;nazi;hitler;slur;slurs;illegal;fraud;scam;\
    launder;smuggle;counterfeit;blackmail;stalk;shoot;stab;hurt;harm;destroy;assault;genocide;\
    slave;slavery;malware;ransomware;phishing;credit card;password;passwords;nude;naked;hate;beat up";

static DANGERS: LazyLock<PhraseSet> = LazyLock::new(|| PhraseSet::new(listed(DANGER)));

/// Whether a prompt names something that an assistant may refuse to help with.
pub fn names_danger(prompt: &str) -> bool {
    has(&DANGERS, prompt)
}

/// Words with which another language is asked for.
const LANGUAGES: &str = "translate;translated;translation;translating;language;languages;chinese;\
    mandarin;cantonese;japanese;korean;russian;ukrainian;bulgarian;serbian;greek;arabic;persian;\
    farsi;urdu;hebrew;hindi;bengali;tamil;telugu;marathi;gujarati;punjabi;thai;lao;khmer;burmese;\
    georgian;armenian;kanji;hiragana;katakana;hangul;pinyin;cyrillic;alphabet;script;characters;\
    english;spanish;french;german;翻译;译成;翻譯;英文;英语;英語;переведи;перевод;번역;영어";

static ASKED: LazyLock<PhraseSet> = LazyLock::new(|| PhraseSet::new(listed(LANGUAGES)));

/// Whether a prompt asks for another language.
pub fn asks_for_language(prompt: &str) -> bool {
    has(&ASKED, prompt)
}

fn has(set: &PhraseSet, text: &str) -> bool {
    let mut out = Vec::new();
    words(text, &mut out);
    set.first(&out).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says_who(text: &str) -> bool {
        let mut out = Vec::new();
        words(text, &mut out);
        identity(&out).is_some()
    }

    #[test]
    fn who_speaks_is_no_mention_of_a_maker() {
        for text in [
            "I am ChatGPT, a large language model trained by OpenAI.",
            "As of my last knowledge update in September 2021, yes.",
            "As an AI language model developed by OpenAI, I think so.",
            "I'm Claude, made by Anthropic.",
        ] {
            assert!(says_who(text), "{text}");
        }
        for text in [
            "OpenAI was founded in 2015.",
            "Google and Microsoft compete.",
            "As an AI language model, I have no feelings.",
            "Bard means poet.",
        ] {
            assert!(!says_who(text), "{text}");
        }
    }
}
