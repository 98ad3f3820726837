"""The name of a model, "provider/name": `openai/gpt-4.1-mini`, `local//path/model.gguf`.

The first slash divides it; the rest may hold more. Knows no provider: that is `providers.registry`.
"""


def split_model_name(model: str) -> tuple[str, str]:
    """Return ("provider", "name"); the name is empty where there is no slash."""
    provider, _, name = model.partition("/")
    return provider, name


def provider_of(model: str) -> str:
    """Return the provider of a model."""
    return model.partition("/")[0]


def name_at_provider(model: str) -> str:
    """Return what the provider itself calls a model; empty where there is no slash."""
    return model.partition("/")[2]
