"""Static word vectors: the real weights, and wordllama itself beside them in another process."""

import importlib.util
import io
import os
import random
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.core.errors import ConfigError
from llmscale.providers.static_vectors import (
    _TOKENIZER_FILE,
    _WEIGHTS_FILE,
    DIMENSIONS,
    StaticVectors,
    UnusableText,
    check_dimensions,
)
from tests.platforms import needs_proc

np = pytest.importorskip("numpy", reason="numpy is in the extra local")

SPEC = importlib.util.find_spec("wordllama")
pytestmark = pytest.mark.skipif(SPEC is None, reason="wordllama is in the extra local")

ROOT = Path(__file__).parents[2]

LANGUAGES = [
    "The quick brown fox jumps over the lazy dog.",
    "Où est la bibliothèque ? Ça coûte 12,50 € — déjà vu…",
    "Größenwahn, Straße, ÄÖÜ",
    "日本語のテキスト、句読点。",
    "Русский текст и ещё немного",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "🎉 👩‍👩‍👧 🇫🇷 e\u0301 \u200b \ufeff",
]
CORNERS = [
    *[" ", "  ", "\n", "\t\t", "\r\n", "\0", "a\0b", "▁", "▁▁a▁", "a", " a", "a ", "a  b   c"],
    *[
        "x" * 1_000,
        " " * 1_000,
        "ab" * 700,
        "def f(x):\n    return x\n\n\n",
        "{}[]()<>!?",
        "0" * 99,
    ],
    *["word " * 3_000, "\U0010ffff", "\ue000", "<0x0A>", "< s >", "[PAD]", "<pad>", "1e-9"],
]


def many_texts() -> list[str]:
    """Return texts of every kind: sentences, corners, and characters thrown together."""
    rng = random.Random(5)
    alphabet = "".join(LANGUAGES) + " \n\tabcdefghij"
    thrown = ["".join(rng.choices(alphabet, k=rng.randint(1, 300))) for _ in range(1_000)]
    documents = sorted((ROOT / "samples" / "docs").rglob("*.*"))
    lines = [line for path in documents for line in path.read_text().splitlines() if line]
    return [*LANGUAGES, *CORNERS, *lines, *thrown]


TEXTS = many_texts()

Embedded = tuple[Any, list[int]]  # rows and tokens


@pytest.fixture(scope="module")
def vectors() -> StaticVectors:
    return StaticVectors()


@pytest.fixture(scope="module")
def expected(vectors: StaticVectors) -> Embedded:
    """What all texts in one batch give; the first test compares it with wordllama."""
    return vectors.embed(TEXTS)


def run_python(code: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run code as its own process, for what it prints or does to a process as a whole."""
    environ = {n: v for n, v in os.environ.items() if n != "TOKENIZERS_PARALLELISM"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        input=stdin,
        capture_output=True,
        timeout=60,
        env=environ,
        check=True,
    )


WORDLLAMA = """
import io, json, pathlib, sys
import numpy, wordllama
folder = pathlib.Path(wordllama.__file__).parent
model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
texts = json.load(sys.stdin)
numpy.save(file := io.BytesIO(), model.embed(texts, norm=True))
tokens = [sum(encoding.attention_mask) for encoding in model.tokenize(texts)]
sys.stdout.buffer.write(json.dumps(tokens).encode() + b"\\n" + file.getvalue())
"""


@pytest.fixture(scope="module")
def wordllama() -> Embedded:
    """What wordllama itself says of all texts. Importing it would set up logging for all tests."""
    tokens, _, saved = run_python(WORDLLAMA, orjson.dumps(TEXTS)).stdout.partition(b"\n")
    return np.load(io.BytesIO(saved)), orjson.loads(tokens)


def test_vectors_are_those_of_wordllama(
    vectors: StaticVectors, expected: Embedded, wordllama: Embedded
) -> None:
    rows, _ = expected
    assert rows.dtype == np.float32
    assert rows.shape == (len(TEXTS), 256) == (len(TEXTS), vectors.dimensions)
    np.testing.assert_allclose(rows, wordllama[0], rtol=0, atol=1e-5)


def test_tokens_are_counted_as_wordllama_counts_them(
    vectors: StaticVectors, expected: Embedded, wordllama: Embedded
) -> None:
    assert expected[1] == wordllama[1]
    assert vectors.embed(["hello world", "a"])[1] == [2, 1]


def test_a_vector_is_the_same_to_the_last_bit_whatever_is_beside_it(
    vectors: StaticVectors, expected: Embedded
) -> None:
    """Bits, not digits: a cached vector equals the one that another batch would have given."""
    alone = [vectors.embed([text])[0] for text in TEXTS]
    assert np.array_equal(np.concatenate(alone), expected[0])


@given(
    picked=st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=60),
    dimensions=st.sampled_from(DIMENSIONS),
)
def test_a_vector_is_the_same_in_every_batch_and_at_the_place_of_its_text(
    vectors: StaticVectors, expected: Embedded, picked: list[int], dimensions: int
) -> None:
    rows, tokens = vectors.embed([TEXTS[i] for i in picked], dimensions)
    assert tokens == [expected[1][i] for i in picked]
    assert np.array_equal(rows[-1:], vectors.embed([TEXTS[picked[-1]]], dimensions)[0])
    if dimensions == vectors.dimensions:
        assert np.array_equal(rows, expected[0][picked])


@pytest.mark.parametrize("portion_chars", [1, 100, 10_000])
def test_portions_change_nothing(
    vectors: StaticVectors,
    expected: Embedded,
    monkeypatch: pytest.MonkeyPatch,
    portion_chars: int,
) -> None:
    monkeypatch.setattr("llmscale.providers.static_vectors._PORTION_CHARS", portion_chars)
    rows, tokens = vectors.embed(TEXTS)
    assert np.array_equal(rows, expected[0])
    assert tokens == expected[1]


def test_texts_close_in_meaning_are_close(vectors: StaticVectors) -> None:
    texts = ["How do I reset my password?", "I forgot my login credentials", "Bake bread at 200 °C"]
    question, near, far = vectors.embed(texts)[0]
    assert question @ near > question @ far + 0.1


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_fewer_dimensions_are_the_first_ones_at_length_1(
    vectors: StaticVectors, expected: Embedded, dimensions: int
) -> None:
    first = expected[0][:, :dimensions]
    first = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors.embed(TEXTS, dimensions)[0], first, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dimensions", [-1, 0, 1, 100, 255, 257, 512, 1024])
def test_dimensions_that_were_never_trained_are_refused(
    vectors: StaticVectors, dimensions: int
) -> None:
    for refuse in (check_dimensions, lambda d: vectors.embed(["a"], d)):
        with pytest.raises(ConfigError, match=rf"{dimensions} dimensions, only 64, 128, 256"):
            refuse(dimensions)


def test_without_normalizing_a_vector_is_the_mean_of_its_tokens(vectors: StaticVectors) -> None:
    (one, other, both), tokens = vectors.embed(["one", "other", "one other"], normalize=False)
    assert tokens == [1, 1, 2]
    np.testing.assert_allclose((one + other) / 2, both, rtol=1e-6)
    assert np.linalg.norm(one) > 2


def test_no_texts_are_no_vectors(vectors: StaticVectors) -> None:
    rows, tokens = vectors.embed([], 64)
    assert (rows.shape, tokens) == ((0, 64), [])


@pytest.mark.parametrize(
    ("bad", "words"),
    [("", "text 2 is empty"), ("a\ud800b", "lone surrogate"), ("\udcff", "lone surrogate")],
)
@pytest.mark.parametrize("portion_chars", [1, 1_000])
def test_a_text_without_a_vector_is_named_and_harms_nothing(
    vectors: StaticVectors,
    monkeypatch: pytest.MonkeyPatch,
    bad: str,
    words: str,
    portion_chars: int,
) -> None:
    monkeypatch.setattr("llmscale.providers.static_vectors._PORTION_CHARS", portion_chars)
    with pytest.raises(UnusableText, match=words) as raised:
        vectors.embed(["good", " ", bad, "better", bad])
    assert raised.value.index == 2
    assert isinstance(raised.value, ValueError)
    assert np.isfinite(vectors.embed(["good"])[0]).all()


@pytest.mark.parametrize("mark", ["<s>", "</s>", "<unk>"])
def test_marks_of_the_model_are_plain_text_in_a_document(vectors: StaticVectors, mark: str) -> None:
    """HTML strikes text out with `<s>`; wordllama takes it for the begin of a sequence."""
    rows, tokens = vectors.embed([mark, f"a {mark} b", "a  b"])
    assert tokens[0] == 3
    assert tokens[1] >= 5
    assert not np.allclose(rows[1], rows[2], atol=1e-2)


def test_a_megabyte_is_embedded_whole_and_loses_no_digits(vectors: StaticVectors) -> None:
    """A sum in float32 over so many tokens is off in the fourth digit."""
    sentence = "The stone bridge was paid for by the bakers."
    (long, short), tokens = vectors.embed([" ".join([sentence] * 25_000), sentence])
    assert tokens == [25_000 * tokens[1], tokens[1]]
    np.testing.assert_allclose(long, short, rtol=0, atol=1e-7)


TEN_MEGABYTES = """
from pathlib import Path
from llmscale.providers.static_vectors import StaticVectors
vectors = StaticVectors()
texts = ["日本語漢字" * 66_000, "short"] * 10
rows, tokens = vectors.embed(texts)
assert tokens[:2] == [330_001, 1], tokens
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(status["VmHWM"].removesuffix("kB"))  # ru_maxrss would begin at the peak of the parent
"""


@needs_proc
def test_memory_is_bounded_however_many_long_texts_come(vectors: StaticVectors) -> None:
    """Padded as wordllama does it, this batch needs 6.8 GB."""
    peak_kib = int(run_python(TEN_MEGABYTES).stdout)
    assert peak_kib < 600 * 1024


def test_threads_share_one(vectors: StaticVectors, expected: Embedded) -> None:
    workers = 8
    barrier = threading.Barrier(workers)

    def embed(start: int) -> Embedded:
        barrier.wait()
        return vectors.embed(TEXTS[start:])

    with ThreadPoolExecutor(workers) as pool:
        for start, (rows, counted) in enumerate(pool.map(embed, range(workers))):
            assert np.array_equal(rows, expected[0][start:])
            assert counted == expected[1][start:]


FORK = """
import os
from llmscale.providers.static_vectors import StaticVectors
vectors = StaticVectors()
vectors.embed(["used by threads"] * 1_000)
if (child := os.fork()) == 0:
    print(vectors.embed(["hello world"] * 1_000)[1][-1], flush=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_process_neither_hangs_nor_warns() -> None:
    ended = run_python(FORK)
    assert (ended.stdout.split(), ended.stderr) == ([b"2"], b"")


def test_the_package_is_found_and_not_imported() -> None:
    code = (
        "import sys; from llmscale.providers.static_vectors import StaticVectors\n"
        "assert not {'numpy', 'tokenizers'} & sys.modules.keys()\n"
        "StaticVectors().embed(['a'])\n"
        "print(*({'wordllama', 'requests', 'huggingface_hub', 'safetensors'} & sys.modules.keys()))"
    )
    assert run_python(code).stdout.split() == []


def test_without_the_extra_the_line_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tokenizers", None)
        with pytest.raises(ConfigError, match=r'pip install "llmscale\[local\]"'):
            StaticVectors()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r'pip install "llmscale\[local\]"'):
        StaticVectors()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's data, to be damaged."""
    assert SPEC is not None
    assert SPEC.submodule_search_locations is not None
    for file in (_WEIGHTS_FILE, _TOKENIZER_FILE):
        copy = tmp_path / file
        copy.parent.mkdir()
        copy.write_bytes(Path(SPEC.submodule_search_locations[0], file).read_bytes())
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr("importlib.util.find_spec", lambda _: spec)
    return tmp_path


def test_a_whole_copy_of_the_package_is_taken(package: Path) -> None:
    assert StaticVectors().embed(["a"])[1] == [1]


def one_bit_flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    "damaged",
    [one_bit_flipped, lambda data: data[:-1], lambda data: data + b"\0", lambda data: b""],
    ids=["one bit", "too short", "too long", "empty"],
)
def test_damaged_weights_are_refused_by_name(package: Path, damaged: Any) -> None:
    path = package / _WEIGHTS_FILE
    path.write_bytes(damaged(path.read_bytes()))
    with pytest.raises(ConfigError, match=r"256.safetensors is damaged .* pip install --force"):
        StaticVectors()


@pytest.mark.parametrize(
    "damaged",
    [
        lambda data: data[:-9],
        lambda data: b"\xff" + data,
        lambda data: b"[]",
        lambda data: data.replace(b'"the"', b'"teh"', 1),
    ],
    ids=["too short", "no text", "no tokenizer", "another"],
)
def test_a_damaged_tokenizer_is_refused_by_name(package: Path, damaged: Any) -> None:
    path = package / _TOKENIZER_FILE
    data = path.read_bytes()
    assert damaged(data) != data
    path.write_bytes(damaged(data))
    with pytest.raises(ConfigError, match=r"config.json is damaged .* pip install --force"):
        StaticVectors()


def test_line_ends_of_another_system_are_no_damage(package: Path) -> None:
    """The wheel for Windows has them."""
    path = package / _TOKENIZER_FILE
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert StaticVectors().embed(["a"])[1] == [1]


@pytest.mark.parametrize("file", [_WEIGHTS_FILE, _TOKENIZER_FILE])
def test_a_file_that_is_not_there_is_named(package: Path, file: str) -> None:
    (package / file).unlink()
    with pytest.raises(ConfigError, match=rf"{Path(file).name}.* pip install --force"):
        StaticVectors()
