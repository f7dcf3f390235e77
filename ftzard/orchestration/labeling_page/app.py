"""The routes of the labeling page: forms that a browser sends, and pages rendered here.

Everything works with plain forms; the script only adds keys and the differences while one writes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ftzard.core.text import normalize_instruction
from ftzard.errors import DataError, FtzardError, described
from ftzard.orchestration.labeling_page.access import COOKIE, LOGIN_S, Access, Refused, Visitor
from ftzard.orchestration.labeling_page.desk import LONGEST_NOTE, Desk, choices, label_of
from ftzard.orchestration.labeling_page.guidelines import FILE, guidelines
from ftzard.orchestration.labeling_page.word_diff import word_diff
from ftzard.reporting import html
from ftzard.steps.labeling_batch import LabelingBatch
from ftzard.steps.labeling_session import NOTHING_ASKED, LabelingSession, seen_audits

MOST_BYTES = 1_000_000
_STATIC = {"label.css": "text/css", "label.js": "text/javascript"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
                               "img-src data:; connect-src 'self'; form-action 'self'; "
                               "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin"}


@dataclass
class Visit:
    """A request, the fields of its form, and who sent it."""

    request: Request
    fields: dict[str, list[str]] = field(default_factory=dict)
    visitor: Visitor | None = None

    @property
    def person(self) -> str:
        """The visitor's name."""
        assert self.visitor is not None
        return self.visitor.person

    def value(self, name: str) -> str:
        """Return a field's value, '' without one."""
        return self.fields.get(name, [""])[0]

    @property
    def note(self) -> str:
        """What was written beside the answer."""
        return normalize_instruction(self.value("note"))[:LONGEST_NOTE]


Handler = Callable[[Visit], Response]


class LabelingPage:
    """The page's pages.

    Args:
        desk: What is labeled.
        access: Who may.
    """

    def __init__(self, desk: Desk, access: Access) -> None:
        self.desk, self.access = desk, access

    def app(self) -> Starlette:
        """Return the ASGI application."""
        def route(path: str, handler: Handler, method: str = "GET", *, anybody: bool = False
                  ) -> Route:
            return Route(path, self._answering(handler, anybody), methods=[method])

        return Starlette(routes=[
            route("/", self.overview, anybody=True),
            route("/enter", self.enter, "POST", anybody=True),
            route("/leave", self.leave, "POST"),
            route("/static/{file}", self.static, anybody=True),
            route("/batch/{batch}", self.row),
            route("/batch/{batch}", self.answer, "POST"),
            route("/batch/{batch}/diff", self.diff, "POST"),
            route("/batch/{batch}/decide", self.decisions),
            route("/batch/{batch}/decide", self.decide, "POST"),
            route("/batch/{batch}/hand-in", self.ready),
            route("/batch/{batch}/hand-in", self.hand_in, "POST"),
        ], middleware=[Middleware(_Headers)], exception_handlers={
            404: self._not_found, 405: self._not_found})

    # Coming and going

    def overview(self, visit: Visit) -> Response:
        """The batches, or the question who labels."""
        if visit.visitor is None:
            return self._entrance(visit)
        shown = []
        for batch in self.desk.batches():
            answers = self.desk.store.answers(batch.name)
            shown.append({
                "batch": batch, "title": self.desk.title(batch),
                "progress": self.desk.progress(batch, visit.person, answers),
                "cases": len(batch.cases(answers)),
                "ready": len(batch.ready(visit.person, answers)),
                "notice": seen_audits(batch)})
        return self._page(visit, "label_batches", batches=shown, nothing=NOTHING_ASKED)

    def _entrance(self, visit: Visit, problem: str = "", status: int = 200) -> Response:
        login = self.access.check_password is not None
        return self._page(visit, "label_enter", status, login=login, problem=problem,
                          people=[] if login else self.desk.store.people())

    def enter(self, visit: Visit) -> Response:
        """Take a name, and a password where one is asked for."""
        try:
            token = self.access.enter(visit.request, visit.value("name"), visit.value("password"))
        except Refused as refused:
            return self._entrance(visit, str(refused), refused.status)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, token, max_age=int(LOGIN_S), httponly=True, samesite="strict",
                          secure=visit.request.url.scheme == "https")
        return answer

    def leave(self, visit: Visit) -> Response:
        """End the login."""
        self.access.leave(visit.request)
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(COOKIE)
        return answer

    def static(self, visit: Visit) -> Response:
        """The style sheet and the script."""
        name = visit.request.path_params["file"]
        if name not in _STATIC:
            raise Refused(404, "there is no such page.")
        return FileResponse(Path(html.__file__).parent / "templates" / name,
                            media_type=_STATIC[name], headers={"Cache-Control": "no-cache"})

    # Labeling

    def row(self, visit: Visit) -> Response:
        """The next row, or the answer beside its suggestion."""
        batch = self._batch(visit)
        session = None
        if row_id := visit.request.query_params.get("review", ""):
            session = self.desk.reviewed(batch, visit.person, row_id)
        session = session or self.desk.next_session(batch, visit.person)
        return self._row_page(visit, batch, session)

    def _row_page(self, visit: Visit, batch: LabelingBatch, session: LabelingSession | None,
                  problem: str = "", written: str | None = None) -> Response:
        answers = self.desk.store.answers(batch.name)
        shared = {
            "batch": batch, "title": self.desk.title(batch), "problem": problem,
            "progress": self.desk.progress(batch, visit.person, answers),
            "last": self.desk.last_answer(batch, visit.person)}
        status = 422 if problem else 200
        if session is None:
            return self._page(visit, "label_done", status, cases=len(batch.cases(answers)),
                              ready=len(batch.ready(visit.person, answers)), **shared)
        suggestion = normalize_instruction(session.suggested)
        free, draft = session.format.free_text, written
        if draft is None:
            draft = session.given if session.reviewing else ""
        saved = session.saved
        return self._page(
            visit, "label_row", status, row=session.row, session=session, free=free,
            suggestion=suggestion, choices=choices(session.format), draft=draft,
            multiple=any(not choice.complete for choice in choices(session.format)),
            diff=word_diff(suggestion, draft) if free and suggestion and draft else None,
            note="" if saved is None else saved.note,
            guidelines=guidelines(self.desk.workspace.root), guidelines_file=FILE, **shared)

    def answer(self, visit: Visit) -> Response:
        """Save what a form says about a row: an answer, that there is none, or what to undo."""
        batch, action = self._batch(visit), visit.value("action")
        here = f"/batch/{quote(batch.name, safe='')}"
        if action == "undo":
            self.desk.undo(batch, visit.person)
            return RedirectResponse(here, 303)
        action = action or ("save" if "only" in visit.fields else "")
        row_id = visit.value("row")
        reviewing = visit.value("review") == "yes"
        session = self.desk.reviewed(batch, visit.person, row_id) if reviewing else None
        session = session or self.desk.session(batch, visit.person, row_id)
        if action == "skip":
            self.desk.store.skip(batch.name, row_id, visit.person)
        elif action == "cannot":
            session.cannot_say(visit.note)
        elif action == "take":
            if not session.suggested:
                raise DataError("there is no suggestion for this row; load the page again.")
            session.answer(session.suggested, visit.note)
        elif action == "save":
            numbers = visit.fields.get("only", visit.fields.get("choice", []))
            try:
                label = label_of(session.format, numbers, visit.value("text"))
            except DataError as error:
                return self._row_page(visit, batch, session, str(error), visit.value("text"))
            session.answer(label, visit.note)
        elif action != "keep":
            raise Refused(400, "the form says nothing that can be done; load the page again.")
        if session.reviewing and action == "save" and not reviewing:
            return RedirectResponse(f"{here}?review={quote(row_id, safe='')}", 303)
        return RedirectResponse(here, 303)

    def diff(self, visit: Visit) -> Response:
        """The differences between the suggestion and what has been written so far."""
        batch = self._batch(visit)
        row_id = visit.value("row")
        session = self.desk.reviewed(batch, visit.person, row_id) or self.desk.session(
            batch, visit.person, row_id)
        suggestion = normalize_instruction(session.suggested)
        written = normalize_instruction(visit.value("text"))
        parts = word_diff(suggestion, written) if suggestion and written else None
        return HTMLResponse(html.render("label_diff", diff=parts))

    # Deciding and handing in

    def decisions(self, visit: Visit, problem: str = "") -> Response:
        """The rows on which people differ, or that somebody cannot label."""
        batch = self._batch(visit)
        cases = batch.cases(self.desk.store.answers(batch.name))
        case = cases[0] if cases else None
        skipped = visit.request.query_params.get("after", "")
        ids = [c.id for c in cases]
        if skipped in ids:
            case = cases[(ids.index(skipped) + 1) % len(cases)]
        row = None if case is None else self.desk.session(batch, visit.person, case.id).row
        return self._page(
            visit, "label_decide", 422 if problem else 200, batch=batch, problem=problem,
            title=self.desk.title(batch), case=case, row=row, left=len(cases),
            free=batch.format.free_text, choices=choices(batch.format),
            multiple=any(not choice.complete for choice in choices(batch.format)),
            diff=word_diff(case.answers[0].label, case.answers[1].label)
            if case and batch.format.free_text and len(case.answers) > 1 else None)

    def decide(self, visit: Visit) -> Response:
        """Save a decision."""
        batch, row_id = self._batch(visit), visit.value("row")
        try:
            answer = visit.value("answer")
            case = next((c for c in batch.cases(self.desk.store.answers(batch.name))
                         if c.id == row_id), None)
            if answer and case is not None and answer.isdigit() and int(answer) < len(case.answers):
                label = case.answers[int(answer)].label
            else:
                numbers = visit.fields.get("only", visit.fields.get("choice", []))
                label = label_of(batch.format, numbers, visit.value("text"))
            batch.settle(row_id, label, person=visit.person, note=visit.note)
        except DataError as error:
            return self.decisions(visit, str(error))
        return RedirectResponse(f"/batch/{quote(batch.name, safe='')}/decide", 303)

    def ready(self, visit: Visit, problem: str = "") -> Response:
        """What would be handed in."""
        batch = self._batch(visit)
        answers = self.desk.store.answers(batch.name)
        session = LabelingSession(batch, visit.person, batch.queue.iloc[:0])
        texts = dict(zip(batch.queue["id"], batch.queue["text"], strict=True))
        ready = batch.ready(visit.person, answers)
        alone = batch.ready(visit.person, answers, alone=True)
        return self._page(
            visit, "label_hand_in", batch=batch, title=self.desk.title(batch), problem=problem,
            ready=ready, texts=texts, waiting=len(alone) - len(ready),
            cases=len(batch.cases(answers)), pending=len(session.pending),
            progress=self.desk.progress(batch, visit.person, answers))

    def hand_in(self, visit: Visit) -> Response:
        """Deliver the answers that are ready."""
        batch = self._batch(visit)
        session = LabelingSession(batch, visit.person, batch.queue.iloc[:0],
                                  alone=visit.value("alone") == "yes")
        count = len(session.ready)
        path = session.submit()
        return self._page(
            visit, "label_handed_in", batch=batch, title=self.desk.title(batch), count=count,
            path=None if path is None else self.desk.workspace.relative(path),
            needed=self.desk.workspace.config().sampling.min_labelled)

    # What all have

    def _batch(self, visit: Visit) -> LabelingBatch:
        return self.desk.batch(visit.request.path_params["batch"])

    def _page(self, visit: Visit, template: str, status: int = 200, **values: object) -> Response:
        page = html.render(template, visitor=visit.visitor, raw=Markup.escape, **values)
        return HTMLResponse(page, status, {"Cache-Control": "no-store"})

    def _problem(self, visit: Visit, sentence: str, status: int) -> Response:
        return self._page(visit, "label_problem", status, sentence=sentence)

    async def _not_found(self, request: Request, error: Exception) -> Response:
        return await run_in_threadpool(
            self._problem, Visit(request), "there is no such page.", 404)

    def _answering(self, handler: Handler, anybody: bool) -> Callable:
        def guarded(request: Request, body: bytes) -> Response:
            visit = Visit(request)
            try:
                self.access.require_own_host(request)
                visit.visitor = self.access.visitor(request)
                visit.fields = _fields(body)
                if visit.visitor is None and not anybody:
                    return RedirectResponse("/", 303)
                if request.method == "POST" and not anybody:
                    self.access.require_form_token(request, visit.value("form"))
                return handler(visit)
            except Refused as refused:
                return self._problem(visit, str(refused), refused.status)
            except FtzardError as error:
                return self._problem(visit, str(error), 409)
            except Exception as error:  # its traceback is in a file that the sentence names
                return self._problem(visit, described(error), 500)

        async def endpoint(request: Request) -> Response:
            body = await _body(request)
            if body is None:
                return await run_in_threadpool(self._problem, Visit(request),
                                               "the form is larger than 1 MB; shorten it.", 413)
            return await run_in_threadpool(guarded, request, body)

        return endpoint


async def _body(request: Request) -> bytes | None:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return None
    return body


def _fields(body: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=500,
                        errors="replace")
    except (UnicodeDecodeError, ValueError) as error:
        raise Refused(400, "the form cannot be read; load the page again.") from error


class _Headers:
    """Headers that every response has."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *(
                    (name.lower().encode(), value.encode()) for name, value in _HEADERS.items())]
            await send(message)

        await self.app(scope, receive, sending)
