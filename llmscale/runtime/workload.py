"""What a job does with its rows: it answers prompts, or embeds texts. Chosen once, by the command.

Everything that differs between the two is here. Engine layers are imported when a run needs them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from llmscale.config import (
    CHANGES_ANSWERS,
    CHANGES_VECTORS,
    DEFAULT_EMBEDDING_MODEL,
    Config,
    EndpointConfig,
    with_settings,
)
from llmscale.core.choices import OutputFormat
from llmscale.core.protocols import Answers
from llmscale.core.records import Request
from llmscale.providers import Task
from llmscale.rows.chat_rows import ChatParser
from llmscale.runtime.models import Models

if TYPE_CHECKING:
    from llmscale.accounting.stats import Stats
    from llmscale.engine.balance.retry import Balancer
    from llmscale.engine.json_schema.worker import SchemaWorkers

ROWS_PER_LOOKUP = 64  # in the cache


class Bridge(NamedTuple):
    """The layer that makes calls of rows."""

    answers: Answers
    input_ended: Callable[[], None]  # to be called when there is no further row


class Workload(Protocol):
    """The differences between answering and embedding."""

    @property
    def task(self) -> Task:
        """The task that endpoints are opened for."""
        ...

    @property
    def produces(self) -> str:
        """What the output holds, as logs name it."""
        ...

    @property
    def identity_settings(self) -> Sequence[str]:
        """The settings that a job must keep from its first run to its last, by flat name."""
        ...

    @property
    def follows_input(self) -> bool:
        """Whether a job starts over where only its input has changed; else it is refused."""
        ...

    def output_format(self, *, is_batch: bool) -> OutputFormat:
        """Return the format of output lines. `is_batch`: the input is an OpenAI batch file."""
        ...

    def endpoints(self, models: Models) -> Sequence[EndpointConfig]:
        """Return the endpoints that calls may go to."""
        ...

    def fallbacks(self, models: Models) -> Mapping[str, list[str]]:
        """Return for each model those that answer when it can't. Raises `ConfigError`."""
        ...

    def max_in_flight(self, max_calls: int) -> int:
        """Return how many rows may be in flight beside so many calls."""
        ...

    def rows_per_take(self, *, looks_up: bool) -> int:
        """Return how many rows the pipeline takes up at a time. `looks_up`: in a cache."""
        ...

    def bridge(self, balancer: "Balancer", stats: "Stats") -> Bridge:
        """Return the layer that makes calls of rows."""
        ...

    def above_cache(self, answers: Answers) -> Answers:
        """Return the layers above the cache, which stores answers unchanged."""
        ...

    async def aclose(self) -> None:
        """Let go of what the layers hold."""
        ...


class ChatWorkload:
    """Prompts and messages to answers, a call each."""

    task: Task = "chat"
    produces = "answers"
    identity_settings = CHANGES_ANSWERS
    follows_input = False

    def __init__(self, config: Config) -> None:
        self._output_format = config.files.output_format
        self._has_template = config.sampling.template is not None
        self._repairs = config.sampling.repair
        self._workers: SchemaWorkers | None = None

    def output_format(self, *, is_batch: bool) -> OutputFormat:
        """Return the format that is set, else that of the input."""
        if self._output_format != "auto":
            return self._output_format
        return "openai-batch" if is_batch and not self._has_template else "llmscale"

    def endpoints(self, models: Models) -> Sequence[EndpointConfig]:
        """Return all endpoints: a row may name any model."""
        return models.endpoints

    def fallbacks(self, models: Models) -> Mapping[str, list[str]]:
        """Return those of the settings."""
        return models.fallbacks()

    def max_in_flight(self, max_calls: int) -> int:
        """Return a row for each call."""
        return max_calls

    def rows_per_take(self, *, looks_up: bool) -> int:
        """Return what one look-up finds."""
        return ROWS_PER_LOOKUP if looks_up else 1

    def bridge(self, balancer: "Balancer", stats: "Stats") -> Bridge:  # noqa: ARG002
        """Return a call for each row, with its answer checked against the JSON schema."""
        from llmscale.engine.json_schema.worker import SchemaWorkers
        from llmscale.engine.layers.schema import SchemaLayer
        from llmscale.engine.layers.single_calls import SingleCalls

        if self._workers is None:
            self._workers = SchemaWorkers()
        layer = SchemaLayer(SingleCalls(balancer), self._workers, self._repairs)
        return Bridge(layer, lambda: None)

    def above_cache(self, answers: Answers) -> Answers:
        """Return the answers as they are."""
        return answers

    async def aclose(self) -> None:
        """End the processes that check answers."""
        if self._workers is not None:
            await self._workers.aclose()


class EmbeddingWorkload:
    """Texts to vectors, many in a call, all by one model."""

    task: Task = "embedding"
    produces = "vectors"
    identity_settings = CHANGES_VECTORS
    follows_input = True

    def __init__(self, config: Config) -> None:
        """`config` as `for_embedding` returns it."""
        self._embed = config.embed
        self._model = config.models.default_model

    def output_format(self, *, is_batch: bool) -> OutputFormat:  # noqa: ARG002
        """Return the format that is set."""
        return self._embed.vectors

    def endpoints(self, models: Models) -> Sequence[EndpointConfig]:
        """Return the endpoints of the one model that embeds."""
        return models.endpoints_of(self._model)

    def fallbacks(self, models: Models) -> Mapping[str, list[str]]:  # noqa: ARG002
        """Return none: vectors of two models never mix."""
        return {}

    def max_in_flight(self, max_calls: int) -> int:
        """Return a batch for each call, and one more that gathers meanwhile."""
        return (max_calls + 1) * self._embed.batch_size

    def rows_per_take(self, *, looks_up: bool) -> int:  # noqa: ARG002
        """Return a batch."""
        return self._embed.batch_size

    def bridge(self, balancer: "Balancer", stats: "Stats") -> Bridge:
        """Return batches of texts."""
        from llmscale.core.units import size_bytes
        from llmscale.engine.layers.batcher import Batcher
        from llmscale.engine.layers.batches import BatchCaps
        from llmscale.engine.layers.text_weights import TextWeights

        embed = self._embed
        caps = BatchCaps(
            embed.batch_size, embed.batch_tokens, size_bytes(embed.batch_bytes), embed.batch_wait
        )
        weights = TextWeights(balancer.estimates)
        batcher = Batcher(balancer, caps, weights, stats, balancer.send_part)
        return Bridge(batcher, batcher.end)

    def above_cache(self, answers: Answers) -> Answers:
        """Return the layers that truncate texts and normalize vectors, where they are wanted."""
        if self._embed.truncate:
            from llmscale.engine.layers.truncation import TruncationLayer

            answers = TruncationLayer(answers)
        if self._embed.normalize:
            from llmscale.engine.layers.normalization import NormalizationLayer  # imports numpy

            answers = NormalizationLayer(answers)
        return answers

    async def aclose(self) -> None:
        """Let go of nothing."""


def for_embedding(config: Config) -> Config:
    """Return the settings with the embedding model as the default model."""
    return with_settings(config, model=config.embed.model or DEFAULT_EMBEDDING_MODEL)


def text_request(config: Config) -> Request:
    """Return the request of every text, without the text."""
    return Request(
        model=config.models.default_model,
        dimensions=config.embed.dimensions,
        extra=dict(config.sampling.param) or None,
    )


def chat_parser(config: Config, models: Models) -> ChatParser:
    """Return what makes chat rows of lines. Raises `ConfigError` for an unusable JSON schema."""
    from llmscale.engine.json_schema.schema_file import load_response_format

    json_schema = config.sampling.json_schema
    response_format = None if json_schema is None else load_response_format(json_schema)
    return ChatParser(config.models.default_model, config.sampling, response_format, models.resolve)
