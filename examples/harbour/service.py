"""A small service of a harbour: it tells when the next high tide is.

It is installed by Tidegate's `archive` installer, which sets PORT, APP_NAME and APP_VERSION. ``/healthz`` answers the
version, or 500 when the table of harbours cannot be used; ``/tides/<harbour>`` answers the next high tide.
"""

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time  # noqa: TID251 - the rule is for Tidegate, not for the apps that it rolls out

TABLE = Path(__file__).with_name("harbours.json")
TIDE_SECONDS = 44_714
"""From one high tide to the next: 12 hours, 25 minutes and 14 seconds."""


def read_table() -> dict[str, int]:
    """Return for each harbour when some high tide was, in seconds since 1970."""
    table: dict[str, int] = json.loads(TABLE.read_text())
    return table


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    def do_GET(self) -> None:
        """Answer GET."""
        parts = self.path.strip("/").split("/")
        try:
            table = read_table()
        except (OSError, ValueError) as error:
            self.answer(500, {"fault": f"the table of harbours cannot be used: {error}"})
            return
        if parts == ["healthz"]:
            self.answer(200, {"name": os.environ["APP_NAME"], "version": os.environ["APP_VERSION"]})
        elif len(parts) == 2 and parts[0] == "tides" and parts[1] in table:  # noqa: PLR2004 - tides/<harbour>
            past = (time() - table[parts[1]]) % TIDE_SECONDS
            self.answer(200, {"harbour": parts[1], "next_high_tide_seconds": round(TIDE_SECONDS - past)})
        else:
            self.answer(404, {"fault": "expected /healthz or /tides/<harbour>", "harbours": sorted(table)})

    def answer(self, status: int, body: dict[str, object]) -> None:
        """Send *body* as JSON."""
        raw = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def main() -> None:
    """Serve on loopback until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
    print(f"{os.environ['APP_NAME']} {os.environ['APP_VERSION']} serves on port {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
