"""A web server with faults, over TLS on loopback."""

import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from protocol.ids import digest_of
from tests.agent.papers import Authority


class Web:
    """Serves one artifact; each request takes the next fault from `faults`, and goes well when none is left."""

    def __init__(self, folder: Path, data: bytes) -> None:
        authority = Authority()
        pem = folder / "web.pem"
        pem.write_bytes(authority.server())
        self.ca = folder / "web-ca.pem"
        self.ca.write_bytes(authority.pem)
        self.data = data
        self.digest = digest_of(data)
        self.etag = f'"{self.digest}"'
        self.faults: list[str] = []
        self.ranges: list[str | None] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(web: Web) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            web.ranges.append(wanted)
            fault = web.faults.pop(0) if web.faults else "well"
            if fault.isdecimal():
                self._head(int(fault), 0, {"Retry-After": "1"})
            elif fault == "wrong range":
                self._head(206, 1, {"Content-Range": "bytes 1-1/9"})
            else:
                is_fresh = self.headers.get("If-Range", web.etag) == web.etag
                is_part = wanted is not None and is_fresh and fault != "ignore range"
                self._serve(fault, int(str(wanted)[6:-1]) if is_part else 0)

        def _serve(self, fault: str, first: int) -> None:
            body = {"wrong bytes": bytes(len(web.data)), "endless": web.data + b"x" * 100_000}.get(fault, web.data)
            part = body[first:]
            headers = {"ETag": web.etag}
            if first:
                headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
            self._head(206 if first else 200, len(part), headers)
            if fault == "slow":
                for n in range(0, len(part), 1_000):
                    self.wfile.write(part[n : n + 1_000])
                    time.sleep(0.05)
            elif fault == "cut":
                self.wfile.write(part[: len(part) // 2])
                self.wfile.flush()
                self.connection.shutdown(2)
            else:
                self.wfile.write(part)

        def _head(self, status: int, length: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(length))
            self.end_headers()

    return Handler
