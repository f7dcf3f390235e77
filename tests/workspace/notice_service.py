"""A web service of this machine that takes notices."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Service:
    """A web service that takes notices, or refuses them."""

    def __init__(self):
        self.taken, self.down = [], False
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not service.down:
                    service.taken.append(json.loads(body))
                self.send_response(503 if service.down else 200)
                self.end_headers()

            def log_message(self, *_):
                """Nothing is printed."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"json://someone:hunter2secret@127.0.0.1:{self.server.server_port}/"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
