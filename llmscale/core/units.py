"""Amounts as people write them: `7d`, `1m30s`, `2GB`."""

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4}
_BYTES |= {"k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BYTES |= {"kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4}

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]*)")


def duration_s(text: str) -> float:
    """Return the seconds of `250ms`, `1m30s`, `12h`, `7d`. Raises `ValueError`."""
    compact = text.strip().lower()
    if not compact or _PART.sub("", compact):
        raise ValueError(f"invalid duration {text!r}; write for example 90s, 12h or 7d")
    return sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(compact))


def per_minute(value: float | str) -> float:
    """Return how many a minute: of 500, `500/min`, `10/s`, `30000/h`. Raises `ValueError`."""
    amount, slash, unit = str(value).partition("/")
    minutes = {"s": 1 / 60, "sec": 1 / 60, "m": 1.0, "min": 1.0, "h": 60.0, "hour": 60.0}
    try:
        rate = float(amount.replace("_", "")) / (minutes[unit.strip()] if slash else 1.0)
    except (ValueError, KeyError):
        raise ValueError(
            f"invalid rate {value!r}; write for example 500, 500/min or 10/s"
        ) from None
    if not 0 < rate < float("inf"):
        raise ValueError(f"a rate must be more than 0, not {value}")
    return rate


def size_bytes(text: str) -> int:
    """Return the bytes of `500MB`, `2GB`, `1GiB`. Raises `ValueError`."""
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None or (match[2] or "b") not in _BYTES:
        raise ValueError(f"invalid size {text!r}; write for example 500MB or 2GB")
    count = float(match[1]) * _BYTES[match[2] or "b"]
    if count >= 2**63:
        raise ValueError(f"{text!r} is more than any disk holds")
    return int(count)


def short_size(count_bytes: float) -> str:
    """Return bytes for a person: `1.2 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count_bytes < 1000:
            return f"{count_bytes:.0f} {unit}" if unit == "B" else f"{count_bytes:.1f} {unit}"
        count_bytes /= 1000
    return f"{count_bytes:.1f} TB"
