"""A server that speaks the chat-completions protocol from a script, and counts what it is asked."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

USAGE = {"prompt_tokens": 100, "completion_tokens": 10}


class Reply(NamedTuple):
    """What to answer: content, or a status, or nothing at all (`drop`), after `delay` seconds."""

    content: str | list[dict[str, Any]] | None = ""
    status: int = 200
    delay: float = 0.0
    drop: bool = False


Script = Callable[[int, str], Reply]


class Scripted:
    """`script` maps the running number of a call and its last message to a reply."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.questions: list[str] = []
        self.authorizations: list[str | None] = []
        self.lock = threading.Lock()
        self.url = ""


def is_grading(question: str) -> bool:
    return question.startswith("Explanation:")


def well(number: int, question: str) -> Reply:
    """A good judge: says a word, and grades 1 where that word is marked."""
    if not is_grading(question):
        return Reply("Explanation: the word w3")
    items = re.findall(r"^\d+\. (.*)$", question, flags=re.MULTILINE)
    grades = [int("<< w3>>" in item or ("<<" not in item and " w3 " in item)) for item in items]
    return Reply(json.dumps(grades))


@contextmanager
def serving(script: Script = well) -> Iterator[Scripted]:
    """The server on a free loopback port."""
    scripted = Scripted(script)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = body["messages"][-1]["content"]
            with scripted.lock:
                number = len(scripted.questions)
                scripted.questions.append(question)
                scripted.authorizations.append(self.headers["Authorization"])
            reply = scripted.script(number, question)
            time.sleep(reply.delay)
            if reply.drop:
                self.connection.close()
                return
            self._send(reply, body)

        def _send(self, reply: Reply, body: dict[str, Any]) -> None:
            message = {"role": "assistant", "content": reply.content}
            answer = {"choices": [{"index": 0, "message": message}], "usage": USAGE, "model": body["model"]}
            text = json.dumps(answer if reply.status == 200 else {"error": "as scripted"}).encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    scripted.url = f"http://127.0.0.1:{server.server_address[1]}/v1/chat/completions"
    try:
        yield scripted
    finally:
        server.shutdown()
        server.server_close()
