"""The loop that someone writes by hand for a job like this, and writes well: the reference.

aiohttp and uvloop, a fixed number of workers over one connection pool, answers written as they
come. It has no retries, no resume, no limits and no report; it is what all of that is measured
against. It stands on its own and imports nothing of ours.
"""

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import aiohttp
import orjson
import uvloop


async def work(
    rows: Iterator[tuple[int, bytes]],
    client: aiohttp.ClientSession,
    url: str,
    model: str,
    output: IO[bytes],
) -> None:
    """Take row after row until there is none."""
    headers = {"content-type": "application/json"}
    for index, line in rows:
        messages = [{"role": "user", "content": orjson.loads(line)["prompt"]}]
        body = orjson.dumps({"model": model, "messages": messages})
        async with client.post(url, data=body, headers=headers) as response:
            response.raise_for_status()
            answer = orjson.loads(await response.read())
        text = answer["choices"][0]["message"]["content"]
        output.write(
            orjson.dumps({"index": index, "output": text}, option=orjson.OPT_APPEND_NEWLINE)
        )


async def run(options: argparse.Namespace) -> None:
    """Share the rows of the input among the workers."""
    url = options.base_url + "/chat/completions"
    connector = aiohttp.TCPConnector(limit=0)
    with options.input.open("rb") as file, options.output.open("wb") as output:
        rows = enumerate(file)
        client = aiohttp.ClientSession(connector=connector)
        async with client, asyncio.TaskGroup() as workers:
            for _ in range(options.concurrency):
                workers.create_task(work(rows, client, url, options.model, output))


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--concurrency", type=int, default=64)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
