"""The loop that someone writes by hand to embed a file of texts in batches of 50: the reference.

aiohttp and uvloop, a fixed number of workers, vectors written as numbers as they come. It has no
retries, no checks, no cache and no report. It stands on its own and imports nothing of ours.
"""

import argparse
import asyncio
import base64
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import aiohttp
import numpy as np
import orjson
import uvloop

LOT = 50


async def work(
    rows: Iterator[tuple[int, bytes]],
    client: aiohttp.ClientSession,
    url: str,
    model: str,
    dimensions: int,
    output: IO[bytes],
) -> None:
    """Take batch after batch until there is none."""
    headers = {"content-type": "application/json"}
    while batch := list(islice(rows, LOT)):
        texts = [orjson.loads(line)["text"] for _, line in batch]
        asked = {"model": model, "input": texts, "dimensions": dimensions}
        body = orjson.dumps(asked | {"encoding_format": "base64"})
        async with client.post(url, data=body, headers=headers) as response:
            response.raise_for_status()
            answer = orjson.loads(await response.read())
        for (index, _), text, item in zip(batch, texts, answer["data"], strict=True):
            vector = np.frombuffer(base64.b64decode(item["embedding"]), "<f4")
            line = {"index": index, "text": text, "vector": vector}
            option = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY
            output.write(orjson.dumps(line, option=option))


async def run(options: argparse.Namespace) -> None:
    """Share the batches among the workers."""
    url = options.base_url + "/embeddings"
    connector = aiohttp.TCPConnector(limit=0)
    with options.input.open("rb") as file, options.output.open("wb") as output:
        rows = enumerate(file)
        client = aiohttp.ClientSession(connector=connector)
        async with client, asyncio.TaskGroup() as workers:
            for _ in range(options.concurrency):
                workers.create_task(
                    work(rows, client, url, options.model, options.dimensions, output)
                )


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dimensions", type=int, required=True)
    parser.add_argument("--concurrency", type=int, default=16)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
