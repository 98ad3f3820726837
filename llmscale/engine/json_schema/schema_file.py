"""The file of `--json-schema`, as what a request asks for."""

from pathlib import Path
from typing import Any

import orjson

from llmscale.core.errors import ConfigError
from llmscale.core.json_depth import MAX_LEVELS, is_too_deep
from llmscale.core.small_file import read_small
from llmscale.engine.json_schema.validators import SchemaValidator


def load_response_format(path: str) -> dict[str, Any]:
    """Read a schema file into a `response_format`. Raises `ConfigError`."""
    try:
        raw = read_small(path)
        schema = orjson.loads(raw)
        if is_too_deep(raw, schema):
            raise ValueError(f"has more than {MAX_LEVELS} levels")
        SchemaValidator(schema)
    except OSError as error:
        raise ConfigError(f"--json-schema: can't read {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"--json-schema: {path}: {error}") from None
    name = "".join(c if c.isascii() and c.isalnum() else "_" for c in Path(path).name.split(".")[0])
    named = {"name": name[:64] or "answer", "schema": schema, "strict": True}
    return {"type": "json_schema", "json_schema": named}
