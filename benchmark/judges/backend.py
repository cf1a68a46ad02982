"""Any model of lm-eval's registry as something that answers prompts; every answer is handed on as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import re
import socket
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmark import keyed, registry
from benchmark.errors import BadInput, unknown
from benchmark.judges import prompts

STOPS = {True: "\n\n\n", False: "\n\n"}
"""With a chat template, and without: there a model goes on with examples of its own. `transformers serve` answers 500
to an empty list of stops.
"""
CHUNK = 32
IN_A_ROW = 3
REACHED_WITHIN = 5.0
SERVED = ("local-chat-completions", "local-completions", "openai-chat-completions", "openai-completions")
WITH_PROBABILITIES = ("hf", "vllm")
ALIASES = {"huggingface": "hf", "hf-auto": "hf"}
REFUSED = (400, 404, 413, 422)
"""What a server answers to a prompt that it will never take."""
VERSION = 1
OURS, WHOLE = ("price_in", "price_out"), ("num_concurrent", "max_retries", "timeout")
TEXTS = ("text", "output_text")
"""Parts of an answer that are what it says; others are pictures, or thoughts."""
OFFICIAL, OPENAI_KEY = "api.openai.com", "OPENAI_API_KEY"
HOW_TO_REACH = (
    "key_env",
    "num_concurrent",
    "max_retries",
    "timeout",
    "verify_certificate",
    "ca_cert_path",
)
SECRET = {"key", "apikey", "token", "secret", "password", "header", "headers", "auth", "authorization", "bearer"}
"""Words of arguments that hold a key: whoever lists the machine's processes would read it in the command."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "local-chat-completions": {"num_concurrent": 8, "max_retries": 5, "timeout": 120},
    "local-completions": {
        "num_concurrent": 8, "max_retries": 5, "timeout": 120, "tokenizer_backend": None, "tokenized_requests": False
    },
    "hf": {"batch_size": 8},
}  # fmt: skip
ADDRESS = re.compile(r"(url=)?['\"(]*https?://[^\s'\")]+['\")]*|host[ =]\S+", re.IGNORECASE)
Answered = Callable[[int, Any], None]


class JudgeError(RuntimeError):
    """The judge cannot go on; what it answered is kept."""


class Spec(NamedTuple):
    """A line such as `local-chat-completions:model=NAME,base_url=URL`: kind, lm-eval's arguments, and ours."""

    kind: str
    arguments: dict[str, Any]
    prices: dict[str, float]

    @classmethod
    def parse(cls, line: str) -> Spec:
        """Raises `BadInput` for a kind that lm-eval does not know, or arguments that are not name=value."""
        from lm_eval.utils import simple_parse_args_string  # noqa: PLC0415  takes seconds to import

        kind, _, text = line.partition(":")
        if kind not in known():
            raise unknown("judge", line if kind in registry.JUDGES else kind, [*registry.JUDGES, *known()])
        kind = ALIASES.get(kind, kind)
        wrong = [part for part in text.split(",") if part and "=" not in part]
        if wrong:
            raise BadInput(f"judge argument {wrong[0]!r} is not name=value: write {kind}:model=NAME,base_url=URL")
        arguments = simple_parse_args_string(text)
        if named := next((name for name in arguments if _holds_a_key(name)), None):
            raise BadInput(
                f"judge argument {named} would hold a key that everybody on the machine can read: put the key into an "
                "environment variable and say key_env=ITS_NAME"
            )
        address = urlsplit(str(arguments.get("base_url", "")))
        if address.username is not None or address.query:
            raise BadInput(
                "base_url holds more than an address: put a key into an environment variable and say key_env=ITS_NAME"
            )
        numbers = {name: _number(kind, name, arguments[name]) for name in (*OURS, *WHOLE) if name in arguments}
        prices = {name: numbers[name] for name in OURS if name in numbers}
        arguments = {name: value for name, value in arguments.items() if name not in OURS}
        if kind.startswith("local-") and not {"model", "base_url"} <= arguments.keys():
            raise BadInput(f"judge {kind} needs model=NAME and base_url=URL")
        return cls(kind, arguments, prices)

    @property
    def has_probabilities(self) -> bool:
        """Whether the backend gives log-probabilities."""
        return self.kind in WITH_PROBABILITIES

    @property
    def identity(self) -> str:
        """What an answer depends on: kind, arguments and a local model's files, without how to reach the model and what
        it costs.
        """
        kept = [f"{name}={self.arguments[name]}" for name in sorted(self.arguments) if name not in HOW_TO_REACH]
        folder = Path(str(self.arguments.get("pretrained", "")))
        if kept and folder.name and folder.is_dir():
            files = sorted(path for path in folder.iterdir() if path.is_file())
            kept.append(f"files={keyed.short([keyed.file_digest(path) for path in files])}")
        return f"{self.kind}/{VERSION}:{','.join(kept)}"

    @property
    def authorization(self) -> dict[str, str] | None:
        """The header that carries the user's key to a server: only where the user names the variable that holds it,
        `key_env=VARIABLE`, or the server is OpenAI's own. None where no address is given: then the library asks the
        provider of that kind, with that provider's key.

        Raises:
            BadInput: a variable that is named and not set.
        """
        if self.kind not in SERVED and "base_url" not in self.arguments:
            return None
        variable = self.arguments.get("key_env") or (OPENAI_KEY if self._is_official else None)
        if variable is None:
            return {}
        if not (key := os.environ.get(str(variable))):
            raise BadInput(f"judge {self.kind} needs {variable} in the environment")
        return {"Authorization": f"Bearer {key}"}

    @property
    def _is_official(self) -> bool:
        url = str(self.arguments.get("base_url", f"https://{OFFICIAL}"))
        return self.kind.startswith("openai-") and urlsplit(url)[:2] == ("https", OFFICIAL)

    def check(self) -> None:
        """Refuse a server that nobody listens at, or a model that is not there, before any compute."""
        _ = self.authorization
        if self.kind == "vllm" and find_spec("vllm") is None:
            raise BadInput(
                "judge vllm needs the package vllm: install it, or serve the model and use local-completions"
            )
        if self.kind in SERVED and "base_url" in self.arguments:
            self._check_server(str(self.arguments["base_url"]))
        elif self.kind == "hf":
            self._check_model()

    def _check_server(self, url: str) -> None:
        place = urlsplit(url)
        try:
            port = place.port or (443 if place.scheme == "https" else 80)
        except ValueError:
            port = 0
        if place.scheme not in ("http", "https") or not place.hostname or not port:
            raise BadInput(f"judge {self.kind}: base_url is not a URL: write http://host:port/v1/chat/completions")
        try:
            socket.create_connection((place.hostname, port), timeout=REACHED_WITHIN).close()
        except OSError as error:
            raise BadInput(
                f"judge {self.kind}: nothing answers at {place.hostname}:{port} ({error.strerror or error}); start the "
                "server, or replay from transcripts"
            ) from error

    def _check_model(self) -> None:
        from transformers import AutoConfig  # noqa: PLC0415

        passed = {name: self.arguments[name] for name in ("revision", "trust_remote_code") if name in self.arguments}
        try:
            AutoConfig.from_pretrained(str(self.arguments.get("pretrained")), **passed)
        except (OSError, ValueError) as error:
            raise BadInput(f"judge hf: {str(error).splitlines()[0]}") from error


def known() -> list[str]:
    """Names of lm-eval's registry."""
    import lm_eval.models  # noqa: F401, PLC0415
    from lm_eval.api.registry import MODEL_REGISTRY  # noqa: PLC0415

    return sorted(MODEL_REGISTRY)


class Backend:
    """A model, loaded; `prompt_tokens` and `completion_tokens` count what was asked and answered, where it is known."""

    def __init__(self, spec: Spec) -> None:
        from lm_eval.api.registry import get_model  # noqa: PLC0415

        for name in ("lm_eval", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._in_process = spec.has_probabilities
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        arguments = DEFAULTS.get(spec.kind, {}) | spec.arguments
        arguments.pop("key_env", None)
        self._model = get_model(spec.kind)(**arguments)
        if spec.authorization is not None:
            # lm-eval sends OPENAI_API_KEY to whatever base_url says; its header is computed once, on first use
            self._model.__dict__["header"] = spec.authorization
        if hasattr(self._model, "parse_generations"):
            self._model.parse_generations = self._counted(self._model.parse_generations)
        self._chunk = max(CHUNK, 4 * int(arguments.get("num_concurrent", 1)))

    def generate(self, asked: Sequence[tuple[list[prompts.ChatMessage], int]], answered: Answered) -> dict[int, str]:
        """Ask conversations, each with its limit of tokens; returns why some have no answer, by number.

        Raises:
            JudgeError: nothing answers any more.
        """
        contexts = [self._context(history) for history, _ in asked]
        options = [
            {"until": [STOPS[self._chats]], "max_gen_toks": limit, "temperature": 0, "do_sample": False}
            for _, limit in asked
        ]
        return self._ask("generate_until", list(zip(contexts, options, strict=True)), answered)

    def log_odds_of_one(
        self, asked: Sequence[tuple[list[prompts.ChatMessage], str]], answered: Answered
    ) -> dict[int, str]:
        """Log-odds that the next grade is 1 rather than 0, after a conversation and the answer so far."""
        contexts = [self._context(history) + begun for history, begun in asked]
        both: dict[int, dict[int, float]] = {}

        def heard(number: int, answer: Any) -> None:
            pair = both.setdefault(number // 2, {})
            pair[number % 2] = float(answer[0])
            if len(pair) == 2:
                answered(number // 2, pair[1] - pair[0])

        requests = [(context, digit) for context in contexts for digit in ("0", "1")]
        return {number // 2: why for number, why in self._ask("loglikelihood", requests, heard).items()}

    @property
    def _chats(self) -> bool:
        tokenizer = getattr(self._model, "tokenizer", None)
        return "Chat" in type(self._model).__name__ or bool(getattr(tokenizer, "chat_template", None))

    def _context(self, history: list[prompts.ChatMessage]) -> Any:
        return self._model.apply_chat_template(history) if self._chats else prompts.plain(history)

    def _too_long(self, method: str, request: tuple[Any, Any]) -> str | None:
        """In-process models cut long prompts from the left, instructions first: rather leave them unasked."""
        if not self._in_process or not isinstance(request[0], str):
            return None
        room = int(self._model.max_length) - (request[1]["max_gen_toks"] if method == "generate_until" else 8)
        length = len(self._model.tok_encode(request[0]))
        return f"a prompt of {length} tokens, where {room} fit" if length > room else None

    def _ask(self, method: str, requests: list[tuple[Any, Any]], answered: Answered) -> dict[int, str]:
        """A chunk at a time; what a failed chunk leaves open is asked again alone."""
        failed = {number: why for number, one in enumerate(requests) if (why := self._too_long(method, one))}
        fitting = [number for number in range(len(requests)) if number not in failed]
        for start in range(0, len(fitting), self._chunk):
            numbers = fitting[start : start + self._chunk]
            hook = _Hook(requests, numbers, answered)
            if self._call(method, requests, numbers, hook) is None:
                continue
            in_a_row = 0
            for number in [number for number in numbers if number not in hook.done]:
                error = self._call(method, requests, [number], hook)
                if error is None:
                    in_a_row = 0
                    continue
                failed[number] = said(error)
                in_a_row += status_of(error) not in REFUSED
                if in_a_row == IN_A_ROW:
                    raise JudgeError(f"the judge stopped answering: {said(error)}; run the same command again to go on")
        return failed

    def _call(
        self, method: str, requests: list[tuple[Any, Any]], numbers: list[int], hook: _Hook
    ) -> BaseException | None:
        """Ask lm-eval; returns what went wrong, None when all was answered."""
        from lm_eval.api.instance import Instance  # noqa: PLC0415

        self._model.set_cache_hook(hook)
        instances = [Instance(method, {}, requests[number], place) for place, number in enumerate(numbers)]
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                answers = getattr(self._model, method)(instances)
        except failures() as error:
            return error
        for number, answer in zip(numbers, answers, strict=True):
            hook.hear(number, answer)
        return None

    def _counted(self, parse: Callable[..., list[str]]) -> Callable[..., list[str]]:
        def counting(outputs: Any, **rest: Any) -> list[str]:
            for output in outputs if isinstance(outputs, list) else [outputs]:
                _join_parts(output)
                usage = (output or {}).get("usage") or {}
                self.prompt_tokens = _plus(self.prompt_tokens, usage.get("prompt_tokens"))
                self.completion_tokens = _plus(self.completion_tokens, usage.get("completion_tokens"))
            return parse(outputs=outputs, **rest)

        return counting


def _join_parts(output: Any) -> None:
    """Content of an answer that comes in parts becomes one text, in place; parts that are no text are left out."""
    choices = output.get("choices") if isinstance(output, dict) else None
    for choice in choices or ():
        message = choice.get("message") if isinstance(choice, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if isinstance(message, dict) and isinstance(content, list):
            said = [part for part in content if not isinstance(part, dict) or part.get("type", "text") in TEXTS]
            texts = [part.get("text") if isinstance(part, dict) else part for part in said]
            message["content"] = "".join(text for text in texts if isinstance(text, str))


class _Hook:
    """Stands where lm-eval keeps its cache: hears each answer as it comes."""

    def __init__(self, requests: list[tuple[Any, Any]], numbers: Sequence[int], answered: Answered) -> None:
        self.done: set[int] = set()
        self._answered = answered
        self._open: dict[str, list[int]] = {}
        for number in numbers:
            self._open.setdefault(_name(requests[number]), []).append(number)

    def add_partial(self, method: str, request: Any, answer: Any) -> None:
        """Called by lm-eval for every answer."""
        for number in self._open.get(_name(request), []):
            self.hear(number, answer)

    def hear(self, number: int, answer: Any) -> None:
        """Hand an answer on, once."""
        if number not in self.done:
            self.done.add(number)
            self._answered(number, answer)


def _name(request: Sequence[Any]) -> str:
    """What tells the requests of one call apart: lm-eval changes the options it is given."""
    context, rest = request
    return repr((context, rest if isinstance(rest, str) else None))


def failures() -> tuple[type[BaseException], ...]:
    """What asking a server may raise."""
    import aiohttp  # noqa: PLC0415
    import requests  # noqa: PLC0415

    return (aiohttp.ClientError, requests.RequestException, asyncio.TimeoutError, OSError, ValueError, KeyError)


def status_of(error: BaseException) -> int | None:
    """The HTTP status of a failed request, None where there was no answer."""
    response = getattr(error, "response", None)
    status = getattr(error, "status", None) or getattr(response, "status_code", None)
    return int(status) if status else None


def said(error: BaseException) -> str:
    """What went wrong, without the address: records and terminals are shown around."""
    status = status_of(error)
    if isinstance(error, OSError) and not status:
        return type(error).__name__
    text = f"HTTP {status}" if status else ADDRESS.sub("the server", str(error))
    return f"{type(error).__name__}: {text}"[:200]


def _holds_a_key(argument: str) -> bool:
    return argument != "key_env" and not SECRET.isdisjoint(re.split(r"[_-]", argument.lower()))


def _number(kind: str, name: str, value: Any) -> float:
    try:
        return float(value) if name in OURS else int(value)
    except (TypeError, ValueError) as error:
        raise BadInput(f"judge {kind}: {name}={value} is not a number") from error


def _plus(total: int | None, more: int | None) -> int | None:
    return total if more is None else (total or 0) + int(more)
