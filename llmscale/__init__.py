"""llmscale: take a file of prompts through a set of models, and survive the night."""

__version__ = "0.1.0"
