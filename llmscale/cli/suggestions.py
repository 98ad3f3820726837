"""What someone probably meant by an option or a command that does not exist.

Words that other tools use come first; any other word gets the nearest one that exists.
"""

from collections.abc import Collection, Mapping
from difflib import get_close_matches

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "-k": ("--top-k", "--k", "--n-results", "--number", "-n"),
    "--alert": ("--webhook", "--notify", "--slack", "--notify-url"),
    "--alert-on": ("--alarm-on", "--warn-on"),
    "--api-key-env NAME": ("--api-key", "--key", "--token", "--auth", "-H", "--header"),
    "--base-url": ("--url", "--base", "--api-base", "--api-url", "--host", "--server"),
    "--batch-size": ("--batch", "--max-num-seqs"),
    "--cache off": ("--no-cache", "--disable-cache", "--skip-cache"),
    "--cache on": ("--use-cache", "--enable-cache"),
    "--cache refresh": ("--refresh", "--refresh-cache", "--bypass-cache"),
    "--cache-dir": ("--cache-path", "--cache-folder"),
    "--chunk-tokens": ("--chunk-size", "--max-chunk-tokens"),
    "--concurrency": (
        *("--workers", "--num-workers", "--max-workers", "--parallel", "--parallelism"),
        *("--max-parallel", "--max-concurrency", "--max-concurrent", "--concurrent", "--jobs"),
        *("--threads", "--num-threads", "--max-in-flight", "--parallel-requests", "-j", "-P"),
        *("-w", "-t"),
    ),
    "--config": ("--settings", "--config-file", "-f"),
    "--dimensions": ("--dims", "--dim", "--embedding-size"),
    "--dry-run": ("--dry", "--dryrun", "--check", "--preview", "--validate"),
    "--export FILE": ("--database", "--db", "-d", "--npy", "--parquet", "--sqlite"),
    "--fail-on": ("--fail-under", "--threshold", "--error-rate"),
    "--help": ("-h", "-help", "-?", "--usage"),
    "--include": ("--files", "--glob", "--pattern"),
    "--exclude": ("--ignore", "--skip"),
    "--json-schema": (
        *("--schema", "--response-format", "--response-schema", "--structured", "--guided-json"),
        *("--output-schema", "--schema-file"),
    ),
    "--limit": ("--head", "--rows", "--max-rows", "--num-rows", "--num-prompts", "--first", "-n"),
    "--log-format json": ("--json-logs", "--log-json"),
    "--max-attempts (attempts = retries + 1)": (
        *("--retries", "--retry", "--max-retries", "--num-retries", "--max-retry", "-r"),
    ),
    "--max-attempts": ("--attempts", "--tries", "--max-tries"),
    "--max-cost": (
        *("--budget", "--max-budget", "--max-spend", "--max-usd", "--cost-limit", "--spend-limit"),
        *("--budget-usd", "--cost"),
    ),
    "--max-failures": ("--max-errors", "--fail-fast", "--error-threshold", "--exitfirst"),
    "--max-tokens": (
        *("--max-completion-tokens", "--max-output-tokens", "--max-new-tokens", "--num-predict"),
    ),
    "--model": ("--models", "--llm", "--engine", "--deployment", "--embedding-model", "-M"),
    "--normalize": ("--normalise", "--norm", "--l2"),
    "--output": ("--out", "--output-file", "--outfile", "--dest", "--save", "--results"),
    "--output -": ("--stream", "--stdout"),
    "--output-format": ("--format",),
    "--overlap": ("--chunk-overlap",),
    "--overwrite": ("--force", "--clean", "--fresh", "--restart", "--replace", "--no-resume"),
    "--param KEY=JSON": (
        *("--option", "--extra-body", "--body", "--data", "--params", "-p"),
        *("--reasoning-effort", "--frequency-penalty", "--presence-penalty", "--logprobs"),
        *("--min-p", "--repetition-penalty", "--logit-bias"),
    ),
    "--param top_k=N": ("--top-k", "--topk"),
    "--quiet": ("--silent", "-s", "--no-progress"),
    "--rpm": (
        *("--rate", "--rate-limit", "--rps", "--qps", "--request-rate", "--max-rpm"),
        *("--requests-per-minute", "--max-requests-per-minute"),
    ),
    "--seed": ("--random-seed", "--random-state"),
    "--stop": ("--stop-sequence", "--stop-sequences"),
    "--system": ("--system-prompt", "--instructions", "--system-message"),
    "--temperature": ("--temp", "-T"),
    "--template": ("--prompt-template", "--prompt-column", "--field"),
    "--timeout": ("--request-timeout", "--max-time", "--timeout-s"),
    "--tpm": ("--tokens-per-minute", "--max-tokens-per-minute", "--max-tpm"),
    "--version": ("-V", "-v", "-version"),
    "--verbose": ("--debug", "--log-level", "--trace"),
    "--yes": ("--force", "--no-input"),
    "--json": ("--format", "--as-json"),
    "--json-summary": ("--json", "--summary"),
    "--scale": ("--times", "--factor"),
}
"""Words of other tools by what they are here; a word may mean different options of commands."""

OF_THE_TOOL = frozenset({"-v", "-h", "--help"})
"""Options that mean something before a command, though commands have them too."""

ADVICE: Mapping[str, tuple[str, ...]] = {
    "run the same command again: it resumes by itself": (
        "--resume",
        "--continue",
        "--retry-failed",
    ),
    "prompts are the rows of a file, or of standard input as -": (
        *("--prompt", "--prompts", "--input", "--input-file", "--in", "-i", "--messages", "--file"),
    ),
    "a row has one answer: repeat it with different `sample` numbers": ("--n", "--num-samples"),
}
"""Words for which there is no option, by what to do."""

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "run": (
        *("batch", "run-batch", "chat", "complete", "completions", "prompt", "ask"),
        *("generate", "process", "resume", "start", "infer", "responses", "answer"),
    ),
    "run --dry-run": ("dry-run", "dryrun", "preview"),
    "embed": ("embeddings", "embedding", "embed-multi", "index", "vectorize", "encode", "vectors"),
    "search": ("similar", "query", "find", "nearest", "retrieve", "collections"),
    "estimate": ("cost", "price", "pricing", "tokens", "forecast", "budget"),
    "limits": ("limit", "quota", "quotas", "rate", "rates", "rate-limits"),
    "plan": ("checklist", "ready", "readiness", "check", "doctor", "scale"),
    "mock": ("server", "serve", "fake", "simulate", "sim"),
    "report": ("stats", "summary", "show", "html", "view", "results", "logs"),
    "status": ("progress", "ps", "watch", "top", "jobs", "monitor"),
    "verify": ("validate", "audit", "diff"),
    "cache": ("caches", "purge"),
    "help": ("docs", "doc", "man", "manual", "guide", "topics", "explain"),
    "clear": ("delete", "remove", "rm", "flush", "empty", "invalidate"),
    "prune": ("purge", "gc", "evict", "trim", "vacuum"),
    "stats": ("info", "status", "show", "ls", "list", "size"),
    "explain": ("why", "diff", "miss", "misses", "inspect"),
    "import": ("load", "restore"),
    "export": ("dump", "backup"),
    "--version": ("version",),
}
"""Words of other tools by the command that they are here."""


def unknown_option(word: str, options: Collection[str], command: str) -> str:
    """Return a sentence for an option that a command does not have; `options`: those it has."""
    meant = _meant(word, OPTIONS, options)
    if not meant and (advice := next((do for do, words in ADVICE.items() if word in words), None)):
        return f"unknown option {word}; {advice}"
    return _sentence(f"unknown option {word}", meant, command)


def unknown_command(word: str, commands: Collection[str], group: str) -> str:
    """Return a sentence for a command that a group does not have; `commands`: those it has."""
    if "run" in commands and ("." in word or "/" in word):
        name: str | None = f"{'embed' if word.endswith('/') else 'run'} {word}"
    else:
        name = _meant(word, COMMANDS, (*commands, "--version"))
    meant = None if name is None else f"`{group} {name}`"
    return _sentence(f"unknown command {word}", meant, group)


def _sentence(unknown: str, meant: str | None, command: str) -> str:
    if meant is None:
        return f"{unknown}; see `{command} --help`"
    return f"{unknown}; did you mean {meant}?"


def _meant(word: str, table: Mapping[str, tuple[str, ...]], exist: Collection[str]) -> str | None:
    """Return what the table says of a word, or else a name that begins so or is spelled so."""
    known = [meant for meant, words in table.items() if word in words]
    if known:
        return next((meant for meant in known if meant.partition(" ")[0] in exist), None)
    longer = [name for name in exist if len(word) > 3 and name.startswith(word)]
    return next(iter([*longer, *get_close_matches(word, exist, n=1, cutoff=0.7)]), None)
