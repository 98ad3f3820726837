"""How long it takes to prune a large cache to a tenth: `python -m tests.benchmarks.prune [N]`."""

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from llmscale.core.cache_records import Entry, StoredEntry
from llmscale.core.records import Reply, Usage
from llmscale.engine.cache.store import Store
from tests.benchmarks.machine import print_machine

GROUP = 500
REPLY = Reply(text="x" * 200, finish_reason="stop", model="m", usage=Usage(10, 20), cost_usd=0.001)


def filled(folder: Path, entries: int) -> int:
    """Fill a cache; return the bytes of its file."""
    with closing(Store(folder, 1 << 40)) as store:
        for first in range(0, entries, GROUP):
            numbers = range(first, min(first + GROUP, entries))
            entry = Entry(REPLY, time.time(), {})
            store.add([StoredEntry(f"{number:064x}", entry, "sim/m") for number in numbers])
        return store.contents().size_bytes


def main(entries: int) -> None:
    """Print the seconds of a prune to a tenth."""
    print_machine()
    with tempfile.TemporaryDirectory() as name:
        size_bytes = filled(Path(name), entries)
        with closing(Store(Path(name), size_bytes // 10)) as store:
            began_s = time.monotonic()
            evicted = store.evict()
            took_s = time.monotonic() - began_s
            left = store.contents()
    print(f"{entries:,} entries, {size_bytes / 1e6:,.0f} MB; pruned to a tenth in {took_s:.1f} s")
    print(f"{evicted:,} evicted, {left.entries:,} left, {left.size_bytes / 1e6:,.0f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
