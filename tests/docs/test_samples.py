"""The samples do what they are there for, through the real command line.

Where the model does not matter it is a simulated one, whose answer is a function of the row.
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import orjson
import pytest
from jsonschema import Draft202012Validator

from llmscale import config
from llmscale.config import (
    DEFAULT_EMBEDDING_MODEL,
    DEFAULT_MODEL,
    FLAG_ONLY,
    SETTINGS,
    Config,
    EndpointConfig,
    PriceConfig,
    UserLimit,
    value_of,
)
from llmscale.core.records import Request
from llmscale.providers import anthropic, local, static_vectors
from llmscale.providers.sim import simulated_answer
from llmscale.runtime.models import Models
from tests.cli.tool import Run, llmscale, read_rows, write_rows
from tests.servers.chat import ROOT

SAMPLES = ROOT / "samples"
SIM = ("--model", "sim/test")
SELL = "Write one sentence that sells {name}, a {category} for {price} dollars."

USED = {
    "batch.jsonl",
    "docs/beekeeping.md",
    "docs/bicycle-chain.md",
    "docs/coffee-machine.rst",
    "docs/leap_year.py",
    "docs/library-rules.txt",
    "docs/lighthouse.html",
    "docs/night-sky.txt",
    "docs/parcel_postage.py",
    "docs/sourdough.md",
    "docs/tides.md",
    "docs/tomatoes.rst",
    "docs/tram-tickets.html",
    "llmscale.toml",
    "person.schema.json",
    "products.jsonl",
    "prompts.jsonl",
}


def sample(name: str) -> Path:
    """Return the path of a sample, which has to be a known one."""
    assert name in USED
    return SAMPLES / name


def run(folder: Path, *args: object) -> list[dict[str, Any]]:
    """Run into `out.jsonl`, hold that against the input with `verify`, and return its lines."""
    ended = llmscale("run", *args, "-o", "out.jsonl", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    lines = read_rows(folder / "out.jsonl")
    checked = llmscale("verify", args[0], "out.jsonl", cwd=folder)
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.startswith(f"complete: {len(lines)} rows, {len(lines)} answered,")
    return lines


def messages_of(row: dict[str, Any]) -> list[Any]:
    """Return what a row of prompts.jsonl asks, worked out apart from the product."""
    asked = row.get("messages") or [{"role": "user", "content": row["prompt"]}]
    system = row.get("system")
    return [{"role": "system", "content": system}, *asked] if system else list(asked)


def answer_to(messages: list[Any]) -> str:
    return simulated_answer(Request(model="sim/test", messages=messages))


def test_every_sample_is_used_by_a_test() -> None:
    there = {str(p.relative_to(SAMPLES)) for p in SAMPLES.rglob("*") if p.is_file()}
    assert there == USED | {"demo.svg"}, "the picture is checked with the commands"
    told = Path(__file__).read_text(encoding="utf-8").partition("def sample")[2]
    for name in USED:
        assert f'"{name}"' in told or (name.startswith("docs/") and '"docs/' in told)


def test_prompts_are_asked_as_they_stand(tmp_path: Path) -> None:
    rows = read_rows(sample("prompts.jsonl"))
    assert len(rows) == 20
    lines = run(tmp_path, sample("prompts.jsonl"), *SIM)
    for index, (row, line) in enumerate(zip(rows, lines, strict=True)):
        assert line["index"] == index
        assert line["id"] == row.get("id")
        assert line["metadata"] == row.get("metadata")
        assert line["output"] == answer_to(messages_of(row))
        assert line["error"] is None


def test_prompts_show_what_a_row_can_hold() -> None:
    rows = read_rows(sample("prompts.jsonl"))
    assert all(16 <= row["max_tokens"] <= 64 for row in rows)
    fields = {name for row in rows for name in row}
    assert fields >= {"prompt", "messages", "system", "id", "metadata", "user"}
    assert fields >= {"max_tokens", "temperature", "top_p", "seed", "stop"}
    assert {type(row.get("id")) for row in rows} == {str, int, type(None)}
    assert not all(json.dumps(row, ensure_ascii=False).isascii() for row in rows)


def first(count: int, name: str, folder: Path) -> Path:
    """Write the first rows of a sample to a file: what the local model answers takes its time."""
    return write_rows(folder / "in.jsonl", read_rows(sample(name))[:count])


def test_the_local_model_answers_prompts(tmp_path: Path) -> None:
    rows = read_rows(sample("prompts.jsonl"))[:6]
    lines = run(tmp_path, first(6, "prompts.jsonl", tmp_path), "--max-tokens", 8)
    for row, line in zip(rows, lines, strict=True):
        assert line["model"] == DEFAULT_MODEL
        assert line["output"].strip()
        assert 0 < line["usage"]["output_tokens"] <= row["max_tokens"]
        assert line["finish_reason"] in {"stop", "length"}
        assert line["cost_usd"] == 0
    assert sum(line["usage"]["output_tokens"] for line in lines) > 8 * len(lines), "a row wins"
    assert "Paris" in lines[0]["output"]
    assert "Tokyo" in lines[1]["output"]
    report = orjson.loads((tmp_path / "out.report.json").read_bytes())
    cut = sum(line["finish_reason"] == "length" for line in lines)
    assert report["rows"]["truncated"] == cut
    assert report["rows"]["answered"] == 6


def test_the_batch_file_comes_out_as_a_batch(tmp_path: Path) -> None:
    rows = read_rows(sample("batch.jsonl"))
    assert len(rows) == 6
    lines = run(tmp_path, sample("batch.jsonl"), *SIM)
    for row, line in zip(rows, lines, strict=True):
        assert line["custom_id"] == row["custom_id"]
        assert line["error"] is None
        body = line["response"]["body"]
        assert body["model"] == row["body"]["model"] == "smollm2"
        assert body["choices"][0]["message"]["content"] == answer_to(row["body"]["messages"])


def test_the_batch_file_runs_on_the_default_model(tmp_path: Path) -> None:
    ended = llmscale("run", sample("batch.jsonl"), "--dry-run", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert f"{DEFAULT_MODEL}: 6 rows" in ended.stdout
    assert "6, of which 0 can't be used" in ended.stdout


def test_products_fill_a_template(tmp_path: Path) -> None:
    rows = read_rows(sample("products.jsonl"))
    lines = run(tmp_path, sample("products.jsonl"), *SIM, "--template", SELL)
    for row, line in zip(rows, lines, strict=True):
        prompt = (
            f"Write one sentence that sells {row['name']}, "
            f"a {row['category']} for {row['price']} dollars."
        )
        assert line["id"] == row["id"]
        assert line["output"] == answer_to([{"role": "user", "content": prompt}])
    assert len({line["output"] for line in lines}) == len(rows)


def test_products_without_a_template_are_bad_rows_that_say_so(tmp_path: Path) -> None:
    ended = llmscale("run", sample("products.jsonl"), *SIM, "-o", "out.jsonl", cwd=tmp_path)
    assert ended.returncode == 1
    for line in read_rows(tmp_path / "out.jsonl"):
        assert line["error"]["type"] == "bad_row"
        assert "--template" in line["error"]["message"]


def test_the_local_model_answers_in_the_shape_of_the_schema(tmp_path: Path) -> None:
    schema = orjson.loads(sample("person.schema.json").read_bytes())
    Draft202012Validator.check_schema(schema)
    lines = run(
        tmp_path,
        first(3, "products.jsonl", tmp_path),
        *("--template", "Invent a person who buys {name}, a {category}."),
        *("--json-schema", sample("person.schema.json")),
        *("--max-tokens", 160, "--temperature", 0),
    )
    for line in lines:
        person = orjson.loads(line["output"])
        Draft202012Validator(schema).validate(person)
        assert set(person) == {"name", "age", "city"}


def test_an_answer_in_another_shape_fails_its_row(tmp_path: Path) -> None:
    schema = ("--json-schema", sample("person.schema.json"))
    ended = llmscale("run", sample("prompts.jsonl"), *SIM, *schema, "-o", "o.jsonl", cwd=tmp_path)
    assert ended.returncode == 1
    kinds = {line["error"]["type"] for line in read_rows(tmp_path / "o.jsonl")}
    assert kinds == {"schema_mismatch"}


def test_the_documents_are_twelve_short_texts_that_can_be_asked_about(tmp_path: Path) -> None:
    texts = {p.name: p.read_text(encoding="utf-8") for p in (SAMPLES / "docs").iterdir()}
    assert {f"docs/{name}" for name in texts} == {name for name in USED if name.startswith("docs/")}
    assert len(texts) == 12
    assert {Path(name).suffix for name in texts} == {".html", ".md", ".py", ".rst", ".txt"}
    assert max(len(text.splitlines()) for text in texts.values()) <= 60
    write_rows(tmp_path / "in.jsonl", ({"id": n, "text": t} for n, t in sorted(texts.items())))
    lines = run(tmp_path, "in.jsonl", *SIM, "--template", "Give this text a title:\n\n{text}")
    for line in lines:
        prompt = f"Give this text a title:\n\n{texts[line['id']]}"
        assert line["output"] == answer_to([{"role": "user", "content": prompt}])


def test_the_documents_become_vectors_by_which_they_are_found(tmp_path: Path) -> None:
    options = ("--config", sample("llmscale.toml"), "-o", "v.jsonl")
    ended = llmscale("embed", SAMPLES / "docs", *options, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    lines = read_rows(tmp_path / "v.jsonl")
    assert [line["source"] for line in lines] == sorted(map(str, (SAMPLES / "docs").iterdir()))
    for line in lines:
        assert line["model"] == DEFAULT_EMBEDDING_MODEL
        assert len(line["vector"]) == static_vectors.StaticVectors.dimensions
        assert line["cost_usd"] == 0
    for query, name in (
        ("How often should the chain be cleaned?", "bicycle-chain.md"),
        ("What does a tram ticket cost?", "tram-tickets.html"),
        ("light from the stars", "night-sky.txt"),
    ):
        found = llmscale("search", query, "v.jsonl", "-k", 1, cwd=tmp_path)
        assert f"docs/{name}:0-" in found.stdout


def test_the_limits_of_users_in_the_settings_file_are_told(tmp_path: Path) -> None:
    options = ("--config", sample("llmscale.toml"), "--json")
    told = orjson.loads(llmscale("limits", sample("prompts.jsonl"), *options, cwd=tmp_path).stdout)
    assert {user["user"]: user["rpm"]["limit"] for user in told["users"]} == {"anna": 60, "ben": 60}


def test_the_settings_file_runs(tmp_path: Path) -> None:
    options = ("--config", sample("llmscale.toml"))
    ended: Run = llmscale("run", sample("prompts.jsonl"), *options, "--dry-run", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert f"{DEFAULT_MODEL}: 20 rows" in ended.stdout
    assert f"{DEFAULT_MODEL}, 4 calls at once" in ended.stdout
    lines = run(tmp_path, sample("prompts.jsonl"), *options, *SIM)
    assert all(line["model"] == "sim/test" for line in lines)


TOML = (SAMPLES / "llmscale.toml").read_text(encoding="utf-8")
TABLES = {"endpoint", "fallback", "limits_user", "limits_users", "price"}
IN_FILE = [name for name in SETTINGS if name not in FLAG_ONLY | TABLES]


def everything_switched_on() -> str:
    return re.sub(r"^#(?=[\w\"/.-]+ = |\[)", "", TOML, flags=re.MULTILINE)


def settings_of(table: dict[str, Any]) -> dict[str, Any]:
    """Return what a parsed file sets: `[section] key` is the setting section_key."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name in SETTINGS:
            found[name] = value
        else:
            found |= {f"{name}_{key}": inner for key, inner in value.items()}
    return found


def test_every_setting_is_in_the_file_and_all_of_them_can_be_switched_on(tmp_path: Path) -> None:
    table = tomllib.loads(everything_switched_on())
    assert set(settings_of(table)) == {*IN_FILE, *TABLES}
    in_blocks = {name for endpoint in table["endpoint"] for name in endpoint}
    assert in_blocks == set(EndpointConfig.__struct_fields__)
    assert set(table["limits"]["user"]) == set(UserLimit.__struct_fields__)
    in_prices = {name for price in table["price"] for name in price}
    assert in_prices == set(PriceConfig.__struct_fields__)
    (tmp_path / "all.toml").write_text(everything_switched_on(), encoding="utf-8")
    loaded = config.load({}, {}, str(tmp_path / "all.toml"))
    assert len(loaded.models.endpoint) == len(table["endpoint"])
    assert loaded.sampling.json_schema == str(tmp_path / "person.schema.json")
    assert list(Models(loaded.models).fallbacks()) == ["openai/gpt-4.1-mini"]


def type_of(name: str) -> Any:
    """Return what a setting is declared to be."""
    place = SETTINGS[name]
    return get_type_hints(get_type_hints(Config)[place.part])[place.field]


def test_the_file_as_it_is_loads() -> None:
    loaded = config.load({}, {}, str(sample("llmscale.toml")))
    for name, value in settings_of(tomllib.loads(TOML)).items():
        if name != "endpoint":
            assert value_of(loaded, name) == msgspec.convert(value, type_of(name))


def comment_above(name: str) -> str:
    """Return the comment above a setting, as one line."""
    text, key = TOML, name
    section, _, rest = name.partition("_")
    if f"[{section}]" in TOML and section not in SETTINGS:
        text, key = TOML.partition(f"[{section}]\n")[2], rest
    comment = re.search(rf"((?:^# .*\n)+)#?{key} = ", text, flags=re.MULTILINE)
    assert comment, f"{name} has no comment"
    return " ".join(line.removeprefix("#").strip() for line in comment[1].splitlines())


@pytest.mark.parametrize(
    ("table", "fields"),
    [
        ("limits.user", UserLimit.__struct_fields__),
        ("price", PriceConfig.__struct_fields__),
        ("endpoint", EndpointConfig.__struct_fields__),
    ],
)
def test_the_comment_above_a_table_tells_all_its_fields(
    table: str, fields: tuple[str, ...]
) -> None:
    sections = TOML.split("# ---- ")
    section = next(text for text in sections if f"[{table}]" in text)
    told = re.findall(r"^#   (\w+(?:, \w+)*)  ", section, flags=re.MULTILINE)
    assert [name for names in told for name in names.split(", ")] == list(fields)


@pytest.mark.parametrize("name", IN_FILE)
def test_the_comment_above_a_setting_tells_its_default(name: str) -> None:
    told = re.search(
        r'Default: ("[^"]*"|not set|true|false|[\d.]+?)(?=[.,;] |[.,;]?$)',
        comment_above(name),
    )
    assert told, f"the comment of {name} tells no default"
    default = DEFAULT_MODEL if name == "model" else value_of(Config(), name)
    expected = "not set" if default in (None, (), {}) else msgspec.json.encode(default).decode()
    assert told[1] == expected


def test_the_bounds_that_the_file_names_are_the_real_ones() -> None:
    told = comment_above("max_tokens")
    assert f"local/... stops at {local.DEFAULT_MAX_TOKENS} " in told
    assert f"anthropic/... at {anthropic.SPEC.default_max_tokens}." in told
