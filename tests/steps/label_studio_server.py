"""Label Studio's API as far as it is used, spoken by a server of this machine.

Paths, fields and status codes are those of Label Studio 1.23 (community edition). The real server
brings packages that cannot stand beside these, and its install takes minutes.
"""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TOKEN = "0123456789abcdef0123456789abcdef01234567"
PEOPLE = {1: "ann@example.org", 2: "bob@example.org"}


class LabelStudioServer:
    """Projects and their tasks.

    Attributes:
        url: Its address.
        projects: Number -> project.
        tasks: Number of the project -> its tasks, as an export has them.
        requests: Method and path of each request.
        moved: Whether each request is answered with a redirect.
    """

    def __init__(self) -> None:
        self.projects: dict[int, dict] = {}
        self.tasks: dict[int, list[dict]] = {}
        self.requests: list[str] = []
        self.moved = False
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = urlsplit(self.path)
                api.requests.append(f"{self.command} {path.path}")
                if api.moved:
                    status, found = 301, None
                elif self.headers.get("Authorization") != f"Token {TOKEN}":
                    status, found = 401, {"status_code": 401, "detail": "Invalid token."}
                else:
                    status, found = api.answer(self.command, path.path, parse_qs(path.query),
                                               json.loads(body) if body else None)
                content = json.dumps(found).encode()
                self.send_response(status)
                if status == 301:
                    self.send_header("Location", f"{api.url}/elsewhere")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *_: object) -> None:
                """Nothing is printed."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, query: dict, body) -> tuple[int, object]:
        """Return status and content of an answer."""
        if path == "/api/version/":
            return 200, {"release": "1.23.0", "edition": "Community"}
        if path == "/api/users/":
            return 200, [{"id": number, "email": name, "username": name}
                         for number, name in PEOPLE.items()]
        if path == "/api/projects/":
            if method == "POST":
                number = len(self.projects) + 1
                self.projects[number], self.tasks[number] = {**body, "id": number}, []
                return 201, self.projects[number]
            wanted = query.get("title", [""])[0].lower()
            found = [p for p in self.projects.values() if wanted in p["title"].lower()]
            if query.get("page", ["1"]) != ["1"]:
                return 404, {"status_code": 404, "detail": "Invalid page."}
            return 200, {"count": len(found), "next": None, "previous": None, "results": found}
        match = re.fullmatch(r"/api/projects/(\d+)/(import|export)?", path)
        number = int(match[1]) if match else 0
        if number not in self.projects:
            return 404, {"status_code": 404, "detail": "Not found."}
        if match[2] == "import":
            for task in body:
                self.tasks[number].append({"id": len(self.tasks[number]) + 1, "annotations": [],
                                           "predictions": [], **task})
            return 201, {"task_count": len(body), "annotation_count": 0}
        if match[2] == "export":
            assert query["download_all_tasks"] == ["true"], query
            return 200, self.tasks[number]
        if method == "PATCH":
            self.projects[number].update(body)
        return 200, self.projects[number]

    def annotate(self, row_id: str, label: str | None, person: int = 1, number: int = 1) -> None:
        """Answer a task as a person does who presses Submit, or Skip where label is None."""
        task, = (t for t in self.tasks[number] if t["data"]["row_id"] == row_id)
        task["annotations"].append({
            "id": 100 * task["id"] + len(task["annotations"]), "completed_by": person,
            "was_cancelled": label is None, "created_at": "2026-11-21T09:00:00.123456Z",
            "updated_at": "2026-11-21T09:00:00.123456Z", "ground_truth": False,
            "result": [] if label is None else [
                {"id": "a", "from_name": "label", "to_name": "text", "type": "choices",
                 "value": {"choices": [label]}, "origin": "manual"}]})
