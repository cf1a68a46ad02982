"""A language model as judge: prompts, transcripts and probabilities; what it cannot answer stays out of the score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmark.judges import prompts
from benchmark.judges.backend import Backend, JudgeError, Spec
from benchmark.judges.contract import Examples, Explanation, Grades, Language, Progress, Questions, Usage
from benchmark.judges.transcript import Transcript

AT_ONCE = 256


class Asked(NamedTuple):
    """One prompt: a conversation and its limit of tokens, or a conversation, an answer so far and no limit."""

    history: list[prompts.ChatMessage]
    limit: int
    begun: str | None = None

    @property
    def question(self) -> list[Any]:
        """What the transcript keeps it under."""
        return [self.history, self.limit, self.begun]


class LanguageModel:
    """Judge by any model of lm-eval's registry. With `replay` only transcripts answer.

    An empty answer is none: it is not kept, and asked for again in the next run.
    """

    def __init__(self, spec: Spec, language: Language, transcript: Transcript, *, replay: bool) -> None:
        self.identity = identity(spec)
        self._spec, self._language, self._transcript, self._replay = spec, language, transcript, replay
        self._model: Backend | None = None
        self._usage = Usage()

    def explain(self, latents: Sequence[Examples], progress: Progress) -> list[Explanation]:
        """One line each; a failed one where the answer holds none."""
        asked = [
            Asked(prompts.explain(examples, self._language.decode), prompts.EXPLANATION_TOKENS) for examples in latents
        ]
        said = [
            prompts.read_explanation(answer)
            for answer in self._answers(asked, "explaining", progress, [prompts.read_explanation] * len(asked))
        ]
        self._usage.unexplained += sum(words is None for words in said)
        return [Explanation(words or "", failed=words is None) for words in said]

    def grade(self, asked: Sequence[tuple[Explanation, Questions]], progress: Progress) -> list[Grades]:
        """Probabilities where the model gives them, else 0 or 1; NaN where the answer is not a list of grades, or the
        explanation failed.
        """
        slices = [
            (number, slice(start, start + prompts.TOGETHER))
            for number, (words, questions) in enumerate(asked)
            for start in range(0, len(questions.tokens), prompts.TOGETHER)
            if not words.failed
        ]
        parts = [asked[number][1].part(part) for number, part in slices]
        histories = [
            prompts.grade(asked[number][0], part, self._language.decode)
            for (number, _), part in zip(slices, parts, strict=True)
        ]
        readers = [partial(prompts.read_grades, count=len(part.tokens)) for part in parts]
        asking = [Asked(history, prompts.GRADES_TOKENS) for history in histories]
        answers = self._answers(asking, "grading", progress, readers)
        read = [reader(answer) for reader, answer in zip(readers, answers, strict=True)]
        probable = self._probabilities(histories, read, progress)
        grades = [np.full(len(questions.tokens), np.nan) for _, questions in asked]
        for (number, part), found in zip(slices, probable, strict=True):
            if found is not None:
                grades[number][part] = found
        self._usage.unusable += int(sum(np.isnan(found).sum() for found in grades))
        return grades

    def usage(self) -> Usage:
        """What was asked since the last call."""
        found, self._usage = self._usage, Usage()
        if self._model:
            found.prompt_tokens, self._model.prompt_tokens = self._model.prompt_tokens, None
            found.completion_tokens, self._model.completion_tokens = self._model.completion_tokens, None
        prices = self._spec.prices
        if len(prices) == 2 and found.prompt_tokens is not None and found.completion_tokens is not None:
            found.dollars = (
                found.prompt_tokens * prices["price_in"] + found.completion_tokens * prices["price_out"]
            ) / 1e6
        return found

    def close(self) -> None:
        """Close the transcript."""
        self._transcript.close()

    def _probabilities(
        self, histories: list[list[prompts.ChatMessage]], read: list[list[int] | None], progress: Progress
    ) -> list[list[float] | None]:
        """Each grade as a probability, after the grades that the model gave before it."""
        if not self._spec.has_probabilities:
            return [None if grades is None else [float(grade) for grade in grades] for grades in read]
        asked = [
            Asked(history, 0, prompts.before(grades[:place]))
            for history, grades in zip(histories, read, strict=True)
            for place in range(len(grades or ()))
            if grades is not None
        ]
        logits = iter(self._answers(asked, "reading probabilities", progress, [_number] * len(asked)))
        probabilities: list[list[float] | None] = []
        for grades in read:
            values = [next(logits) for _ in grades or ()]
            usable = grades is not None and None not in values
            probabilities.append([float(1 / (1 + np.exp(-value))) for value in values] if usable else None)
        return probabilities

    def _answers(
        self, asked: Sequence[Asked], what: str, progress: Progress, readers: Sequence[Callable[[Any], Any]]
    ) -> list[Any]:
        """Answers from the transcript, the rest from the model; None where there is none. What is kept and cannot be
        read is asked again: the server may have been mended since.
        """
        kept = [self._transcript.find(one.question) for one in asked]
        usable = [answer if reader(answer) is not None else None for answer, reader in zip(kept, readers, strict=True)]
        missing = [number for number, answer in enumerate(usable) if answer is None]
        self._usage.replayed += len(asked) - len(missing)
        if self._replay:
            lacking = sum(answer is None for answer in kept)
            if lacking and lacking == len(asked):
                raise JudgeError(f"none of {len(asked)} answers is in {self._transcript.path}: run without replay once")
            self._usage.failed += lacking
            return kept
        for start in range(0, len(missing), AT_ONCE):
            numbers = missing[start : start + AT_ONCE]
            progress(f"judge {what}", start, len(missing))
            self._ask([asked[number] for number in numbers], numbers, usable)
        return usable

    def _ask(self, asked: list[Asked], numbers: list[int], found: list[Any]) -> None:
        def heard(place: int, answer: Any) -> None:
            self._usage.requests += 1
            if answer != "":
                self._transcript.put(asked[place].question, answer)
                found[numbers[place]] = answer

        self._model = self._model or Backend(self._spec)
        if asked[0].begun is None:
            failed = self._model.generate([(one.history, one.limit) for one in asked], heard)
        else:
            failed = self._model.log_odds_of_one([(one.history, one.begun or "") for one in asked], heard)
        self._usage.failed += len(failed)


def _number(answer: Any) -> float | None:
    return answer if isinstance(answer, float) and np.isfinite(answer) else None


def identity(spec: Spec) -> str:
    """What the answers of this judge depend on."""
    return f"{spec.identity}/prompts {prompts.VERSION}"
