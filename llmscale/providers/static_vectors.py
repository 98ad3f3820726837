"""The engine of `local/wordllama`: a text's vector is the mean of the vectors of its tokens.

Weights and tokenizer are data files of the package wordllama. They are read from its folder; its
code is never imported, nothing is downloaded, and no text is cut: whoever wants a bound on the
length of a text sets it before. Vectors are those of wordllama's own `embed(texts, norm=True)`
but for three things: a text is data, so that `<s>` in it is three characters and not a mark of
the model; an empty text is refused instead of being no number at all; and a long text neither
pads the texts beside it to its length nor loses digits, as sums in float32 do.
"""

import hashlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from llmscale.core.errors import ConfigError

if TYPE_CHECKING:
    # Imported late at run time, for the constructor to say what to install.
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

DIMENSIONS = (64, 128, 256)
"""What the weights were trained to be cut to: the first numbers of a vector say the most."""

_TOKENS, _LENGTH = 32_000, 256  # of the matrix of weights, which is the tail of its file
_WEIGHTS_FILE = "weights/l2_supercat_256.safetensors"
_WEIGHTS_BYTES = 16_384_096
_WEIGHTS_SHA256 = "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5"
_TOKENIZER_FILE = "tokenizers/l2_supercat_tokenizer_config.json"
_TOKENIZER_SHA256 = (
    "ad0d841af389f468549355b05cabe240de7a0bae4905aa10a685d6fe4b03fe23"  # of its JSON
)

_BLOCK_TOKENS = 512  # gathered at once: half a megabyte, which stays in the cache of a core
_PORTION_CHARS = 1 << 18  # tokenized at once; until it is summed, a token takes about 150 bytes

_EXTRA = 'local/wordllama needs an extra: pip install "llmscale[local]"'
_REINSTALL = 'install it again: pip install --force-reinstall --no-deps "wordllama<0.5"'


class UnusableText(ValueError):
    """A text that has no vector; `index` is its place among the texts of the call."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(f"text {index} {why}")
        self.index = index


class StaticVectors:
    """The vectors of all tokens, 33 MB, loaded by the constructor. Threads may share one."""

    dimensions = _LENGTH

    def __init__(self) -> None:
        """Load from the installed package. Raises `ConfigError` saying what to do."""
        folder = _find_package()
        try:
            self._tokenizer = _load_tokenizer(folder / _TOKENIZER_FILE)
            self._weights = _load_weights(folder / _WEIGHTS_FILE)
        except ImportError:
            raise ConfigError(_EXTRA) from None
        except OSError as error:
            raise ConfigError(f"local/wordllama: {error}: {_REINSTALL}") from None

    def embed(
        self, texts: Sequence[str], dimensions: int | None = None, *, normalize: bool = True
    ) -> tuple["NDArray[np.float32]", list[int]]:
        """Return a row for each text, in their order, and how many tokens each of them has.

        Rows have the length 1 unless `normalize` is off, and are the same to the last bit whatever
        texts are beside them. Raises `UnusableText`, and `ConfigError` for unknown dimensions.
        """
        import numpy as np

        kept = check_dimensions(dimensions)
        vectors = np.empty((len(texts), kept), np.float32)
        tokens: list[int] = []
        for start, end in _portions(texts):
            rows = np.empty((end - start, _LENGTH))
            for row, ids in zip(rows, self._token_ids(texts, start, end), strict=True):
                self._average(ids, row)
                tokens.append(len(ids))
            rows = rows[:, :kept]
            if normalize:
                rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            vectors[start:end] = rows
        return vectors, tokens

    def _token_ids(
        self, texts: Sequence[str], start: int, end: int
    ) -> Iterator["NDArray[np.int32]"]:
        """Yield the token ids of each text from `start` to `end`."""
        import numpy as np

        portion = list(texts[start:end])
        try:
            encodings = self._tokenizer.encode_batch_fast(portion, add_special_tokens=False)
        except TypeError:  # all that it says of a text that is not Unicode
            _refuse_surrogates(portion, start)
            raise
        for index, encoding in enumerate(encodings, start):
            if not len(encoding):
                raise UnusableText(index, "is empty")
            yield np.array(encoding.ids, np.int32)

    def _average(self, ids: "NDArray[np.int32]", row: "NDArray[np.float64]") -> None:
        """Put the mean of the vectors of tokens into `row`."""
        row.fill(0)
        for at in range(0, len(ids), _BLOCK_TOKENS):
            # a sum to itself for each text: one over a whole batch would round by what is beside it
            row += self._weights.take(ids[at : at + _BLOCK_TOKENS], axis=0).sum(axis=0)
        row /= len(ids)


def check_dimensions(dimensions: int | None) -> int:
    """Return how many numbers a vector gets. Raises `ConfigError` for what was never trained."""
    if dimensions is None:
        return _LENGTH
    if dimensions not in DIMENSIONS:
        known = ", ".join(map(str, DIMENSIONS))
        raise ConfigError(f"local/wordllama can't have {dimensions} dimensions, only {known}")
    return dimensions


def _portions(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield ranges of texts that are tokenized at once: a bound in characters, or a single text."""
    start = chars = 0
    for index, text in enumerate(texts):
        if chars + len(text) > _PORTION_CHARS and index > start:
            yield start, index
            start, chars = index, 0
        chars += len(text)
    if start < len(texts):
        yield start, len(texts)


def _refuse_surrogates(texts: Sequence[str], first_index: int) -> None:
    """Raise `UnusableText` for the first text with half of a character."""
    for index, text in enumerate(texts, first_index):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UnusableText(index, "is not Unicode: it has a lone surrogate") from None


def _find_package() -> Path:
    """Return the folder of the package, found and not imported: it imports much that we don't."""
    spec = importlib.util.find_spec("wordllama")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(_EXTRA)
    return Path(spec.submodule_search_locations[0])


def _load_tokenizer(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    data = path.read_bytes()
    try:
        canonical = orjson.dumps(orjson.loads(data), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError:
        canonical = b""
    _check(path, canonical, _TOKENIZER_SHA256)
    tokenizer = Tokenizer.from_str(data.decode())
    tokenizer.encode_special_tokens = True  # as the plain text that they are in a document
    return tokenizer


def _load_weights(path: Path) -> "NDArray[np.float32]":
    """Return a row for each token."""
    import numpy as np

    data = path.read_bytes() if path.stat().st_size == _WEIGHTS_BYTES else b""
    _check(path, data, _WEIGHTS_SHA256)
    halves = np.frombuffer(data, "<f2", offset=_WEIGHTS_BYTES - 2 * _TOKENS * _LENGTH)
    return halves.astype(np.float32).reshape(_TOKENS, _LENGTH)


def _check(path: Path, data: bytes, sha256: str) -> None:
    """Refuse what is not the file we know: vectors by another one would not fit those people keep.

    wordllama 0.2.2, 0.3.9 and 0.4.0 carry the same weights and the same tokenizer.
    """
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ConfigError(f"{path} is damaged or of an unknown version: {_REINSTALL}")
