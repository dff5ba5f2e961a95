"""Somebody else's API, which fails when it is told to: `curl -d failing 127.0.0.1:8081/mode` (or `well`, `flaky`)."""

import itertools
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ExternalApi(ThreadingHTTPServer):
    """Answers GET /rates. Its mode is `well`, `failing` (always 500) or `flaky` (two of three fail)."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Answer)
        self.mode = "well"
        self.count = itertools.count()
        self.url = f"http://127.0.0.1:{self.server_port}/rates"

    def start(self) -> None:
        """Serves from a thread of its own."""
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Answer(BaseHTTPRequestHandler):
    server: ExternalApi

    def do_GET(self) -> None:
        mode = self.server.mode
        fails = mode == "failing" or (mode == "flaky" and next(self.server.count) % 3 != 0)
        self._say(500 if fails else 200, {"error": "out of order"} if fails else {"EUR": 1, "USD": 1.09})

    def do_POST(self) -> None:
        self.server.mode = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self._say(200, {"mode": self.server.mode})

    def _say(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


if __name__ == "__main__":
    ExternalApi(int(sys.argv[1]) if len(sys.argv) > 1 else 8081).serve_forever()
