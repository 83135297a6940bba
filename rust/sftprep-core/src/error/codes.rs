//! The list of all codes, each with the page that `sftprep errors CODE` prints.

/// The page of one code: why it happens, an example that provokes it, and how to mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// Why it happens.
    pub cause: &'static str,
    /// The smallest thing that provokes it.
    pub example: &'static str,
    /// What to do.
    pub fix: &'static str,
}

macro_rules! codes {
    ($($variant:ident = $name:literal { $cause:literal, $example:literal, $fix:literal })*) => {
        /// A stable error or reject code; the first word says which stage it belongs to.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code { $(#[doc = $cause] $variant,)* }

        impl Code {
            /// Every code, in the order of the straight line.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The code as users see it, such as `row.json`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// Cause, example and fix.
            pub const fn page(self) -> Page {
                match self {
                    $(Code::$variant => Page { cause: $cause, example: $example, fix: $fix },)*
                }
            }
        }
    };
}

codes! {
    ConfigValue = "config.value" {
        "An option has a value outside its range or its list.",
        "sftprep pack data.jsonl --max-len 0 --out packs/",
        "Use a value that `sftprep pack --help` allows." }
    ConfigUnknown = "config.unknown" {
        "A configuration file has a key that does not exist.",
        "{\"pack\": {\"max_length\": 4096}}",
        "Correct the key; the message lists the keys of that section." }
    SourceMissing = "source.missing" {
        "An input path or pattern matches no file.",
        "sftprep pack nowhere.jsonl --out packs/",
        "Correct the path; quote patterns so that the shell leaves them alone." }
    SourceKind = "source.kind" {
        "An input file is of a kind that sftprep does not read.",
        "sftprep pack data.xlsx --out packs/",
        "Give .jsonl, .json, .parquet or .arrow, each also with .gz or .zst." }
    SourceUnreadable = "source.unreadable" {
        "The operating system refused to read an input.",
        "a file without read permission",
        "Check the permissions and the disk, then run again." }
    SourceTruncated = "source.truncated" {
        "A compressed or columnar input ends before its end.",
        "head -c 1000 data.jsonl.gz > cut.jsonl.gz",
        "Fetch the file again; its last bytes are missing." }
    SourceCorrupt = "source.corrupt" {
        "An input's container is damaged (bad checksum, bad footer, bad header).",
        "a .parquet file with overwritten bytes",
        "Fetch the file again, or rewrite it with the tool that made it." }
    SourceBomb = "source.bomb" {
        "A compressed input expands more than 1000-fold, as only a hostile file does.",
        "10 GB of zeros in a 10 MB .gz",
        "Unpack the file yourself if you trust it." }
    SourceEmpty = "source.empty" {
        "The inputs together hold no row.",
        "sftprep pack empty.jsonl --out packs/",
        "Check that the path is the one you meant." }
    SourceChanged = "source.changed" {
        "An input changed while it was being read.",
        "appending to data.jsonl during the run",
        "Let the writer finish, then run again." }
    RowJson = "row.json" {
        "A line is not valid JSON.",
        "{\"messages\": [,]}",
        "Mend the line; the message says at which column parsing stopped." }
    RowEncoding = "row.encoding" {
        "A line is not valid UTF-8, or holds a lone surrogate escape such as \\ud800.",
        "{\"text\": \"\\ud800\"}",
        "Re-encode the file as UTF-8; sftprep never replaces characters." }
    RowDepth = "row.depth" {
        "A row is nested deeper than 128 levels.",
        "[[[[…]]]]",
        "Flatten the row." }
    RowTooLong = "row.too_long" {
        "A line is longer than the limit (64 MiB unless --max-line-bytes says otherwise).",
        "a file without any newline",
        "Check that the file is JSON Lines; raise --max-line-bytes if it is." }
    RowNotObject = "row.not_object" {
        "A row is valid JSON but not an object.",
        "[1, 2, 3]",
        "Write one JSON object per line." }
    FormatUnknown = "format.unknown" {
        "No known SFT format fits the rows of an input.",
        "{\"foo\": 1}",
        "Name the format with --format, or map your columns with --map." }
    FormatMissing = "format.missing" {
        "A row lacks a field that its format needs.",
        "{\"instruction\": \"Add.\"} in an alpaca file",
        "Add the field, or map another column onto it with --map." }
    FormatType = "format.type" {
        "A field has another JSON type than its format wants.",
        "{\"messages\": \"hello\"}",
        "Correct the value; the message names the type seen and the type wanted." }
    FormatRole = "format.role" {
        "A message has a role that is not known.",
        "{\"role\": \"narrator\", \"content\": \"…\"}",
        "Map it with --role narrator=system, or correct the row." }
    FormatEmpty = "format.empty" {
        "A row has no message, or an empty text.",
        "{\"messages\": []}",
        "Remove the row, or fill it." }
    FormatJsonString = "format.json_string" {
        "A field that holds JSON as a string (tools, tool-call arguments) does not parse.",
        "{\"tools\": \"[{\"}",
        "Correct the JSON inside the string." }
    FormatTokens = "format.tokens" {
        "A pretokenized row has ids outside the vocabulary, or labels that do not fit.",
        "{\"input_ids\": [1, 2], \"labels\": [1]}",
        "Give one label (or mask value) per id, and ids of this tokenizer." }
    FormatNoThread = "format.no_thread" {
        "The rules on message trees leave nothing of the tree.",
        "a tree whose prompt was deleted, or is in another language than --tree lang=en",
        "Nothing if the rules are meant; they are given with --tree." }
    FormatFlat = "format.flat" {
        "The rows are single messages of trees, one per row; what belongs together is not known yet.",
        "an export of Open Assistant with message_id and parent_id in every row",
        "Put them together: sftprep trees messages.jsonl --out trees.jsonl" }
    FormatOrphan = "format.orphan" {
        "A message has no place in its tree: its parent is not there, or it is there already.",
        "a message whose parent_id is in no row, under `sftprep trees`",
        "Give all files of the export at once; what is left has lost its beginning." }
    FormatScattered = "format.scattered" {
        "Messages of one tree lie too far apart to be held until all are there.",
        "an export in order of date, larger than --hold",
        "Raise --hold, or sort the rows by message_tree_id." }
    TemplateMissing = "template.missing" {
        "The tokenizer has no chat template, and none was given.",
        "sftprep pack data.jsonl --tokenizer gpt2/ --out packs/",
        "Add --chat-template chatml (or a file)." }
    TemplateSyntax = "template.syntax" {
        "The chat template does not compile.",
        "{% if x %}",
        "Mend the template at the line shown." }
    TemplateUndefined = "template.undefined" {
        "The chat template uses something that is not there.",
        "{{ tools.name.x }}",
        "Add the field to the row, or pass it with --template-arg." }
    TemplateType = "template.type" {
        "The chat template applies an operation to a value of the wrong type.",
        "{{ 'a' + message.content }} where content is a list",
        "Check the row's field types; try --parts join for content lists." }
    TemplateRaised = "template.raised" {
        "The chat template itself refuses the row (raise_exception).",
        "a system message for a model without system role",
        "Correct the row, or use a template that supports it." }
    TemplateSecurity = "template.security" {
        "The chat template tries to leave its sandbox.",
        "{{ ''.__class__ }}",
        "Do not use this template." }
    TemplateLimit = "template.limit" {
        "The chat template ran past a limit on steps, output, recursion or range.",
        "{% for i in range(10**9) %}",
        "Do not use this template, or shorten the row." }
    TokenizerMissing = "tokenizer.missing" {
        "There is no tokenizer at the given place.",
        "sftprep pack data.jsonl --tokenizer nowhere/ --out packs/",
        "Give a folder with tokenizer.json, a tokenizer.json, a hub id or `builtin`." }
    TokenizerSentencepiece = "tokenizer.sentencepiece" {
        "The folder holds only a sentencepiece .model file.",
        "a folder with tokenizer.model and no tokenizer.json",
        "Convert it once: AutoTokenizer.from_pretrained(dir).save_pretrained(dir)." }
    TokenizerInvalid = "tokenizer.invalid" {
        "The tokenizer files do not load.",
        "a truncated tokenizer.json",
        "Fetch the tokenizer again." }
    TokenizerHub = "tokenizer.hub" {
        "A hub tokenizer could not be fetched.",
        "sftprep pack data.jsonl --tokenizer org/name --out packs/ (offline)",
        "Fetch it on a machine with network, or give a local folder." }
    TokenizerFailed = "tokenizer.failed" {
        "The tokenizer cannot encode a row.",
        "a text the tokenizer has no token for and no unknown token",
        "Use the tokenizer that belongs to the model." }
    LabelWindow = "label.window" {
        "Rule A: bytes of a turn lie among those of other messages, so its range is not known.",
        "a template that prints all messages once more at the end",
        "Use another template; `sftprep check-template` tries one on many shapes of conversation." }
    LabelPrompt = "label.prompt" {
        "Rule B: the template has no generation prompt, so nothing tells where an answer begins.",
        "a template that prints the same with and without add_generation_prompt",
        "Declare --assistant-header and --assistant-stop, or use another template." }
    LabelStart = "label.start" {
        "Rule C: text stands before an answer that no generation prompt accounts for.",
        "a template that writes the time before every answer",
        "Declare --assistant-header and --assistant-stop, or use another template." }
    LabelFieldLost = "label.field_lost" {
        "Rule D: the template does not print a field of an assistant message that has text in it.",
        "tool calls, for a template that knows none",
        "Use a template that prints it, or allow the loss: --dropped allow." }
    LabelStop = "label.stop" {
        "Rule E: it is not clear which stop token ends a turn.",
        "a template that writes it only once another turn follows",
        "Declare --assistant-header and --assistant-stop, or use another template." }
    LabelTags = "label.tags" {
        "Rule F: the template's generation tags hold text of another message.",
        "{% generation %} around a whole conversation",
        "Correct the tags, or use another template." }
    LabelNothingTrained = "label.nothing_trained" {
        "No token of the row would be trained.",
        "a conversation without an assistant message",
        "Remove such rows, or change what is trained." }
    LabelControlText = "label.control_text" {
        "A row's own text would become a control token.",
        "<|im_end|> in a user message under --special-text refuse",
        "Clean the row, or choose --special-text as_text." }
    LabelSeveral = "label.several" {
        "The row becomes several samples, and one was asked for.",
        "Encoder.encode on a row whose template leaves out the reasoning of earlier turns",
        "Call Encoder.encode_samples, which gives all of them, or choose history=\"allow\"." }
    PackOverlong = "pack.overlong" {
        "A row is longer than max_len tokens.",
        "a 10,000-token conversation with --max-len 4096",
        "Raise --max-len, or choose another --overlong." }
    MixNotDrawn = "mix.not_drawn" {
        "A row of a dataset was not drawn for a mixture.",
        "sftprep mix-shards a/=0.7 b/=0.3 --out mixed/",
        "Nothing is wrong: the datasets have more trained tokens than the shares take." }
    MixCapped = "mix.capped" {
        "A row is beyond those that a source is drawn from.",
        "sftprep mix a.jsonl=0.7 b.jsonl=0.3 --cap-per-source 3000 --out mixed.jsonl",
        "Nothing is wrong; raise --cap-per-source to draw from more rows." }
    MixNoSize = "mix.no_size" {
        "A row has no tokens to count: it does not fit its format, or nothing of it is trained.",
        "sftprep mix --unit trained_tokens with a row without an answer",
        "Look at the row; the ledger says what is wrong with it." }
    QualityIdentical = "quality.identical" {
        "Another row has the same text; that one is kept.",
        "a file that was concatenated with itself, under `sftprep dedup`",
        "Nothing; the ledger names the row that is kept." }
    QualityNormalised = "quality.normalised" {
        "Another row has the same text but for letter case, white space or the shape of quotes.",
        "\"What is  two?\" beside \"what is two?\", under `sftprep dedup`",
        "Nothing; the ledger names the row that is kept." }
    QualityNear = "quality.near" {
        "Another row shares most of its word 3-grams (Jaccard similarity at the threshold or above).",
        "two rows that differ in a word, under `sftprep dedup`",
        "Raise --threshold if rows go that should stay; the ledger has partner and score." }
    QualityRougeL = "quality.rouge_l" {
        "Another row has most words in the same order (F1 of ROUGE-L above the threshold).",
        "two instructions that differ in a word, under `sftprep dedup --method rouge-l`",
        "Raise --threshold if rows go that should stay; the ledger has partner and score." }
    QualityMerged = "quality.merged" {
        "The row was replaced by one that is merged of it and another row.",
        "the first row of a pair, under sftprep.quality.mergeit",
        "Nothing; the ledger names the other row." }
    QualityMergedAway = "quality.merged_away" {
        "The row is part of a merged row, which stands in the place of another one.",
        "the second row of a pair, under sftprep.quality.mergeit",
        "Nothing; the ledger names the row in whose place the merged one stands." }
    QualityNotMerged = "quality.not_merged" {
        "The row was to be merged with another one, and no merged row was good enough: both stay.",
        "a model that gives no JSON, under sftprep.quality.mergeit",
        "See the detail for the last try; raise tries, or mend the function that merges." }
    QualityLeak = "quality.leak" {
        "The row contains an item of a test set (containment of its word n-grams).",
        "a question of exam.jsonl inside a row, under `sftprep decontaminate --against exam.jsonl`",
        "Nothing; raise --containment if rows go that should stay; the ledger names item and place." }
    SelectNoScore = "select.no_score" {
        "The row has no value in a column that a step of `select` needs.",
        "a row without the column of --min score=4.5",
        "Score the row, or name the column that the rows have; the ledger says what is missing." }
    SelectBounds = "select.bounds" {
        "The row's score is outside the bounds that were asked for.",
        "a score of 4.0 under `sftprep select --min score=4.5`",
        "Nothing; the ledger has the score. Move the bound if rows go that should stay." }
    SelectRank = "select.rank" {
        "The row is not among the best that were asked for.",
        "`sftprep select --top score=10%`",
        "Nothing; the ledger has the score and the place. Ask for more rows if too many go." }
    SelectNotListed = "select.not_listed" {
        "The row is not on the list of rows that was given.",
        "a step rows of `sftprep select` with a published list",
        "Nothing; mend the list if the row should stay." }
    SelectWhere = "select.where" {
        "The row does not meet a condition that was asked for.",
        "a row in German under `sftprep select --where lang=en`",
        "Nothing; the ledger names the column and what it holds." }
    SelectPattern = "select.pattern" {
        "The row's text has a pattern that rows of good quality do not have.",
        "a question that begins with p3. under a step quality of `sftprep select`",
        "Nothing; the ledger names the pattern and what it found." }
    SelectSolved = "select.solved" {
        "A model that graded the row solves it: it is too easy.",
        "a row with \"solved_by_7b\": true under `sftprep select --unsolved solved_by_7b`",
        "Nothing; the ledger names the column." }
    SelectNotDrawn = "select.not_drawn" {
        "The row was not drawn before the budget was used up.",
        "`sftprep select` with a step diversity and a budget of 1,000 rows",
        "Nothing; another seed draws other rows." }
    SelectSimilar = "select.similar" {
        "A better row that says almost the same was chosen before.",
        "a step greedy with novelty cosine: the partner is the chosen row, the score the cosine",
        "Nothing; raise the threshold if rows go that should stay." }
    SelectNoNewTag = "select.no_new_tag" {
        "Better rows that were chosen before have all tags of the row.",
        "a step greedy with novelty tags",
        "Nothing; give finer tags if rows go that should stay." }
    SelectBudget = "select.budget" {
        "The budget was used up by better rows.",
        "a step greedy or facility_location with a budget of 1,000 rows",
        "Nothing; raise the budget if more rows should stay." }
    QualityRoles = "quality.roles" {
        "The messages of a row do not follow each other as a conversation does.",
        "two user messages in a row, under `sftprep clean`",
        "Correct the row; the ledger says which message." }
    QualityEmptyAnswer = "quality.empty_answer" {
        "An answer is empty or blank, or nobody answers.",
        "{\"instruction\": \"Add 2 and 2.\", \"output\": \"\"}, under `sftprep clean`",
        "Write the answer, or leave the row out." }
    QualityEmptyPrompt = "quality.empty_prompt" {
        "A prompt or another message is empty or blank.",
        "{\"role\": \"user\", \"content\": \" \"}, under `sftprep clean`",
        "Fill the message, or leave the row out." }
    QualityMergedRecord = "quality.merged_record" {
        "Another record runs into an answer.",
        "an answer that goes on with `### 12. Instruction:`, under `sftprep clean`",
        "Split the record where it was made, or cut it with --rule merged_record=fix." }
    QualityMojibake = "quality.mojibake" {
        "UTF-8 was read as another encoding.",
        "`donâ€™t` for `don’t`, under `sftprep clean`",
        "Decode the source as UTF-8, or repair it with --rule mojibake=fix (needs ftfy)." }
    QualityControlCharacter = "quality.control_character" {
        "A text has control or invisible characters.",
        "a zero-width space in a word, under `sftprep clean`",
        "Nothing where they were taken out; characters of private use stay and are only flagged." }
    QualityReplacementCharacter = "quality.replacement_character" {
        "Characters were lost in decoding (U+FFFD).",
        "`It\u{fffd}s`, under `sftprep clean`",
        "Go back to the source and decode it as it is." }
    QualityNoInputMarker = "quality.no_input_marker" {
        "A marker stands for an empty input.",
        "{\"input\": \"<noinput>\"}, under `sftprep clean`",
        "Nothing where it was taken out; a message that is nothing else stays." }
    QualityLoop = "quality.loop" {
        "A passage of an answer comes round again and again.",
        "the same sentence six times, under `sftprep clean`",
        "Cut the answer before the loop, or leave the row out with --rule loops=drop." }
    QualityIncapable = "quality.incapable" {
        "An answer says that a model cannot give one.",
        "`<nooutput>`, under `sftprep clean`",
        "Answer it, or leave the row out with --rule incapable=drop." }
    QualityIdentity = "quality.identity" {
        "An answer says which model speaks or who made it.",
        "`I am ChatGPT, made by OpenAI.`, under `sftprep clean`",
        "Remove the sentence, or leave the row out with --rule identity=drop." }
    QualityRefusal = "quality.refusal" {
        "An answer refuses.",
        "`I'm sorry, but I cannot help with that.`, under `sftprep clean`",
        "Look whether it should; --rule refusal=drop leaves such rows out." }
    QualityLeftover = "quality.leftover" {
        "Something of how the data was made is left: control tokens, template fields, links to nothing.",
        "`<|im_end|>` in an answer, under `sftprep clean`",
        "See the ledger for which; mend the source, or leave the row out with --rule leftovers=drop." }
    ScoreEmpty = "score.empty" {
        "The row has no answer that could be scored.",
        "{\"instruction\": \"Add.\", \"output\": \"\"} under `sftprep score`",
        "Nothing; the row has no score and this reason in the score file." }
    ScorePrompt = "score.prompt" {
        "The prompt alone fills the window of the score's definition.",
        "a question of 600 tokens under `sftprep score --ifd cherry`, whose window has 512",
        "Nothing; or a larger --max-len, which is then another definition and recorded." }
    ScoreCut = "score.cut" {
        "The window of the score's definition cuts the answer.",
        "an answer of 600 tokens under `sftprep score --ifd cherry`, whose window has 512",
        "Nothing; or a larger --max-len, which is then another definition and recorded." }
    ScoreShort = "score.short" {
        "No token of the answer can be predicted from another one.",
        "an answer of one token under `sftprep score --ifd superfilter` without a bos token",
        "Nothing; the row has no score and this reason in the score file." }
    ScoreNotFinite = "score.not_finite" {
        "The score of the row is not a finite number.",
        "a model whose weights are broken, or an answer that it finds all but impossible",
        "Look at the row; if there are many, at the model." }
    ScoreNone = "score.none" {
        "A plug-in gave no value for the row, and no reason.",
        "a function that returns None for rows it does not understand",
        "Let it return a column NAME.reason as well if the reason matters." }
    ScoreJudge = "score.judge" {
        "The judge did not answer, or with something that is no rating.",
        "sftprep score data.jsonl --judge http://localhost:8000/v1 --judge-model small",
        "Run again: what was rated is kept, only the rest is asked for." }
    ScorePlugin = "score.plugin" {
        "A plug-in cannot be loaded, raised, or returned something else than columns of scores.",
        "sftprep score data.jsonl --plugin mine.py:no_such_function",
        "Correct the function; the message names the rows that it had." }
    ScoreFile = "score.file" {
        "A score file does not belong to the rows.",
        "scores of a.jsonl for rows of b.jsonl",
        "Run `sftprep score` on these rows; what did not change is not computed again." }
    OutputExists = "output.exists" {
        "The output folder exists and is not empty.",
        "sftprep pack data.jsonl --out packs/ (twice)",
        "Choose another folder, or add --overwrite." }
    OutputDiskFull = "output.disk_full" {
        "There is not enough space for the output.",
        "an --out on a full disk",
        "Free space or choose another --out." }
    OutputIo = "output.io" {
        "The operating system refused to write the output.",
        "a read-only --out",
        "Check the permissions and the disk." }
    OutputLocked = "output.locked" {
        "Another run is writing to the same output folder.",
        "two `sftprep pack --out packs/` at once",
        "Wait for the other run, or choose another --out." }
    RunRejectRate = "run.reject_rate" {
        "More rows were rejected than --max-reject-rate allows.",
        "a file in another format than --format says",
        "Look at the first rejects shown; mend the data, or raise the rate." }
    RunNothingPacked = "run.nothing_packed" {
        "No row was left to pack.",
        "a file in which every row is rejected",
        "Look at the rejects and the reasons in the report." }
    RunIncomplete = "run.incomplete" {
        "A phase of a run was asked for before the phase that it needs was finished.",
        "sftprep commit packs/ before every `sftprep write packs/ --task I/N` is done",
        "Finish the tasks that the message names, then ask again." }
    RunCancelled = "run.cancelled" {
        "The run was interrupted.",
        "Ctrl-C",
        "Run it again." }
    RunInternal = "run.internal" {
        "A bug in sftprep: one of its own checks failed.",
        "a ledger that does not balance",
        "Please report it with the command and the message." }
    ShardMissing = "shard.missing" {
        "There is no finished dataset: the manifest is not there.",
        "sftprep verify packs/ while the run is going on",
        "Check the path; a run that did not finish leaves no manifest." }
    ShardVersion = "shard.version" {
        "The dataset was written by a newer format version.",
        "a manifest with format_version 99",
        "Update sftprep." }
    ShardManifest = "shard.manifest" {
        "The manifest is damaged or names something it must not.",
        "a manifest edited by hand",
        "Pack again; a manifest is never edited." }
    ShardCorrupt = "shard.corrupt" {
        "A shard differs from what its manifest promises.",
        "one flipped bit in data-00000-of-00001.arrow",
        "Fetch or pack the dataset again." }
    TrainModel = "train.model" {
        "The model cannot be trained on these shards.",
        "shards whose tokenizer has more tokens than the model has embeddings",
        "Give the model that the tokenizer belongs to, or add --resize-embeddings." }
    TrainIsolation = "train.isolation" {
        "A document of a packed row sees another one in some layer of the model.",
        "a model with linear attention that takes no document borders",
        "Train it on unpacked rows (`sftprep pack --strategy none`), or use another model." }
    TrainLoss = "train.loss" {
        "The loss of the packed row differs from that of its documents one by one.",
        "a model that scales its logits in a way of its own",
        "Please report it with the model's config.json." }
    TrainChanged = "train.changed" {
        "The shards, the model or an option changed since the checkpoint.",
        "sftprep train --resume --lr 1e-4 on a run that began with --lr 1e-5",
        "Put back what the message names, or begin a new run with another --out." }
    TrainLabels = "train.labels" {
        "Nothing in the shards is trained.",
        "a dataset in which every label is -100",
        "Look at it with `sftprep inspect`, and pack again with other label options." }
    TrainDiverged = "train.diverged" {
        "The loss or the gradient is not a finite number any more.",
        "sftprep train --lr 10 --model model/ --shards packs/ --out run/",
        "Lower --lr, lengthen --warmup, and look at the rows that the message names." }
    RunMemory = "run.memory" {
        "The budget of --memory is too small for the tokenizer, or for so many documents.",
        "sftprep pack big/ --tokenizer model/ --memory 192MiB --out packs/",
        "Give the budget that the hint names." }
    TrainMemory = "train.memory" {
        "The device or the machine has too little memory for a step.",
        "--micro-rows 64 with rows of 32,768 tokens",
        "Lower --micro-rows or --loss-chunk, or add --activation-checkpointing full." }
}
