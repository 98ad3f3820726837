"""Closed sets of words that flags, the settings file and the code share, each declared once.

Imports nothing, so that `--help` can show the words without loading any settings.
"""

from typing import Literal

CacheMode = Literal["off", "on", "read", "write", "refresh"]
LogFormat = Literal["text", "json"]
StrategyName = Literal["least-loaded", "latency", "cost", "round-robin"]

ChatFormat = Literal["llmscale", "openai-batch"]
VectorFormat = Literal["numbers", "base64"]
OutputFormat = Literal[ChatFormat, VectorFormat]
"""The formats of an output line."""

ChatFormatOrAuto = Literal["auto", ChatFormat]
"""What `--output-format` takes; "auto" follows the input."""
