//! Duplicates: against brute force, on real rows, in any order, and not fooled by templates.

#![allow(clippy::unwrap_used, clippy::print_stderr)] // tests

mod support;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use sftprep_quality::{
    DedupRules, Document, Fate, Keep, Likeness, MinHash, Shingler, SketchedDedup, dedup, jaccard,
    similar_pairs,
};
use support::{alpaca, rows, text};

const PLANTED: &str = "quality/planted/alpaca_10k.jsonl.gz";
const TRUTH: &str = "quality/planted/alpaca_10k.truth.jsonl.gz";

fn documents<S: AsRef<str>>(texts: &[S]) -> Vec<Document> {
    let mut shingler = Shingler::default();
    let document = |text: &S| shingler.document(text.as_ref());
    texts.iter().map(document).collect()
}

fn sets(documents: &[Document]) -> Vec<Vec<u64>> {
    documents.iter().map(|each| each.shingles.clone()).collect()
}

/// The join as anybody would write it.
fn all_pairs(sets: &[Vec<u64>], threshold: f64) -> Vec<(u32, u32, f64)> {
    let mut pairs = Vec::new();
    for (a, x) in sets.iter().enumerate() {
        for (b, y) in sets.iter().enumerate().skip(a + 1) {
            let score = jaccard(x, y);
            if score >= threshold - 1e-12 {
                pairs.push((a as u32, b as u32, score));
            }
        }
    }
    pairs
}

/// The decisions as anybody would write them, without the rule on common n-grams.
fn brute_fates(documents: &[Document], rules: &DedupRules) -> Vec<Fate> {
    let mut order: Vec<usize> = (0..documents.len()).collect();
    if rules.keep == Keep::Longest {
        order.sort_by_key(|&at| (u64::MAX - documents[at].bytes, documents[at].content, at));
    }
    let mut fates = vec![Fate::Kept; documents.len()];
    let mut kept: Vec<usize> = Vec::new();
    let mut firsts: BTreeMap<u128, usize> = BTreeMap::new();
    for at in order {
        let this = &documents[at];
        if let Some(&first) = firsts.get(&this.normal) {
            let likeness = if documents[first].content == this.content {
                Likeness::Identical
            } else {
                Likeness::Normalised
            };
            fates[at] = match fates[first] {
                Fate::Kept => Fate::Dropped {
                    partner: first as u32,
                    likeness,
                    score: 1.0,
                },
                dropped @ Fate::Dropped { .. } => dropped,
            };
            continue;
        }
        firsts.insert(this.normal, at);
        let mut best: Option<(usize, f64)> = None;
        for &other in &kept {
            let score = jaccard(&this.shingles, &documents[other].shingles);
            if score >= rules.near.unwrap() - 1e-12 && best.is_none_or(|(_, known)| score > known) {
                best = Some((other, score));
            }
        }
        match best {
            Some((partner, score)) => {
                fates[at] = Fate::Dropped {
                    partner: partner as u32,
                    likeness: Likeness::Near,
                    score,
                };
            }
            None => kept.push(at),
        }
    }
    fates
}

fn dropped(fates: &[Fate]) -> usize {
    fates.iter().filter(|fate| **fate != Fate::Kept).count()
}

#[test]
fn join_and_decisions_equal_brute_force_on_5000_rows() {
    let Some(rows) = rows(PLANTED) else { return };
    let texts: Vec<String> = rows.iter().take(5_000).map(alpaca).collect();
    let documents = documents(&texts);
    let sets = sets(&documents);
    let wide = all_pairs(&sets, 0.5);
    for threshold in [0.5, 0.7, 0.9] {
        let reaches = |pair: &&(u32, u32, f64)| pair.2 >= threshold - 1e-12;
        let truth: Vec<_> = wide.iter().filter(reaches).copied().collect();
        assert!(truth.len() > 50, "the rows must hold similar pairs");
        assert_eq!(similar_pairs(&sets, threshold), truth, "at {threshold}");
    }
    let rules = DedupRules {
        near: Some(0.7),
        keep: Keep::Longest,
        common: 0,
    };
    assert_eq!(dedup(&documents, &rules), brute_fates(&documents, &rules));
}

#[test]
fn planted_duplicates_are_found() {
    let (Some(rows), Some(truth)) = (rows(PLANTED), rows(TRUTH)) else {
        return;
    };
    let texts: Vec<String> = rows.iter().map(alpaca).collect();
    let documents = documents(&texts);
    let ids: BTreeMap<&str, usize> = rows.iter().map(|row| text(row, "id")).zip(0..).collect();
    let near = DedupRules {
        near: Some(0.7),
        ..DedupRules::default()
    };
    let fates = dedup(&documents, &near);
    let exact = dedup(&documents, &DedupRules { near: None, ..near });
    let root = |fates: &[Fate], at: usize| match fates[at] {
        Fate::Kept => at,
        Fate::Dropped { partner, .. } => partner as usize,
    };
    let (mut pairs, mut found) = (0, 0);
    for line in &truth {
        let kind = text(line, "defect");
        let Some(&b) = ids.get(text(line, "partner")) else {
            continue;
        };
        let a = ids[text(line, "id")];
        match kind {
            // a planted row counts once, whichever of the two is kept
            "exact_dup" | "format_dup" => {
                assert_eq!(root(&exact, a), root(&exact, b), "{kind} {line}");
                assert!(root(&fates, a) == root(&fates, b), "{kind} {line}");
            }
            "near_dup" if jaccard(&documents[a].shingles, &documents[b].shingles) >= 0.7 => {
                pairs += 1;
                found += usize::from(root(&fates, a) == root(&fates, b));
            }
            _ => {}
        }
    }
    eprintln!(
        "near-duplicates in one group: {found} of {pairs}; {} dropped",
        dropped(&fates)
    );
    assert!(
        pairs > 200,
        "only {pairs} planted pairs reach the threshold"
    );
    assert!(
        found as f64 >= 0.999 * f64::from(pairs),
        "{found} of {pairs}"
    );
    for (at, fate) in fates.iter().enumerate() {
        let Fate::Dropped {
            partner,
            likeness,
            score,
        } = *fate
        else {
            continue;
        };
        let other = &documents[partner as usize];
        assert_eq!(fates[partner as usize], Fate::Kept, "a partner is alive");
        assert!(score >= 0.7, "{score}");
        if likeness == Likeness::Near && jaccard(&documents[at].shingles, &other.shingles) < 0.7 {
            // it equals a row of which the score is true
            let same = (0..documents.len())
                .find(|&b| b != at && documents[b].normal == documents[at].normal);
            assert!(same.is_some(), "row {at} is no near-duplicate of {partner}");
        }
    }
}

#[test]
fn order_of_input_does_not_matter() {
    let Some(rows) = rows(PLANTED) else { return };
    let texts: Vec<String> = rows.iter().map(alpaca).collect();
    let contents = |texts: &[String]| {
        let documents = documents(texts);
        let fates = dedup(&documents, &DedupRules::default());
        let kept = documents
            .iter()
            .zip(&fates)
            .filter(|(_, fate)| **fate == Fate::Kept);
        let kept: BTreeSet<u128> = kept.map(|(document, _)| document.content).collect();
        (kept, dropped(&fates))
    };
    let mut shuffled = texts.clone();
    let mut state = 7_u64;
    for at in (1..shuffled.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        shuffled.swap(at, (state >> 33) as usize % (at + 1));
    }
    assert_ne!(texts, shuffled);
    assert_eq!(contents(&texts), contents(&shuffled));
}

#[test]
fn rows_of_one_template_are_not_merged() {
    let (Some(questions), Some(train)) = (
        rows("quality/flan/cot_strategyqa.jsonl.gz"),
        rows("quality/gsm8k/openai_train_first3700.jsonl.gz"),
    ) else {
        return;
    };
    let flan = questions.iter().map(|row| row[0].as_str().unwrap());
    let facts: BTreeSet<&str> = flan
        .chain(train.iter().map(|row| text(row, "question")))
        .collect();
    let facts: Vec<&str> = facts.into_iter().filter(|fact| fact.len() < 120).collect();
    let template = |fact: &str| {
        format!(
            "You are given a question from a collection of exam questions. Read the question \
             carefully, think about it step by step before you answer, do not make use of any \
             knowledge that is not common, and do not guess. When you are done, write the final \
             answer on a line of its own, beginning with the word Answer and a colon, so that it \
             can be read by a program. Do not write anything after the final answer. If the \
             question cannot be answered, say so, and say what is missing to answer the question. \
             \n\nQuestion: {fact}\n\nOptions:\n- yes\n- no\n\nNow think step by step."
        )
    };
    let texts: Vec<String> = facts.iter().map(|fact| template(fact)).collect();
    let documents = documents(&texts);
    let naive = DedupRules {
        common: 0,
        near: Some(0.7),
        ..DedupRules::default()
    };
    let aware = DedupRules {
        common: 50,
        ..naive
    };
    let facts_alone = dedup(&self::documents(&facts), &naive);
    let (merged, left) = (
        dropped(&dedup(&documents, &naive)),
        dropped(&dedup(&documents, &aware)),
    );
    eprintln!(
        "{} rows: {merged} merged without, {left} with the rule",
        texts.len()
    );
    assert!(
        texts.len() > 2_000 && merged > texts.len() / 2,
        "the template must tempt"
    );
    assert!(left <= dropped(&facts_alone), "{left} false merges");
}

#[test]
fn copies_in_another_format_match() {
    let (Some(original), Some(flan)) = (
        rows("quality/gsm8k/openai_train_first3700.jsonl.gz"),
        rows("quality/gsm8k/flan_cot_first3700.jsonl.gz"),
    ) else {
        return;
    };
    let questions = |rows: &[serde_json::Value]| -> Vec<String> {
        rows.iter()
            .map(|row| text(row, "question").to_owned())
            .collect()
    };
    let (original, flan) = (questions(&original), questions(&flan));
    let known: BTreeSet<u128> = documents(&original)
        .iter()
        .map(|each| each.normal)
        .collect();
    let matched = documents(&flan)
        .iter()
        .filter(|each| known.contains(&each.normal))
        .count();
    let both = [original, flan.clone()].concat();
    let fates = dedup(
        &documents(&both),
        &DedupRules {
            keep: Keep::First,
            ..DedupRules::default()
        },
    );
    let gone = fates[both.len() - flan.len()..]
        .iter()
        .filter(|fate| **fate != Fate::Kept)
        .count();
    eprintln!(
        "{matched} of {} equal after normalising, {gone} dropped",
        flan.len()
    );
    assert!(gone as f64 >= 0.999 * flan.len() as f64);
}

#[test]
fn sketches_find_what_the_join_finds() {
    let Some(rows) = rows(PLANTED) else { return };
    let texts: Vec<String> = rows.iter().map(alpaca).collect();
    let documents = documents(&texts);
    let sets = sets(&documents);
    let truth = similar_pairs(&sets, 0.7);
    let bands = MinHash::new(0.7);
    let mut keys = Vec::new();
    let names: Vec<u32> = (0..sets.len() as u32)
        .filter(|at| !sets[*at as usize].is_empty())
        .collect();
    for name in &names {
        bands.keys(&sets[*name as usize], &mut keys);
    }
    let candidates: BTreeSet<(u32, u32)> = bands.candidates(&names, &keys).into_iter().collect();
    let found = truth
        .iter()
        .filter(|pair| candidates.contains(&(pair.0, pair.1)))
        .count();
    eprintln!(
        "{found} of {} pairs among {} candidates",
        truth.len(),
        candidates.len()
    );
    assert!(found as f64 >= 0.999 * truth.len() as f64);

    let rules = DedupRules {
        near: Some(0.7),
        common: 0,
        keep: Keep::Longest,
    };
    let mut sketched = SketchedDedup::new(rules);
    for document in &documents {
        sketched.push(document);
    }
    let wanted = sketched.candidates();
    let again: Vec<Vec<u64>> = wanted
        .documents
        .iter()
        .map(|at| sets[*at as usize].clone())
        .collect();
    let (sketched, exact) = (sketched.finish(&wanted, &again), dedup(&documents, &rules));
    let differing = sketched.iter().zip(&exact).filter(|(a, b)| a != b).count();
    assert!(
        differing <= dropped(&exact) / 1000 + 1,
        "{differing} decisions differ"
    );
}

#[test]
fn odd_documents_do_no_harm() {
    let texts = ["", " \n", "?", "?", "a", "A", "a b", "!!", "a b c", "🙂"];
    let fates = dedup(&documents(&texts), &DedupRules::default());
    let kept: Vec<bool> = fates.iter().map(|fate| *fate == Fate::Kept).collect();
    // rows without text stay; of equal rows one does
    assert!(kept[0] && kept[1]);
    assert_eq!(dropped(&fates), 2, "{fates:?}");
    assert!(dedup(&[], &DedupRules::default()).is_empty());
}

proptest! {
    #[test]
    fn join_equals_brute_force(
        sets in prop::collection::vec(prop::collection::btree_set(0_u64..40, 0..12), 0..40),
        threshold in prop::sample::select(vec![0.1, 0.34, 0.5, 2.0 / 3.0, 0.75, 0.8, 1.0]),
    ) {
        let sets: Vec<Vec<u64>> = sets.into_iter().map(|set| set.into_iter().collect()).collect();
        let truth: Vec<_> = all_pairs(&sets, threshold);
        prop_assert_eq!(similar_pairs(&sets, threshold), truth);
    }

    #[test]
    fn decisions_equal_brute_force(
        texts in prop::collection::vec("[ab]{0,2}( [a-cA]{1,2}){0,6}", 0..30),
        first in any::<bool>(),
    ) {
        let documents = documents(&texts);
        let keep = if first { Keep::First } else { Keep::Longest };
        let rules = DedupRules { near: Some(0.6), keep, common: 0 };
        let fates = dedup(&documents, &rules);
        for fate in &fates {
            if let Fate::Dropped { partner, .. } = fate {
                prop_assert_eq!(fates[*partner as usize], Fate::Kept);
            }
        }
        if texts.iter().all(|text| !text.trim().is_empty()) {
            prop_assert_eq!(fates, brute_fates(&documents, &rules));
        }
    }

    #[test]
    fn any_text_has_words_inside_it(text in any::<String>()) {
        let mut words = Vec::new();
        sftprep_quality::words(&text, &mut words);
        for word in words {
            prop_assert!(text.get(word.start as usize..word.end as usize).is_some());
            prop_assert!(word.start < word.end);
        }
    }
}
