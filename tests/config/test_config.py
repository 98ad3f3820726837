"""What a setting may be, which origin wins, and that every complaint says what, where and why."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmscale.config import (
    CHANGES_ANSWERS,
    CHANGES_VECTORS,
    DEFAULT_MODEL,
    FLAG_ONLY,
    SETTINGS,
    Config,
    EndpointConfig,
    PriceConfig,
    UserLimit,
    load,
    value_of,
)
from llmscale.config.settings import FILE_ONLY
from llmscale.core.errors import ConfigError
from tests.settings import config_of

MAY_CHANGE_BETWEEN_RUNS = frozenset(
    {
        # where calls go: the same model behind another address
        "base_url",
        "api_key_env",
        "endpoint",
        "allow_host",
        # how it is asked
        "concurrency",
        "repair",
        "timeout",
        "max_attempts",
        "retry_time",
        "max_failures",
        "rpm",
        "tpm",
        "strategy",
        "adaptive",
        "limits_user",
        "limits_users",
        # by which model, in the place of another; each line says so
        "fallback",
        "fallback_after",
        # what it may cost
        "max_cost",
        "price",
        # how texts go out together, and where they are looked for; what is in them has its digest
        "embed_include",
        "embed_exclude",
        "embed_batch_size",
        "embed_batch_tokens",
        "embed_batch_bytes",
        "embed_batch_wait",
        "export",
        # what was answered before is answered alike
        "cache_mode",
        "cache_dir",
        "cache_ttl",
        "cache_max_size",
        # what is read and written; the content of the inputs has its own digest
        "inputs",
        "output",
        "report",
        "limit",
        "overwrite",
        # who hears of it
        "fail_on",
        "alert_on",
        "alert",
        "metrics",
        "junit",
        "json_summary",
        "otel",
        # what is said on the way
        "quiet",
        "verbose",
        "log_format",
    }
)

WriteToml = Callable[[str], str]


@pytest.fixture
def toml(tmp_path: Path) -> WriteToml:
    """Return a function that writes a config file and returns its path."""

    def write(text: str) -> str:
        path = tmp_path / "llmscale.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_flag_over_environment_over_file_over_default(toml: WriteToml) -> None:
    file = toml("max_attempts = 7")
    environ = {"LLMSCALE_MAX_ATTEMPTS": "8"}
    assert load({}, {}).retry.max_attempts == 5
    assert load({}, {}, file).retry.max_attempts == 7
    assert load({}, environ, file).retry.max_attempts == 8
    assert load({"max_attempts": 9}, environ, file).retry.max_attempts == 9
    assert load({"max_attempts": None}, environ, file).retry.max_attempts == 8


def test_the_file_of_the_current_folder_is_read_unasked(
    toml: WriteToml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml('model = "sim/here"')
    monkeypatch.chdir(tmp_path)
    assert load({}, {}).models.default_model == "sim/here"


def test_a_json_schema_of_the_file_is_found_from_the_folder_of_the_file(
    toml: WriteToml, tmp_path: Path
) -> None:
    file = toml('json_schema = "answer.json"')
    assert load({}, {}, file).sampling.json_schema == str(tmp_path / "answer.json")
    assert load({"json_schema": "answer.json"}, {}, file).sampling.json_schema == "answer.json"


@pytest.mark.parametrize(
    ("flags", "environ", "text"),
    [
        ({"temperature": 0.0}, {}, ""),
        ({}, {"LLMSCALE_TEMPERATURE": "0"}, ""),
        ({}, {}, "temperature = 0"),
    ],
)
def test_a_temperature_of_zero_is_kept(
    flags: dict[str, Any], environ: dict[str, str], text: str, toml: WriteToml
) -> None:
    assert load(flags, environ, toml(text)).sampling.temperature == 0.0


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("LLMSCALE_MAX_TOKENS", "64", "max_tokens", 64),
        ("LLMSCALE_TIMEOUT", "2.5", "timeout", 2.5),
        ("LLMSCALE_STOP", '["a", "b"]', "stop", ("a", "b")),
        ("LLMSCALE_PARAM", '{"top_k": 3}', "param", {"top_k": 3}),
        ("LLMSCALE_MODEL", "null", "model", "null"),
        ("LLMSCALE_SYSTEM", "7", "system", "7"),
        ("LLMSCALE_LOG_FORMAT", "json", "log_format", "json"),
        ("LLMSCALE_STRATEGY", "latency", "strategy", "latency"),
        ("LLMSCALE_ADAPTIVE", "false", "adaptive", False),
        ("LLMSCALE_ADAPTIVE", "1", "adaptive", True),
        ("LLMSCALE_FALLBACK_AFTER", "2.5", "fallback_after", 2.5),
        ("LLMSCALE_RPM", "10/s", "rpm", "10/s"),
    ],
)
def test_a_variable_is_read_as_what_its_setting_takes(
    variable: str, text: str, name: str, value: object
) -> None:
    assert value_of(load({}, {variable: text}), name) == value


def test_other_variables_are_none_of_our_business() -> None:
    assert load({}, {"LLM_MODEL": "x", "OPENAI_API_KEY": "k", "llmscale_model": "y"}) == Config()


@pytest.mark.parametrize(
    ("pair", "value"),
    [
        ("top_k=5", {"top_k": 5}),
        ('reasoning_effort="low"', {"reasoning_effort": "low"}),
        ('a="b=c"', {"a": "b=c"}),
        ('thinking={"type": "enabled"}', {"thinking": {"type": "enabled"}}),
        ("x=null", {"x": None}),
    ],
)
def test_a_param_is_key_and_json(pair: str, value: dict[str, Any]) -> None:
    assert load({"param": [pair]}, {}).sampling.param == value


def test_a_table_of_the_file_is_a_prefix_of_its_settings(toml: WriteToml) -> None:
    config = load({}, {}, toml('[cache]\nmode = "read"\nttl = "7d"\nmax_size = "2GB"'))
    assert (config.cache.mode, config.cache.ttl, config.cache.max_size) == ("read", "7d", "2GB")


def test_the_last_of_two_params_with_one_name_wins() -> None:
    assert load({"param": ["a=1", "b=2", "a=3"]}, {}).sampling.param == {"a": 3, "b": 2}


def test_a_param_is_as_json_has_it_so_that_it_compares_equal_in_the_next_run(
    toml: WriteToml,
) -> None:
    config = load({}, {}, toml("[param]\nday = 2024-02-29\nlist = [1, 2.5]"))
    assert config.sampling.param == {"day": "2024-02-29", "list": [1, 2.5]}


# what is wrong; what the complaint has to say about it
WRONG_FLAGS: list[tuple[dict[str, Any], str]] = [
    ({"concurrency": 0}, "--concurrency must be at least 1, not "),
    ({"max_tokens": -1}, "--max-tokens must be at least 1, not "),
    ({"limit": 0}, "--limit must be at least 1, not "),
    ({"max_attempts": 0}, "--max-attempts must be at least 1, not "),
    ({"max_attempts": 101}, "--max-attempts must be at most 100, not "),
    ({"temperature": -0.1}, "--temperature must be at least 0, not "),
    ({"temperature": 2.1}, "--temperature must be at most 2, not "),
    ({"temperature": float("nan")}, "--temperature must be at least 0, not "),
    ({"top_p": 0.0}, "--top-p must be more than 0, not "),
    ({"top_p": 1.1}, "--top-p must be at most 1, not "),
    ({"timeout": 0.0}, "--timeout must be more than 0, not "),
    ({"timeout": float("inf")}, "--timeout must be at most 86400, not "),
    ({"retry_time": 86_401.0}, "--retry-time must be at most 86400, not "),
    ({"retry_time": float("nan")}, "--retry-time must be more than 0, not "),
    ({"seed": 2**64}, "--seed: seed: integer exceeds 64-bit"),
    ({"log_format": "xml"}, "--log-format: .*'xml'; one of text, json"),
    ({"output_format": "csv"}, "--output-format: .*; one of auto, llmscale, openai-batch"),
    (
        {"cache_ttl": "7 days"},
        "--cache-ttl: invalid duration '7 days'; write for example",
    ),
    ({"cache_ttl": "0s"}, "--cache-ttl: it must be more than 0"),
    ({"cache_max_size": "big"}, "--cache-max-size: invalid size 'big'"),
    ({"cache_mode": "maybe"}, "--cache: .*; one of off, on, read, write, refresh"),
    ({"param": ["top_k"]}, "--param 'top_k' is not KEY=JSON"),
    ({"param": ["=5"]}, "--param '=5' is not KEY=JSON"),
    ({"param": ["effort=low"]}, """--param effort: 'low' is not JSON; .*'effort="low"'"""),
    ({"param": ["model=1"]}, "--param: param can't set model"),
    ({"param": ["stream=true"]}, "--param: param can't set stream"),
    ({"system": "\udcff"}, "--system: .*UTF-8"),
    ({"inputs": ["\udcff.jsonl"]}, "--inputs: .*UTF-8"),
    (
        {"strategy": "fastest"},
        "--strategy: .*'fastest'; one of least-loaded, latency, cost, round-robin",
    ),
    ({"fallback_after": 0.0}, "--fallback-after must be more than 0, not "),
    ({"fallback_after": 86_401.0}, "--fallback-after must be at most 86400, not "),
    ({"rpm": "fast"}, "--rpm: invalid rate 'fast'"),
    ({"rpm": "0"}, "--rpm: a rate must be more than 0, not 0"),
    ({"tpm": "-5/s"}, "--tpm: "),
    (
        {"tpm": 100, "max_tokens": 101},
        "the configuration: endpoint local/smollm2: max_tokens 101 is more than the limit of 100 "
        "tokens a minute; no call could ever be sent",
    ),
]

WRONG_VARIABLES = [
    ("LLMSCALE_CONCURRENCY", "none", "must be a whole number, not "),
    ("LLMSCALE_CONCURRENCY", "", "must be a whole number, not "),
    ("LLMSCALE_MAX_TOKENS", "1.5", "must be a whole number, not '1.5'"),
    ("LLMSCALE_MAX_ATTEMPTS", "101", "must be at most 100"),
    ("LLMSCALE_TEMPERATURE", "hot", "must be a number, not 'hot'"),
    ("LLMSCALE_TIMEOUT", "0", "must be more than 0"),
    ("LLMSCALE_TIMEOUT", "nan", "must be more than 0"),
    ("LLMSCALE_STOP", "END", "must be JSON, got 'END'"),
    ("LLMSCALE_STOP", '"END"', "must be a list, not 'END'"),
    ("LLMSCALE_STOP", "[1]", r"stop[0] must be text"),
    ("LLMSCALE_PARAM", "top_k=5", "must be JSON, got 'top_k=5'"),
    ("LLMSCALE_PARAM", '{"messages": []}', "param can't set messages"),
    ("LLMSCALE_LOG_FORMAT", "xml", "invalid enum value 'xml'; one of text, json"),
    ("LLMSCALE_MODEL", "\udcff", "model: str is not valid UTF-8"),
    ("LLMSCALE_CONCURENCY", "5", "unknown setting concurency; did you mean concurrency?"),
    ("LLMSCALE_ENDPOINT", "[]", "endpoint can't be set there, only in the file"),
    ("LLMSCALE_STRATEGY", "random", ".*'random'; one of least-loaded, latency"),
    ("LLMSCALE_ADAPTIVE", "maybe", "must be true or false, not 'maybe'"),
    ("LLMSCALE_FALLBACK_AFTER", "inf", "must be at most 86400"),
]

WRONG_FILES = [
    ("concurrency = 0", "concurrency must be at least 1"),
    ("concurrency = true", "concurrency must be a whole number, not true"),
    ("model = 5", "model must be text, not 5"),
    ("model = 2024-02-29", "model must be text, not 2024-02-29"),
    ('stop = "END"', "stop must be a list, not 'END'"),
    ("seed = 1.5", "seed must be a whole number, not 1.5"),
    ("param = 5", "param must be a table, not 5"),
    ("[param]\nn = 2", "param can't set n"),
    (f"[param]\nx = {2**64}", "param: Integer exceeds 64-bit"),
    ('output_format = "csv"', "output_format: .*; one of auto, llmscale, openai-batch"),
    ("temprature = 1", "unknown setting temprature; did you mean temperature?"),
    ("zzz = 1", "unknown setting zzz; known are: model, base_url"),
    ('[cache]\nttl = "x"', "cache_ttl: invalid duration 'x'"),
    ("[cache]\nmax_size = 5", "cache_max_size must be text, not 5"),
    ('[cache]\ntlt = "7d"', "unknown setting cache_tlt; did you mean cache_ttl?"),
    ("cache = true", "cache is a table: write [cache]"),
    ("endpoint = 5", "endpoint must be a list, not 5"),
    ("[[endpoint]]\ncapacity = 5", "endpoint[0]: object missing required field model"),
    ('[[endpoint]]\nmodel = "sim/a"\ncapacity = 0', "endpoint[0].capacity must be at least 1"),
    ('[[endpoint]]\nmodel = "sim/a"\nkey = "k"', "endpoint[0]: .* unknown field key"),
    ('[[endpoint]]\nmodel = "a"\n' * 2, "duplicate endpoint a .*; raise its capacity"),
    ('[[endpoint]]\nmodel = "sim/a"\nweight = 0', "endpoint[0].weight must be more than 0"),
    (
        '[[endpoint]]\nmodel = "sim/a"\nweight = 1001',
        "endpoint[0].weight must be at most 1000",
    ),
    ('[[endpoint]]\nmodel = "sim/a"\nrpm = "0/s"', "endpoint: a rate must be more than 0, not 0/s"),
    ('[[endpoint]]\nmodel = "sim/a"\nrpd = 0', "endpoint[0].rpd must be at least 1"),
    ('[[endpoint]]\nmodel = "sim/a"\ntpd = 1.5', "endpoint[0].tpd must be a whole number"),
    ('[[endpoint]]\nmodel = "sim/a"\nrpm = 5\nburst = 0', "endpoint[0].burst must be at least 1"),
    (
        '[[endpoint]]\nmodel = "sim/a"\nrpm = "1/s"\nburst = 61',
        "endpoint sim/a: burst 61 is more than rpm, which is 60",
    ),
    (
        '[[endpoint]]\nmodel = "sim/a"\nburst = 5',
        "endpoint sim/a: burst 5 needs rpm",
    ),
    (
        'max_tokens = 600\n[[endpoint]]\nmodel = "sim/a"\ntpm = 500',
        "endpoint sim/a: max_tokens 600 is more than the limit of 500 tokens a minute; "
        "no call could ever be sent",
    ),
    ("[limits.user]\nrpm = 0", "limits_user: a rate must be more than 0"),
    ("[limits.user]\nrps = 5", "limits_user: .* unknown field rps"),
    ("[limits.user]\nrpm = 5\nburst = 6", "limits.user: burst 6 is more than rpm, which is 5"),
    ("[limits.user]\nburst = 6", "limits.user: burst 6 needs rpm"),
    ("[limits.users.alice]\nday = 6", "limits_users[...]: .* unknown field day"),
    ('[limits.users.alice]\nrpm = "x"', "limits_users: invalid rate 'x'"),
    ("max_tokens = 9\n[limits.user]\ntpm = 5", "limits.user: max_tokens 9 is more than the limit"),
    ("[limits]\nrpm = 5", "unknown setting limits_rpm"),
    ("limits = 5", "limits is a table: write [limits]"),
    ('strategy = "fast"', "strategy: .*'fast'; one of least-loaded, latency, cost, round-robin"),
    ('adaptive = "yes"', "adaptive must be true or false, not 'yes'"),
    ('[fallback]\n"sim/a" = ["sim/b", "sim/a"]', "fallback of sim/a names itself"),
    ('[fallback]\n"sim/a" = []', "fallback of sim/a names no model"),
    ('[fallback]\n"sim/a" = "sim/b"', "fallback[...] must be a list"),
    ('fallback = "sim/a"', "fallback must be a table, not 'sim/a'"),
    ("max_cost = 0", "max_cost must be more than 0"),
    ("max_cost = inf", "max_cost must be at most 1000000"),
    ('max_cost = "5 dollars"', "max_cost must be a number, not '5 dollars'"),
    ("price = 5", "price must be a list, not 5"),
    ("[price]\nmodel = 'a/b'", "price must be a list"),
    ("[[price]]\ninput = 5", "price[0]: object missing required field model"),
    ("[[price]]\nmodel = 'a/b'", "price[0]: object missing required field input"),
    ("[[price]]\nmodel = 'a/b'\ninput = -1", "price[0].input must be at least 0"),
    ("[[price]]\nmodel = 'a/b'\ninput = nan", "price[0].input must be at least 0"),
    ("[[price]]\nmodel = 'a/b'\ninput = '$5'", "price[0].input must be a number"),
    ("[[price]]\nmodel = 'a/b'\ninput = 1\noutput = inf", "price[0].output must be at most"),
    ("[[price]]\nmodel = 'a/b'\ninput = 1\nper = '1K'", "price[0]: .* unknown field per"),
    ("[[price]]\nmodel = 'enum'\ninput = 1", "price[0]: 'enum' matches no model"),
    ("[[price]]\nmodel = 'b'\ninput = 1", "price[0]: 'b' matches no model; write provider/name"),
    (
        "[[price]]\nmodel = 'a/b'\ninput = 1\nmax_output = 0",
        "price[0].max_output must be at least 1",
    ),
    ("model = ", "is not valid TOML"),
    ("stop = " + "[" * 20_000, "is not valid TOML"),
    (f"seed = {'1' * 5000}", "is not valid TOML"),
    ("model = 1\nmodel = 2", "is not valid TOML"),
]


def pattern(text: str) -> str:
    """Return a regular expression for a text in which only `.*` stands for anything."""
    return re.escape(text).replace(r"\.\*", ".*")


@pytest.mark.parametrize(("flags", "complaint"), WRONG_FLAGS)
def test_a_wrong_flag_is_refused_by_flag_setting_and_bound(
    flags: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match="(?i)^" + pattern(complaint)):
        load(flags, {})


@pytest.mark.parametrize(("variable", "text", "complaint"), WRONG_VARIABLES)
def test_a_wrong_variable_is_refused_by_variable_setting_and_bound(
    variable: str, text: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{variable}:? {pattern(complaint)}"):
        load({}, {variable: text})


@pytest.mark.parametrize(("text", "complaint"), WRONG_FILES)
def test_a_wrong_file_is_refused_by_its_path_setting_and_bound(
    text: str, complaint: str, toml: WriteToml
) -> None:
    file = toml(text)
    with pytest.raises(ConfigError, match=f"^{re.escape(file)}:? {pattern(complaint)}"):
        load({}, {}, file)


def test_a_file_that_was_asked_for_must_be_readable(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.toml"):
        with pytest.raises(ConfigError, match=f"can't read the config file {re.escape(str(path))}"):
            load({}, {}, str(path))
    (tmp_path / "latin.toml").write_bytes(b'model = "\xff"')
    with pytest.raises(ConfigError, match=r"latin\.toml is not valid TOML"):
        load({}, {}, str(tmp_path / "latin.toml"))


@pytest.mark.parametrize("name", sorted(FLAG_ONLY))
def test_what_only_a_flag_may_say_is_refused_elsewhere(name: str, toml: WriteToml) -> None:
    complaint = f"{name} can't be set there, only as a flag"
    with pytest.raises(ConfigError, match=f"^LLMSCALE_{name.upper()}: {complaint}"):
        load({}, {f"LLMSCALE_{name.upper()}": "1"})
    with pytest.raises(ConfigError, match=rf"llmscale\.toml: {complaint}"):
        load({}, {}, toml(f"{name} = 1"))


@pytest.mark.parametrize("name", sorted(FILE_ONLY))
def test_what_only_the_file_may_say_is_refused_in_the_environment(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} can't be set there, only in the file"):
        load({}, {f"LLMSCALE_{name.upper()}": "1"})


def test_every_setting_of_endpoints_users_and_fallback_is_read_from_the_file(
    toml: WriteToml,
) -> None:
    config = load(
        {},
        {},
        toml(
            'strategy = "cost"\nadaptive = false\nfallback_after = 5\n'
            '[limits.user]\nrpm = "1/s"\ntpm = 20_000\nburst = 60\n'
            "[limits.users.alice]\nrpm = 600\n"
            '[limits.users."bob@example.com"]\n'
            '[fallback]\n"sim/a" = ["sim/b"]\n'
            '[[endpoint]]\nmodel = "sim/a"\nweight = 2.5\nrpm = 500\nburst = 500\nrpd = 9\n'
            'tpd = 10\n[[endpoint]]\nmodel = "sim/b"\n'
        ),
    )
    assert (config.balance.strategy, config.balance.adaptive, config.balance.fallback_after) == (
        "cost",
        False,
        5.0,
    )
    assert config.limits.user == UserLimit(rpm="1/s", tpm=20_000, burst=60)
    assert config.limits.users == {"alice": UserLimit(rpm=600), "bob@example.com": UserLimit()}
    assert config.models.fallback == {"sim/a": ("sim/b",)}
    assert config.models.endpoint == (
        EndpointConfig(model="sim/a", weight=2.5, rpm=500, burst=500, rpd=9, tpd=10),
        EndpointConfig(model="sim/b"),
    )


def test_rates_of_flags_go_to_the_endpoints_of_the_default_model_and_must_fit_their_bursts(
    toml: WriteToml,
) -> None:
    file = toml('[[endpoint]]\nmodel = "sim/a"\nburst = 5\n[[endpoint]]\nmodel = "sim/b"\n')
    assert [e.rpm for e in load({"rpm": "5"}, {}, file).models.endpoints()] == ["5", None]
    with pytest.raises(ConfigError, match="burst 5 is more than rpm, which is 4"):
        load({"rpm": "4"}, {}, file)


def test_an_invalid_value_is_reported_with_its_own_origin(toml: WriteToml) -> None:
    right, wrong = toml("timeout = 5"), {"LLMSCALE_TIMEOUT": "-1"}
    with pytest.raises(ConfigError, match=r"^LLMSCALE_TIMEOUT must be"):
        load({}, wrong, right)
    assert load({"timeout": 3.0}, wrong, right).retry.timeout == 3.0


def test_a_host_is_allowed_by_being_typed_as_a_flag_and_not_by_a_file(toml: WriteToml) -> None:
    url = "https://gateway.example:8443/v1"
    assert load({"base_url": url}, {}).models.allow_host == ("gateway.example",)
    assert load({"base_url": url, "allow_host": ["b.example"]}, {}).models.allow_host == (
        "b.example",
        "gateway.example",
    )
    assert load({}, {"LLMSCALE_BASE_URL": url}).models.allow_host == ()
    assert load({}, {}, toml(f'base_url = "{url}"')).models.allow_host == ()


SECRET = "sk-canary-0123"


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:{SECRET}@h/v1",
        f"https://{SECRET}@h/v1",
        f"http://h/v1?key={SECRET}",
        f"http://h/v1#{SECRET}",
    ],
)
def test_an_address_is_shown_and_so_holds_no_secret(url: str, toml: WriteToml) -> None:
    """It is told in reports and tables; this is refused before anything tells it."""
    in_table = toml(f'[[endpoint]]\nmodel = "sim/a"\nbase_url = "{url}"')
    for origin, settings in {
        "--base-url": ({"base_url": url}, {}, None),
        "LLMSCALE_BASE_URL": ({}, {"LLMSCALE_BASE_URL": url}, None),
        in_table: ({}, {}, in_table),
    }.items():
        with pytest.raises(ConfigError, match="base_url must hold no name, password") as raised:
            load(*settings)
        assert str(raised.value).startswith(f"{origin}: ")
        assert SECRET not in str(raised.value)


@pytest.mark.parametrize("name", [SECRET, " ", "A B", "A=1", "$KEY", "1KEY", "schlüssel"])
def test_a_key_in_the_place_of_a_variables_name_is_refused_and_not_shown(
    name: str, toml: WriteToml
) -> None:
    in_table = toml(f'[[endpoint]]\nmodel = "sim/a"\napi_key_env = "{name}"')
    for flags, file in (({"api_key_env": name}, None), ({}, in_table)):
        with pytest.raises(
            ConfigError, match=r"api_key_env takes the name of .*variable"
        ) as raised:
            load(flags, {}, file)
        assert SECRET not in str(raised.value)


def test_a_base_url_that_is_none_allows_no_host_and_raises_nothing_here() -> None:
    assert load({"base_url": "http://[::1"}, {}).models.allow_host == ("",)


def test_every_field_either_changes_answers_or_may_change_between_runs() -> None:
    fields = set(SETTINGS)
    changes = {*CHANGES_ANSWERS, *CHANGES_VECTORS}
    assert changes | MAY_CHANGE_BETWEEN_RUNS == fields
    assert not changes & MAY_CHANGE_BETWEEN_RUNS
    assert fields >= FLAG_ONLY | FILE_ONLY
    assert not FLAG_ONLY & FILE_ONLY


def test_no_two_parts_have_a_setting_of_the_same_name() -> None:
    parts = (getattr(Config(), name) for name in Config.__struct_fields__)
    assert len(SETTINGS) == sum(len(part.__struct_fields__) for part in parts)


def test_no_field_can_hold_a_key() -> None:
    tables = (EndpointConfig, UserLimit, PriceConfig)
    fields = {*SETTINGS, *(name for table in tables for name in table.__struct_fields__)}
    secret = re.compile("key|token(?!s)|secret|password|credential|auth")
    assert {name for name in fields if secret.search(name)} == {"api_key_env"}


def endpoint(model: str, **settings: Any) -> EndpointConfig:
    return EndpointConfig(model=model, **settings)


A, B = endpoint("sim/a", capacity=1), endpoint("sim/b", base_url="http://b")


@pytest.mark.parametrize(
    ("config", "model", "endpoints"),
    [
        (Config(), DEFAULT_MODEL, (endpoint(DEFAULT_MODEL),)),
        (config_of(model="sim/x"), "sim/x", (endpoint("sim/x"),)),
        (config_of(endpoint=(A, B)), "sim/a", (A, B)),
        (config_of(endpoint=(A, B), model="sim/b"), "sim/b", (A, B)),
        (config_of(endpoint=(A, B), model="sim/x"), "sim/x", (endpoint("sim/x"), A, B)),
        (
            config_of(endpoint=(A, B), base_url="http://c", api_key_env="K"),
            "sim/a",
            (endpoint("sim/a", base_url="http://c", api_key_env="K"), B),
        ),
    ],
)
def test_the_endpoints_are_those_of_the_file_and_first_the_one_that_flags_name(
    config: Config, model: str, endpoints: tuple[EndpointConfig, ...]
) -> None:
    assert config.models.default_model == model
    assert config.models.endpoints() == endpoints


def test_the_same_model_may_have_several_endpoints(toml: WriteToml) -> None:
    config = load({}, {}, toml('[[endpoint]]\nmodel = "a"\n[[endpoint]]\nmodel = "a"\ncapacity=2'))
    assert [e.capacity for e in config.models.endpoints()] == [None, 2]


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
NAMES = st.sampled_from(sorted(SETTINGS)) | st.text()


def loaded(
    flags: dict[str, Any], environ: dict[str, str], file: str | None = None
) -> Config | ConfigError:
    """Return the config, or the complaint; nothing else may be raised."""
    try:
        return load(flags, environ, file)
    except ConfigError as error:
        return error


@given(flags=st.dictionaries(NAMES.filter("param".__ne__), VALUES | st.lists(VALUES)))
def test_for_any_flags_there_is_a_config_or_a_sentence(flags: dict[str, Any]) -> None:
    assert isinstance(loaded(flags, {}), Config | ConfigError)


@given(environ=st.dictionaries(NAMES.map(lambda n: f"LLMSCALE_{n.upper()}"), st.text()))
def test_for_any_environment_there_is_a_config_or_a_sentence(
    environ: dict[str, str],
) -> None:
    assert isinstance(loaded({}, environ), Config | ConfigError)


@given(start=st.integers(0, 100), length=st.integers(0, 20), text=st.text(max_size=20))
def test_for_any_change_of_the_file_there_is_a_config_or_a_sentence_that_names_it(
    start: int, length: int, text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    right = 'model = "sim/a"\nstop = ["a"]\n[param]\nx = 1.5\n[[endpoint]]\nmodel = "sim/b"\n'
    mutated = right[:start] + text + right[start + length :]
    path = tmp_path_factory.getbasetemp() / "mutated.toml"
    path.write_bytes(mutated.encode("utf-8", "surrogatepass"))
    result = loaded({}, {}, str(path))
    assert isinstance(result, Config) or "mutated.toml" in str(result)


def test_a_value_that_may_be_a_key_is_not_shown() -> None:
    with pytest.raises(ConfigError, match=r"^LLMSCALE_TIMEOUT must be a number$"):
        load({}, {"LLMSCALE_TIMEOUT": SECRET})


@pytest.mark.parametrize("host", ["http://gateway", "gateway/v1", "gateway:8000", "me@gateway", ""])
def test_what_is_no_host_is_not_allowed_without_a_word(host: str) -> None:
    with pytest.raises(ConfigError, match=r"^--allow-host '.*' is no host; write for example"):
        load({"allow_host": [host]}, {})
    assert load({"allow_host": ["gateway.example", "::1"]}, {}).models.allow_host


@pytest.mark.parametrize("name", ["output", "report", "base_url", "model", "json_schema"])
def test_an_empty_flag_is_not_taken_for_one_that_was_not_given(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is empty; give it a value, or leave it out$"):
        load({name: ""}, {})
    assert load({"system": "", "alert_on": ""}, {}).observe.alert_on == ""
