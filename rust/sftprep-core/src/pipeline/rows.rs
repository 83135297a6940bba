//! The two ends of the map phase: chunks from the reader with the parser of their source, and
//! mapped rows into segment and ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::MappedRows;
use super::budget::RejectBudget;
use super::control::Control;
use super::map::{Mapped, MappedRow, Work};
use super::prepare::Prepared;
use super::recipe::Recipe;
use crate::config::{Overlong, PackConfig, PackingConfig, Strategy};
use crate::error::{Code, Error, Reject, Result};
use crate::format::{AlpacaInput, Format, FormatOptions, Parser, detect};
use crate::json::{self, JsonNotes};
use crate::label::truncate;
use crate::pack::Cuts;
use crate::shard::{DocMeta, LedgerRow, LedgerWriter, Outcome, OutputDir, SegmentWriter};
use crate::source::{InputDigest, InputFile, Reader};
use crate::types::{Chunk, Example, Record, SourceId};

/// Rows looked at to detect a format.
const DETECT_ROWS: usize = 100;

/// The parser for rows of a format under a recipe's options.
///
/// # Errors
/// `config.value` if a mapping names something that no format wants.
pub fn row_parser(recipe: &Recipe, format: Format) -> Result<Parser> {
    let source = &recipe.config.source;
    let alpaca = recipe
        .templates
        .as_ref()
        .is_ok_and(|t| t.builtin == Some("alpaca"));
    Parser::new(FormatOptions {
        map: source.map.clone(),
        roles: source.role.clone(),
        parts_raw: recipe.parts_raw(),
        alpaca_input: if alpaca {
            AlpacaInput::Field
        } else {
            AlpacaInput::Join
        },
        ..FormatOptions::new(format)
    })
}

/// Chunks in order, each with its source's parser.
pub(super) struct Sources<'r> {
    recipe: &'r Recipe,
    reader: Reader,
    control: &'r Control,
    current: Option<(SourceId, Arc<Parser>)>,
    formats: Vec<(String, String)>,
}

impl<'r> Sources<'r> {
    pub(super) fn new(recipe: &'r Recipe, reader: Reader, control: &'r Control) -> Self {
        Self {
            recipe,
            reader,
            control,
            current: None,
            formats: Vec::new(),
        }
    }

    /// The next chunk, or none after the last.
    pub(super) fn next(&mut self) -> Result<Option<Work>> {
        let Some(chunk) = self.reader.next_chunk()? else {
            return Ok(None);
        };
        self.control
            .bytes_read
            .store(self.reader.bytes_read(), Relaxed);
        let Some((place, _)) = chunk.rows.iter().next() else {
            // nothing but blank lines so far: any parser will do for no rows
            let parser = Arc::new(row_parser(self.recipe, Format::Text)?);
            return Ok(Some(Work { chunk, parser }));
        };
        let parser = match &self.current {
            Some((source, parser)) if *source == place.source => Arc::clone(parser),
            _ => self.parser_of(place.source, &chunk)?,
        };
        Ok(Some(Work { chunk, parser }))
    }

    fn parser_of(&mut self, source: SourceId, chunk: &Chunk) -> Result<Arc<Parser>> {
        let file = &self.reader.files()[source as usize];
        let (format, evidence) = match Format::chosen(self.recipe.config.source.format) {
            Some(format) => (format, "chosen with --format".to_owned()),
            None => match first_rows(chunk) {
                rows if rows.is_empty() => (Format::Messages, "no readable row".to_owned()),
                rows => {
                    let found = detect(&rows, &self.recipe.config.source.map)
                        .map_err(|error| error.at_path(&file.path))?;
                    (found.format, found.evidence)
                }
            },
        };
        while self.formats.len() <= source as usize {
            self.formats.push((String::new(), "no row".to_owned()));
        }
        self.formats[source as usize] = (format.name().to_owned(), evidence);
        let parser = Arc::new(row_parser(self.recipe, format)?);
        self.current = Some((source, Arc::clone(&parser)));
        Ok(parser)
    }

    /// What was read, and the format of each source.
    pub(super) fn finish(mut self) -> (Vec<InputDigest>, Vec<(String, String)>) {
        // a row limit may leave inputs untouched; they are listed all the same, without a hash
        let read = self.reader.finished();
        let digest = |(source, file): (usize, &InputFile)| {
            let source = source as SourceId;
            let found = read.iter().find(|digest| digest.source == source).cloned();
            found.unwrap_or_else(|| InputDigest {
                source,
                name: file.name.clone(),
                path: file.path.clone(),
                bytes: file.bytes,
                blake3: None,
                rows: 0,
            })
        };
        let inputs = self.reader.files().iter().enumerate().map(digest).collect();
        self.formats.resize(
            self.reader.files().len(),
            (String::new(), "no row".to_owned()),
        );
        (inputs, self.formats)
    }
}

fn first_rows(chunk: &Chunk) -> Vec<sftprep_template::Data> {
    let mut notes = JsonNotes::default();
    let read = |record| match record {
        Record::Json(bytes) => json::parse(bytes, &mut notes).ok(),
        Record::Data(row) => Some(row.clone()),
        Record::Unreadable(_) => None,
    };
    chunk
        .rows
        .iter()
        .take(DETECT_ROWS)
        .map(|(_, record)| record)
        .filter_map(read)
        .collect()
}

/// Counts that are not part of the ledger.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Object keys that occurred twice in one object; the last one won.
    pub duplicate_keys: u64,
    /// Rows whose text spelled a control token.
    pub control_text_rows: u64,
    /// Tokens that straddle the edge of a trained span, and are not trained.
    pub straddling_tokens: u64,
    /// Spans in the segment.
    pub spans: u64,
    /// Rows that became one sample per turn.
    pub expanded_rows: u64,
    /// Samples that they became.
    pub expanded_samples: u64,
    /// Trained turns of which the template left out a field, by field.
    pub dropped_fields: BTreeMap<String, u64>,
    /// Trained turns by how their start was proven.
    pub turns_by_method: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Counts a row's samples.
    fn add(&mut self, samples: &[Prepared]) {
        self.control_text_rows += u64::from(samples.iter().any(|it| it.control_text));
        if samples.iter().any(|it| it.turn.is_some()) {
            self.expanded_rows += 1;
            self.expanded_samples += samples.len() as u64;
        }
        for sample in samples {
            for field in &sample.dropped {
                *self.dropped_fields.entry(field.clone()).or_default() += 1;
            }
            for (_, method) in &sample.methods {
                *self.turns_by_method.entry(method).or_default() += 1;
            }
        }
    }
}

/// Takes mapped rows in input order.
pub(super) struct RowSink<'a> {
    packing: PackingConfig,
    /// Paths of the sources, as errors show them.
    paths: &'a [String],
    control: &'a Control,
    budget: RejectBudget,
    ledger: LedgerWriter,
    segment: SegmentWriter,
    cuts: Cuts,
    counts: Counts,
}

impl<'a> RowSink<'a> {
    pub(super) fn create(
        config: &PackConfig,
        names: &[String],
        paths: &'a [String],
        control: &'a Control,
        output: &OutputDir,
    ) -> Result<Self> {
        let excerpts = config.output.reject_excerpts;
        Ok(Self {
            packing: config.pack.clone(),
            paths,
            control,
            budget: RejectBudget::new(config.source.max_reject_rate),
            ledger: LedgerWriter::create(&output.files(), names, excerpts)?,
            segment: SegmentWriter::create(&output.scratch())?,
            cuts: Cuts::new(config.pack.strategy, config.pack.max_len),
            counts: Counts::default(),
        })
    }

    /// Writes the rows of a chunk into segment and ledger.
    pub(super) fn take(&mut self, mapped: Mapped) -> Result<()> {
        self.counts.duplicate_keys += mapped.duplicate_keys;
        for row in mapped.rows {
            self.ledger.rows_read(row.place.source, 1)?;
            self.row(row)?;
        }
        Ok(())
    }

    fn row(&mut self, row: MappedRow) -> Result<()> {
        let MappedRow {
            place,
            result,
            excerpt,
        } = row;
        let text = excerpt.as_deref().unwrap_or_default();
        self.control.rows.fetch_add(1, Relaxed);
        let samples = match result {
            Ok(samples) => samples,
            Err(reject) => {
                self.control.rejected.fetch_add(1, Relaxed);
                let outcome = Outcome::Rejected(&reject);
                self.ledger.append(&LedgerRow {
                    place,
                    encoded: 0,
                    outcome,
                    text,
                })?;
                let paths = self.paths;
                let shown = || format!("{}:{}", paths[place.source as usize], place.line);
                return self.budget.count(Some(&reject), shown);
            }
        };
        self.budget.count(None, String::new)?;
        self.counts.add(&samples);
        let length = |sample: &Prepared| sample.example.input_ids.len() as u64;
        let encoded: u64 = samples.iter().map(length).sum();
        self.control.tokens.fetch_add(encoded, Relaxed);
        let (mut tokens, mut trained, mut documents) = (0, 0, 0);
        let mut too_long = None;
        for (part, sample) in samples.into_iter().enumerate() {
            match self.fit(sample) {
                Fitted::Whole(sample) => {
                    let part = part as u32;
                    tokens += length(&sample);
                    trained += self.append(&sample, DocMeta { place, part })?;
                    documents += 1;
                }
                Fitted::Left(reject) if self.packing.overlong == Overlong::Error => {
                    return Err(Error::new(Code::PackOverlong, reject.detail)
                        .at_path(&self.paths[place.source as usize])
                        .at_line(place.line)
                        .hint("raise --max-len, or choose --overlong drop or truncate"));
                }
                Fitted::Left(reject) => too_long = Some(reject),
            }
        }
        let cut = (tokens < encoded).then_some((Code::PackOverlong, encoded - tokens));
        let outcome = match &too_long {
            Some(reject) if documents == 0 => {
                self.control.dropped.fetch_add(1, Relaxed);
                Outcome::Dropped(reject)
            }
            _ => Outcome::Packed {
                tokens,
                trained,
                documents,
                cut,
            },
        };
        self.ledger.append(&LedgerRow {
            place,
            encoded,
            outcome,
            text,
        })
    }

    /// Applies the policy for documents longer than a sequence.
    fn fit(&self, mut prepared: Prepared) -> Fitted {
        let max_len = self.packing.max_len;
        let tokens = prepared.example.input_ids.len();
        let splits = matches!(
            self.packing.strategy,
            Strategy::BfdSplit | Strategy::Wrapped
        );
        if tokens <= max_len as usize || splits {
            return Fitted::Whole(prepared);
        }
        let too_long = format!("{tokens} tokens, more than max_len {max_len}");
        if self.packing.overlong != Overlong::Truncate {
            return Fitted::Left(Reject::new(Code::PackOverlong, too_long));
        }
        truncate(&mut prepared.example, max_len);
        if prepared.example.trained_tokens() == 0 {
            let detail = format!("{too_long}, and no whole trained turn is left after truncation");
            return Fitted::Left(Reject::new(Code::PackOverlong, detail));
        }
        Fitted::Whole(prepared)
    }

    /// Appends a document to the segment; returns how many of its tokens get a label.
    fn append(&mut self, sample: &Prepared, meta: DocMeta) -> Result<u64> {
        let example = &sample.example;
        let trained = self.labelled_tokens(example);
        self.segment.append(example, meta)?;
        self.counts.spans += example.spans.len() as u64;
        self.counts.straddling_tokens +=
            example.spans.iter().filter(|span| span.straddles).count() as u64;
        self.control.trained_tokens.fetch_add(trained, Relaxed);
        Ok(trained)
    }

    /// Tokens of a document that get a label: the first token of a piece that the strategy will
    /// cut off has none.
    fn labelled_tokens(&mut self, example: &Example) -> u64 {
        let is_trained = |token: &u32| {
            let at = example.spans.partition_point(|span| span.end <= *token);
            example.spans.get(at).is_some_and(|span| span.trained)
        };
        let cuts = self.cuts.next(example.input_ids.len() as u32);
        let lost = cuts.filter(|token| *token > 0 && is_trained(token)).count() as u64;
        u64::from(example.trained_tokens()) - lost
    }

    /// Ends segment and ledger; the ledger must balance.
    pub(super) fn finish(
        self,
        inputs: Vec<InputDigest>,
        formats: Vec<(String, String)>,
    ) -> Result<MappedRows> {
        if self.ledger.totals().all().rows == 0 {
            return Err(Error::new(Code::SourceEmpty, "the inputs hold no row")
                .at_path(self.paths.join(", "))
                .hint("check that the path is the one you meant"));
        }
        self.budget.judge()?;
        // whoever allows every row to be rejected gets the ledger of it, and no shard
        if self.segment.lengths().is_empty() && self.budget.max_rate() < 1.0 {
            let all = self.ledger.totals().all();
            let message = format!(
                "of {} rows, {} were rejected and {} dropped",
                all.rows,
                all.rows_rejected(),
                all.rows_dropped()
            );
            return Err(Error::new(Code::RunNothingPacked, message)
                .hint("see the reasons with --dry-run --reject-excerpts, or raise --max-len"));
        }
        Ok(MappedRows {
            segment: self.segment.finish()?,
            ledger: self.ledger.finish()?,
            inputs,
            formats,
            counts: self.counts,
        })
    }
}

enum Fitted {
    Whole(Prepared),
    Left(Reject),
}
