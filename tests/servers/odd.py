"""A server that answers as a function says: for what no well-behaved server sends."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Odd(NamedTuple):
    """What is sent back: JSON, or bytes as they are."""

    body: Any
    status: int = 200
    headers: Mapping[str, str] = {}


Decide = Callable[[dict[str, Any], int], Odd]
"""Returns the answer to the body of a request, the n-th, from 1."""


class OddServer:
    """Where it is, and what it was sent."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.bodies: list[dict[str, Any]] = []


@contextmanager
def odd_server(decide: Decide) -> Iterator[OddServer]:
    """Yield a server on loopback until the end."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            with lock:
                server.bodies.append(json.loads(raw))
                found = decide(server.bodies[-1], len(server.bodies))
            body = found.body
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(found.status)
            for name, value in found.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    server = OddServer(f"http://127.0.0.1:{http.server_address[1]}/v1")
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()


def chat(content: Any = "fine", finish: Any = "stop", usage: Any = None, **more: Any) -> Any:
    """Return a chat completion."""
    message = {"role": "assistant", "content": content, **more}
    counts = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    return {
        "id": "c",
        "object": "chat.completion",
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": counts if usage is None else usage,
    }
