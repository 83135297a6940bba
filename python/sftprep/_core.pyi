"""Bindings of the Rust core; use the names in ``sftprep`` instead."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ChatTemplate",
    "EncodedRow",
    "Encoder",
    "Encoding",
    "EncodingBatch",
    "InputRow",
    "PackJob",
    "PackPlan",
    "RowReader",
    "Segment",
    "StageRows",
    "Tokenizer",
    "TracedText",
    "__version__",
    "_provoke",
    "audit",
    "builtin_template",
    "check",
    "check_config",
    "check_template",
    "clean",
    "codes",
    "combine_ledgers",
    "compare_ledgers",
    "decontaminate",
    "dedup",
    "default_config",
    "divide_output",
    "explain",
    "facility_location",
    "garbled_texts",
    "kill_points",
    "kmeans",
    "ledger_row",
    "novel_tags",
    "novel_vectors",
    "parity",
    "plan_packs",
    "read_manifest",
    "read_scores",
    "similar_groups",
    "span_kinds",
    "stage_columns",
    "stage_write",
    "trees",
    "verify",
    "write_scores",
]

__version__: Final[str]

def codes() -> list[tuple[str, int, str, str, str]]:
    """Every error code: name, exit code, cause, example, fix."""

def default_config() -> str:
    """The default configuration as JSON."""

def check_config(json: str) -> str:
    """Validates a configuration and returns it resolved, as JSON.

    Raises:
        ConfigError: if a key is unknown, or a value is out of range.
    """

def _provoke(code: str) -> None:
    """Raises the error of a code; ``panic`` panics. Only tests call it."""

@final
class Tokenizer:
    """A tokenizer read from a ``tokenizer.json``; shared freely between threads."""

    @staticmethod
    def from_file(path: str | PathLike[str]) -> Tokenizer:
        """Reads a ``tokenizer.json``, or the one in a folder.

        Raises:
            TokenizerError: if there is none, or it does not load.
        """

    def encode(self, text: str) -> Encoding:
        """Ids and byte spans of a text; no special token is added.

        Raises:
            TokenizerError: if the model refuses the text.
        """

    def encode_batch(self, texts: Sequence[str], *, threads: int = 0) -> EncodingBatch:
        """Ids and byte spans of many texts, end to end; ``threads`` 0 means all cores.

        Raises:
            TokenizerError: if the model refuses a text.
        """

    def decode(
        self, ids: Sequence[int] | NDArray[np.integer[Any]], *, skip_special_tokens: bool = False
    ) -> str:
        """The text of ids; ids without a token are left out."""

    def token_to_id(self, token: str) -> int | None:
        """The id of a token as the vocabulary writes it, or of an added token."""

    def id_to_token(self, id: int) -> str | None:
        """The token of an id as the vocabulary writes it, or an added token's content."""

    def token_bytes(self, id: int) -> bytes | None:
        """The bytes that a token stands for, where the decoder defines them token by token."""

    @property
    def added_tokens(self) -> list[tuple[int, str, bool]]:
        """The added tokens: id, content, and whether it is special."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id, added tokens included."""

    @property
    def engine(self) -> str:
        """What encodes: ``fast`` (this package's engine) or ``tokenizers``."""

    @property
    def engine_detail(self) -> str:
        """The engine with the family it recognised, or the reason why it fell back."""

    def __len__(self) -> int: ...
    def __reduce__(self) -> tuple[Callable[..., Tokenizer], tuple[str]]: ...

@final
class Encoding:
    """Ids and byte spans of one text."""

    @property
    def ids(self) -> NDArray[np.uint32]:
        """Token ids, ``(n,)``."""

    @property
    def offsets(self) -> NDArray[np.uint32]:
        """First and one past the last byte of each token in the UTF-8 text, ``(n, 2)``."""

    def __len__(self) -> int: ...

@final
class EncodingBatch:
    """Ids and byte spans of many texts, end to end; text ``i`` has the tokens
    ``row_starts[i]:row_starts[i + 1]``."""

    @property
    def ids(self) -> NDArray[np.uint32]:
        """Token ids of all texts, ``(n,)``."""

    @property
    def offsets(self) -> NDArray[np.uint32]:
        """Bytes of each token in its own text, ``(n, 2)``; made when first asked for."""

    @property
    def row_starts(self) -> NDArray[np.int64]:
        """Where each text's tokens begin, and the end of the last, ``(texts + 1,)``."""

    def __len__(self) -> int: ...

@final
class ChatTemplate:
    """A compiled chat template; shared freely between threads.

    Rendering equals ``apply_chat_template`` of transformers.

    Args:
        source: Template source, or the name of a built-in one.
        special_tokens: Variables such as ``bos_token`` that the template may print.
        date: ``YYYY-MM-DD`` or ``YYYY-MM-DDTHH:MM:SS`` that the template sees; default: now.

    Raises:
        TemplateError: if it does not compile.
        ConfigError: if the date is not one.
    """

    def __new__(
        cls,
        source: str,
        special_tokens: Mapping[str, str] | None = None,
        date: str | None = None,
    ) -> ChatTemplate: ...
    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: object,
    ) -> str:
        """The text of a conversation; keyword arguments become variables of the template.

        Raises:
            TemplateError: if the template raises, or uses something that is not there.
            ConfigError: if an argument is not JSON-like.
        """

    def render_traced(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = False,
        documents: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: object,
    ) -> TracedText:
        """The same text with the origin of every byte.

        Raises:
            TemplateError: if the template raises, or uses something that is not there.
            ConfigError: if an argument is not JSON-like.
        """

    @property
    def source(self) -> str:
        """Template source."""

    @property
    def special_tokens(self) -> dict[str, str]:
        """Variables such as ``bos_token``."""

    def __reduce__(self) -> tuple[Any, ...]: ...

@final
class TracedText:
    """A rendered text with the origin of every byte."""

    @property
    def text(self) -> str:
        """The text, equal to that of :meth:`ChatTemplate.render`."""

    @property
    def segments(self) -> list[Segment]:
        """Partition of the text's UTF-8 bytes, in order."""

@final
class Segment:
    """A stretch of a rendered text with one origin."""

    @property
    def start(self) -> int:
        """First byte of the UTF-8 text."""

    @property
    def end(self) -> int:
        """One past the last byte."""

    @property
    def origin(
        self,
    ) -> Literal[
        "literal",
        "special_token",
        "message",
        "role",
        "tools",
        "documents",
        "variable",
        "mixed",
    ]:
        """What the bytes are: the template's own text (``literal``, ``special_token``), an input
        (a field of a ``message``, the ``role`` of one, ``tools``, ``documents``, a template
        ``variable``), or several inputs that no exact rule tells apart (``mixed``)."""

    @property
    def message(self) -> int | None:
        """Index of the message that the bytes came from."""

    @property
    def field(self) -> str | None:
        """The field of the message, such as ``content`` or ``tool_calls[0].function.name``; for
        other inputs the name of the variable."""

    @property
    def chars(self) -> tuple[int, int] | None:
        """First character of the field, and one past the last, that the bytes are an exact copy
        of; ``None`` where they are not one."""

    @property
    def owner(self) -> int | None:
        """Index of the message that the bytes were written for, literals included."""

    @property
    def generation(self) -> bool:
        """Whether the bytes lie inside of ``{% generation %}``."""

@final
class Encoder:
    """Rows to token ids and labels, as ``pack`` does it.

    Args:
        tokenizer: The tokenizer.
        template: The chat template; default: the tokenizer's own.
        options: Options of :func:`sftprep.pack` that concern rows, template and labels, as the
            JSON of a configuration.

    Raises:
        ConfigError: if an option is wrong.
        TemplateError: if the template is missing or does not compile.
    """

    def __new__(
        cls, tokenizer: Tokenizer, template: ChatTemplate | None = None, **options: object
    ) -> Encoder: ...
    @staticmethod
    def from_config(json: str) -> Encoder:
        """The encoder of a run with this configuration."""

    def encode(self, row: Mapping[str, Any] | InputRow | str | bytes) -> EncodedRow:
        """Renders, tokenizes and labels a row in any of the formats; text is parsed as JSON.

        Raises:
            FormatError: if the row is not what its format wants.
            TemplateError: if the template refuses it.
            LabelError: if it cannot be proved what is to be trained, or nothing is; with code
                ``label.several`` if the row becomes several samples.
        """

    def encode_samples(self, row: Mapping[str, Any] | InputRow | str | bytes) -> list[EncodedRow]:
        """Every sample that ``pack`` makes of a row, in order.

        That is one, or, where the template leaves out the reasoning of turns that others follow
        and ``history`` is ``per_turn``, one per trained turn.

        Raises:
            FormatError: if the row is not what its format wants.
            TemplateError: if the template refuses it.
            LabelError: if it cannot be proved what is to be trained, or nothing is.
        """

    def render(
        self,
        row: Mapping[str, Any] | InputRow | str | bytes,
        *,
        add_generation_prompt: bool = False,
    ) -> str:
        """The text of a row, without labels."""

    def rows(self) -> RowReader:
        """The rows of the configuration's inputs, in order."""

@final
class RowReader:
    """Rows of files, as ``pack`` reads them."""

    def __iter__(self) -> RowReader: ...
    def __next__(self) -> InputRow: ...

@final
class InputRow:
    """A row of a file with its place."""

    @property
    def source(self) -> str:
        """Name of the input."""

    @property
    def line(self) -> int:
        """Line (1-based) in the input."""

@final
class EncodedRow:
    """A row's tokens, labels and text."""

    @property
    def input_ids(self) -> NDArray[np.int32]:
        """Token ids, ``(n,)``."""

    @property
    def labels(self) -> NDArray[np.int32]:
        """Unshifted: the id where trained, -100 elsewhere and on the first token, ``(n,)``."""

    @property
    def text(self) -> str:
        """The rendered text; empty for pretokenized rows."""

    @property
    def spans(self) -> list[tuple[int, int, str, int | None, bool]]:
        """Partition of the text's UTF-8 bytes: start, end, kind, message index, trained."""

    @property
    def mask_method(self) -> dict[int, str]:
        """Message index of each assistant turn -> how it was proved what the assistant wrote
        there (the words are explained in docs/learn/masks.md); empty for rows without a template.
        """

    @property
    def turn(self) -> int | None:
        """The message that the sample ends with and trains, if the row became one per turn."""

    def __len__(self) -> int: ...

def plan_packs(
    lengths: Sequence[int] | NDArray[np.integer[Any]],
    max_len: int,
    strategy: str = "bfd",
    *,
    seed: int = 0,
    balance: int = 0,
) -> PackPlan:
    """Which documents share a packed sequence: a pure function of their lengths.

    Args:
        lengths: Tokens of each document, at least 1.
        max_len: Tokens per sequence, at most.
        strategy: ``bfd``, ``bfd_split``, ``first_fit``, ``sequential``, ``wrapped`` or ``none``.
        seed: Order of documents of equal length.
        balance: Rows that all ranks together read in a step; they get rows of like cost.

    Raises:
        ConfigError: if ``max_len`` or ``strategy`` is wrong, or a length is 0.
        PackError: if a document is longer than ``max_len`` and the strategy does not cut.
    """

@final
class PackPlan:
    """Packed sequences as lists of pieces of documents."""

    def __len__(self) -> int: ...
    def __getitem__(self, key: int, /) -> list[tuple[int, int, int]]:
        """The pieces of a sequence: document, first token in it, number of tokens."""

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]: ...
    @property
    def fill(self) -> float:
        """Share of the sequences that holds tokens, between 0 and 1."""

    @property
    def lower_bound(self) -> int:
        """Sequences that no packing can go below."""

    @property
    def gap(self) -> float:
        """Sequences above that bound, as a share of it."""

    @property
    def tokens(self) -> int:
        """Tokens in all sequences."""

    @property
    def documents(self) -> NDArray[np.uint32]:
        """Document of each piece, ``(pieces,)``; the pieces of all sequences, end to end."""

    @property
    def starts(self) -> NDArray[np.uint32]:
        """First token of each piece in its document, ``(pieces,)``."""

    @property
    def lengths(self) -> NDArray[np.uint32]:
        """Tokens of each piece, ``(pieces,)``."""

    @property
    def row_starts(self) -> NDArray[np.int64]:
        """Where each sequence's pieces begin, and the end of the last, ``(len(plan) + 1,)``."""

@final
class PackJob:
    """A run on threads of its own; nothing in it calls Python."""

    def __new__(cls, json: str, phase: str = "all", index: int = 0, of: int = 1) -> PackJob: ...
    @staticmethod
    def repack(json: str) -> PackJob:
        """Starts to pack a finished dataset again; the options are a JSON object."""

    @staticmethod
    def mix(json: str) -> PackJob:
        """Starts to mix finished datasets; the options are a JSON object."""

    def poll(self, seconds: float) -> str:
        """Waits until the run is done, at most that long; returns a snapshot as JSON."""

    def cancel(self) -> None:
        """Asks the run to stop."""

    def wait(self) -> str:
        """Waits for the end; returns the report as JSON.

        Raises:
            SftprepError: whatever ended the run.
        """

def check_template(template: str, config: str) -> str:
    """Tries a template on hard conversation shapes; returns the certificate as JSON.

    Raises:
        TemplateError: if it is missing or does not compile.
        TokenizerError: if the tokenizer does not load.
    """

def check(config: str) -> str:
    """Looks at rows in six dimensions under options given as JSON; returns the report as JSON.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable or damaged.
        TokenizerError: if the tokenizer does not load.
        TemplateError: if the chat template is missing or does not compile.
        OutputError: if the findings cannot be written.
    """

def dedup(config: str) -> str:
    """Leaves out duplicates under options given as JSON; returns the report as JSON.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable or damaged.
        OutputError: if the kept rows cannot be written.
    """

def decontaminate(config: str) -> str:
    """Leaves out rows with test items under options given as JSON; returns the report as JSON.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if a file is missing, unreadable or damaged.
        FormatError: if a row of a test set cannot be read.
        OutputError: if the kept rows cannot be written.
    """

@final
class StageRows:
    """Rows that were read once and wait for decisions; `stage_columns` makes them."""

def stage_columns(config: str) -> tuple[StageRows, dict[str, Any]]:
    """Reads rows under options given as JSON: what `stage_write` needs, and per row, in order,
    `source`, `line`, `state` and `columns` (float64, float32 of two axes, or lists), with `names`
    and `paths` of the inputs.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable or damaged.
        RejectBudgetExceeded: if too many rows are no JSON objects.
    """

def stage_write(rows: StageRows, config: str, decisions: Mapping[str, Any]) -> str:
    """Writes what decisions leave of the rows, and the ledger; returns the report as JSON.

    Raises:
        ConfigError: if a decision does not fit its row.
        SourceError: if an input changed meanwhile.
        OutputError: if the kept rows cannot be written.
    """

def trees(config: str) -> str:
    """Puts messages together to trees under options given as JSON; returns the report as JSON.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable or damaged.
        FormatError: if a message comes after its tree was written.
        OutputError: if the trees cannot be written.
    """

def clean(config: str) -> str:
    """Takes out, flags or drops what rows show by themselves, under options given as JSON; returns
    the report as JSON.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable, damaged, or changes meanwhile.
        OutputError: if the kept rows cannot be written.
    """

def garbled_texts(config: str) -> list[str]:
    """The different texts in which UTF-8 was read as another encoding; options as for `clean`.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable or damaged.
    """

def similar_groups(config: str) -> NDArray[np.int64]:
    """For every row the index (from 0) of the first row of its group of similar rows.

    Raises:
        ConfigError: if an option is wrong.
        SourceError: if an input is missing, unreadable or damaged.
    """

def combine_ledgers(config: str) -> str:
    """Makes one ledger of those of stages that follow each other; returns the report as JSON.

    Raises:
        SourceError: if a ledger is missing or damaged.
        OutputError: if the ledger cannot be written.
    """

def divide_output(out: str | PathLike[str], folder: str | PathLike[str]) -> list[tuple[str, Path]]:
    """Writes the output of a stage into a file for each of its inputs; returns names and files.

    Raises:
        SourceError: if the output or its ledger is missing or damaged.
        OutputError: if a file cannot be written.
    """

def compare_ledgers(config: str) -> str:
    """Compares the rows of two runs by their ledgers; returns what differs as JSON.

    Raises:
        SourceError: if a ledger is missing or damaged.
    """

def novel_vectors(
    vectors: NDArray[np.float32],
    order: NDArray[np.int64],
    threshold: float,
    budget: int,
    threads: int = 0,
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64]]:
    """Chooses those of the candidates in order whose cosine to all chosen before is small enough.

    Returns:
        Per candidate: 0 chosen, 1 too close to the partner, 3 beyond the budget; the partner's
        index or -1; the cosine or NaN.
    """

def novel_tags(
    tags: Sequence[Sequence[int]], order: NDArray[np.int64], budget: int, rounds: int
) -> NDArray[np.uint8]:
    """Chooses those of the candidates in order that bring a new tag.

    Returns:
        Per candidate: 0 chosen, 2 nothing new, 3 beyond the budget.
    """

def kmeans(
    vectors: NDArray[np.float32], clusters: int, seed: int, iterations: int, threads: int = 0
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Clusters vectors, the same way on any number of threads.

    Returns:
        Per vector its cluster, and the squared distance to its centre.
    """

def facility_location(
    vectors: NDArray[np.float32], metric: str, budget: int, threads: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Chooses rows such that every row has one like it among them; `cosine` or `euclidean`.

    Returns:
        The chosen rows, best first, with what each adds; per row the chosen one most like it, and
        how alike they are.
    """

def ledger_row(path: str | PathLike[str], wanted: str, names: Sequence[str]) -> str:
    """One line of a ledger as JSON; which one is given as JSON (row, line and source, or kept).

    Raises:
        ConfigError: if there is no such row.
        SourceError: if there is no ledger, or it is damaged.
    """

def write_scores(
    path: str | PathLike[str],
    metadata: Mapping[str, str],
    columns: Sequence[tuple[str, str, Mapping[str, str], bytes | Sequence[Any]]],
) -> None:
    """Writes a score file; a column has name, kind, what it is, values.

    Kinds are ``int64``, ``float64`` (NaN becomes null) and ``vector:WIDTH`` (float32; NaN first
    becomes null), given as little-endian bytes, and ``bool``, ``utf8`` and ``name`` (few texts),
    given as sequences with ``None`` where there is no value.

    Raises:
        OutputError: if it cannot be written.
        ConfigError: if a column is not of its kind.
    """

def read_scores(
    path: str | PathLike[str],
) -> tuple[dict[str, str], list[tuple[str, str, dict[str, str], Any]]]:
    """The metadata and the columns of a score file, as :func:`write_scores` takes them.

    Numbers are arrays, vectors of shape ``(rows, width)``; null numbers are NaN.

    Raises:
        SourceError: if there is none, or it is damaged.
    """

def audit(path: str | PathLike[str]) -> str:
    """Audits the masks of a dataset; returns what was found as JSON.

    Raises:
        ShardError: if the folder holds no readable dataset.
    """

def parity(path: str | PathLike[str], inputs: Sequence[str] | None = None) -> str:
    """Holds the ids before every trained turn against those of its prompt; returns what was found
    as JSON.

    Raises:
        ShardError: if the folder holds no readable dataset.
        SourceError: if one of ``inputs`` is not there.
    """

def explain(
    path: str | PathLike[str],
    row: int,
    position: int | None = None,
    inputs: Sequence[str] | None = None,
) -> str:
    """Explains one token of a packed row, or all of them; returns a list as JSON.

    Args:
        path: The dataset.
        row: Packed row.
        position: Token in it; ``None`` for each of its tokens.
        inputs: Where inputs are now, as ``name=path``, if not where they were.

    Raises:
        ShardError: if the folder holds no readable dataset.
        ConfigError: if there is no such row or token, or no such input.
        SourceError: if one of ``inputs`` is not there.
    """

def verify(path: str | PathLike[str], *, full: bool = True) -> str:
    """Checks a dataset against its manifest; returns what was found as JSON.

    Raises:
        ShardError: if there is no dataset, or a newer version wrote it.
    """

def kill_points() -> list[str]:
    """Names of the places at which a test can end a run."""

def read_manifest(path: str | PathLike[str]) -> str:
    """The checked manifest of a dataset as JSON.

    Raises:
        ShardError: if there is none, or it is damaged.
    """

def span_kinds() -> list[str]:
    """Names of the span kinds, by number."""

def builtin_template(name: str) -> str | None:
    """Source of a built-in template."""
