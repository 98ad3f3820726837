"""Whether checking an answer is sure to be quick, so that it needs no process of its own."""

from collections.abc import Mapping
from typing import Any

from llmscale.engine.json_schema.patterns import is_linear
from llmscale.engine.json_schema.validators import subschemas

MAX_QUICK_CHARACTERS = 50_000  # of an answer
MAX_QUICK_SCHEMAS = 2_000  # that are visited for one value, references followed
_SLOW = ("uniqueItems", "$dynamicRef", "unevaluatedProperties", "unevaluatedItems", "contains")


def is_quick(schema: Any) -> bool:
    """Tell whether any answer of up to `MAX_QUICK_CHARACTERS` is checked within 100 ms."""
    for inner in subschemas(schema):
        if any(inner.get(name) not in (None, False) for name in _SLOW):
            return False
        patterns = [inner["pattern"]] if isinstance(inner.get("pattern"), str) else []
        patterns += inner.get("patternProperties", ())
        if not all(map(is_linear, patterns)):
            return False
    return _visits(schema, schema, {}) <= MAX_QUICK_SCHEMAS


def _visits(schema: Any, root: Mapping[str, Any], known: dict[str, float]) -> float:
    """Return how many schemas are visited; infinite where one refers to itself."""
    total = 0.0
    for inner in subschemas(schema):
        total += 1
        reference = inner.get("$ref")
        if isinstance(reference, str):
            if reference not in known:
                known[reference] = float("inf")  # while it is being counted: a circle
                known[reference] = _visits(_at(root, reference), root, known)
            total += known[reference]
        if total > MAX_QUICK_SCHEMAS:
            return float("inf")
    return total


def _at(root: Any, reference: str) -> Any:
    node = root
    for name in reference.removeprefix("#").split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        try:
            node = node[int(name)] if isinstance(node, list) else node[name]
        except (LookupError, ValueError, TypeError):  # an anchor: it is not followed here
            return {"$ref": reference}
    return node if reference.startswith("#") and reference != "#" else {"$ref": "#"}
