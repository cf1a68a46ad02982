"""Any model of lm-eval's registry as something that answers prompts; every answer is handed on as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from benchmark.errors import BadInput, unknown
from benchmark.judges import prompts

STOP = "\n\n\n"
"""An answer is one line; `transformers serve` answers 500 to an empty list of stops."""
CHUNK = 32
IN_A_ROW = 3
REACHED_WITHIN = 5.0
SERVED = ("local-chat-completions", "local-completions", "openai-chat-completions", "openai-completions")
WITH_PROBABILITIES = ("hf", "vllm")
OURS = ("price_in", "price_out")
HOW_TO_REACH = (
    "num_concurrent",
    "max_retries",
    "timeout",
    "auth_token",
    "header",
    "verify_certificate",
    "ca_cert_path",
)
DEFAULTS: dict[str, dict[str, Any]] = {
    "local-chat-completions": {"num_concurrent": 8, "max_retries": 5, "timeout": 120},
    "local-completions": {
        "num_concurrent": 8, "max_retries": 5, "timeout": 120, "tokenizer_backend": None, "tokenized_requests": False
    },
    "hf": {"batch_size": 8},
}  # fmt: skip
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
            raise unknown("judge", kind, ["lexical", "lexical:token", "lexical:previous", *known()])
        wrong = [part for part in text.split(",") if part and "=" not in part]
        if wrong:
            raise BadInput(f"judge argument {wrong[0]!r} is not name=value: write {kind}:model=NAME,base_url=URL")
        arguments = simple_parse_args_string(text)
        prices = {name: float(arguments.pop(name)) for name in OURS if name in arguments}
        if kind.startswith("local-") and not {"model", "base_url"} <= arguments.keys():
            raise BadInput(f"judge {kind} needs model=NAME and base_url=URL")
        return cls(kind, arguments, prices)

    @property
    def has_probabilities(self) -> bool:
        """Whether the backend gives log-probabilities."""
        return self.kind in WITH_PROBABILITIES

    @property
    def identity(self) -> str:
        """What an answer depends on: kind and arguments, without how to reach the model and what it costs."""
        kept = (f"{name}={self.arguments[name]}" for name in sorted(self.arguments) if name not in HOW_TO_REACH)
        return f"{self.kind}:{','.join(kept)}"

    def check(self) -> None:
        """Refuse a server that nobody listens at, or a model that is not there, before any compute."""
        if self.kind in SERVED and "base_url" in self.arguments:
            place = urlsplit(str(self.arguments["base_url"]))
            port = place.port or (443 if place.scheme == "https" else 80)
            try:
                socket.create_connection((place.hostname or "", port), timeout=REACHED_WITHIN).close()
            except OSError as error:
                raise BadInput(
                    f"judge {self.kind}: nothing answers at {place.hostname}:{port} ({error.strerror or error}); start "
                    "the server, or replay from transcripts"
                ) from error
        elif self.kind == "hf":
            from transformers import AutoConfig  # noqa: PLC0415

            try:
                AutoConfig.from_pretrained(str(self.arguments.get("pretrained")))
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

        logging.getLogger("lm_eval").setLevel(logging.CRITICAL)
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self._model = get_model(spec.kind)(**(DEFAULTS.get(spec.kind, {}) | spec.arguments))
        if hasattr(self._model, "parse_generations"):
            self._model.parse_generations = self._counted(self._model.parse_generations)
        self._chunk = max(CHUNK, 4 * int(spec.arguments.get("num_concurrent", 1)))

    def generate(self, asked: Sequence[tuple[list[prompts.Message], int]], answered: Answered) -> dict[int, str]:
        """Ask conversations, each with its limit of tokens; returns why some have no answer, by number.

        Raises:
            JudgeError: nothing answers any more.
        """
        contexts = [self._context(history) for history, _ in asked]
        options = [{"until": [STOP], "max_gen_toks": limit, "temperature": 0, "do_sample": False} for _, limit in asked]
        return self._ask("generate_until", list(zip(contexts, options, strict=True)), answered)

    def probability_of_one(
        self, asked: Sequence[tuple[list[prompts.Message], str]], answered: Answered
    ) -> dict[int, str]:
        """Probability that the next grade is 1 rather than 0, after a conversation and the answer so far."""
        contexts = [self._context(history) + begun for history, begun in asked]
        both: dict[int, dict[int, float]] = {}

        def heard(number: int, answer: Any) -> None:
            found = both.setdefault(number // 2, {})
            found[number % 2] = float(answer[0])
            if len(found) == 2:
                answered(number // 2, found[1] - found[0])

        requests = [(context, digit) for context in contexts for digit in ("0", "1")]
        return {number // 2: why for number, why in self._ask("loglikelihood", requests, heard).items()}

    def _context(self, history: list[prompts.Message]) -> Any:
        tokenizer = getattr(self._model, "tokenizer", None)
        chats = "Chat" in type(self._model).__name__ or getattr(tokenizer, "chat_template", None)
        return self._model.apply_chat_template(history) if chats else prompts.plain(history)

    def _ask(self, method: str, requests: list[tuple[Any, Any]], answered: Answered) -> dict[int, str]:
        """A chunk at a time; what a failed chunk leaves open is asked again alone."""
        failed: dict[int, str] = {}
        for start in range(0, len(requests), self._chunk):
            numbers = range(start, min(start + self._chunk, len(requests)))
            hook = _Hook(requests, numbers, answered)
            if self._call(method, requests, list(numbers), hook) is None:
                continue
            in_a_row = 0
            for number in [number for number in numbers if number not in hook.done]:
                why = self._call(method, requests, [number], hook)
                in_a_row = in_a_row + 1 if why else 0
                if why:
                    failed[number] = why
                if why and in_a_row == IN_A_ROW:
                    raise JudgeError(f"the judge stopped answering: {why}; run the same command again to go on")
        return failed

    def _call(self, method: str, requests: list[tuple[Any, Any]], numbers: list[int], hook: _Hook) -> str | None:
        """Ask lm-eval; returns what went wrong, None when all was answered."""
        from lm_eval.api.instance import Instance  # noqa: PLC0415

        self._model.set_cache_hook(hook)
        instances = [Instance(method, {}, requests[number], place) for place, number in enumerate(numbers)]
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                getattr(self._model, method)(instances)
        except failures() as error:
            return f"{type(error).__name__}: {error}"[:200]
        return None

    def _counted(self, parse: Callable[..., list[str]]) -> Callable[..., list[str]]:
        def counting(outputs: Any, **rest: Any) -> list[str]:
            for output in outputs if isinstance(outputs, list) else [outputs]:
                usage = (output or {}).get("usage") or {}
                self.prompt_tokens = _plus(self.prompt_tokens, usage.get("prompt_tokens"))
                self.completion_tokens = _plus(self.completion_tokens, usage.get("completion_tokens"))
            return parse(outputs=outputs, **rest)

        return counting


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


def _plus(total: int | None, more: int | None) -> int | None:
    return total if more is None else (total or 0) + int(more)
