"""What a language model is asked, and how its answers are read. Examples in the prompts are made up for them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark.judges.contract import Examples, Explanation, Questions

VERSION = 2
TOGETHER = 5
LONGEST_EXPLANATION = 400
EXPLANATION_TOKENS, GRADES_TOKENS = 160, 40
OPEN, CLOSE = "<<", ">>"
STRONGEST = 10
ChatMessage = dict[str, str]
Decode = Callable[[Sequence[int]], str]

EXPLAINER = """\
You study one latent of a network that reads text. You get excerpts in which the latent fires; the tokens on which it \
fires stand between << and >>. Below each excerpt stand those tokens with the strength of the latent, 1 to 10. Say in \
one line what the latent stands for: which tokens, and in which contexts. Tokens may be parts of words. Answer with \
one line that begins with "Explanation:"."""
EXPLAINER_SHOT = (
    """\
1. We rowed along the<< bank>> until the reeds grew thick.
   (" bank", 9)
2. From the muddy<< bank>> he threw his line at the trout.
   (" bank", 10)
3. The queue at the bank was long. Later they sat on the<< bank>> of the stream.
   (" bank", 8)""",
    'Explanation: the word "bank" where it means the edge of a river, not a place for money',
)
FUZZER = """\
You get an explanation of one latent of a network that reads text, and numbered excerpts with marked tokens, between \
<< and >>. Judge for each excerpt whether the latent fires on the marked tokens, given the explanation and the text \
before them. Answer with nothing but a JSON list of one number per excerpt: 1 where the marks are right, 0 where they \
are wrong."""
FUZZER_SHOT = (
    """\
Explanation: the word "bank" where it means the edge of a river, not a place for money

1. They tied the boat to a post on the<< bank>> and walked.
2. My card was refused at the<< bank>> this morning.
3. The left<< bank>> floods each spring, said the miller.""",
    "[1, 0, 1]",
)
DETECTOR = """\
You get an explanation of one latent of a network that reads text, and numbered excerpts. Judge for each excerpt \
whether the latent fires anywhere in it, given the explanation. Answer with nothing but a JSON list of one number per \
excerpt: 1 where it fires, 0 where it does not."""
DETECTOR_SHOT = (
    """\
Explanation: the word "bank" where it means the edge of a river, not a place for money

1. A loan from the bank would pay for the roof.
2. Otters have dug into the bank below the mill.
3. She counted the coins twice and sighed.""",
    "[0, 1, 0]",
)
_THOUGHT = r"(?:think|thinking|thought|thoughts|reasoning)"
_THOUGHT_BEGINS = re.compile(rf"<\|?{_THOUGHT}\|?>|\[THINK\]", re.IGNORECASE)
_THOUGHT_ENDS = re.compile(rf"<\|?/{_THOUGHT}\|?>|\[/THINK\]", re.IGNORECASE)
_CHANNEL = re.compile(r"<\|channel\|>(\w+)<\|message\|>")
NOTHING = "(there is none: judge from the excerpts alone)"


def explain(examples: Examples, decode: Decode) -> list[ChatMessage]:
    """Ask for an explanation of examples."""
    largest = max(float(examples.activations.max(initial=0.0)), 1e-30)
    excerpts = []
    for number, (tokens, activations) in enumerate(zip(*examples, strict=True), start=1):
        active = np.flatnonzero(activations > 0)
        strengths = ", ".join(
            f"({json.dumps(decode([int(tokens[place])]), ensure_ascii=False)}, "
            f"{max(1, round(STRONGEST * float(activations[place]) / largest))})"
            for place in active
        )
        excerpts.append(f"{number}. {_line(marked(tokens, activations > 0, decode))}\n   {strengths}")
    return _chat(EXPLAINER, EXPLAINER_SHOT, "\n".join(excerpts))


def grade(explanation: Explanation, questions: Questions, decode: Decode) -> list[ChatMessage]:
    """Ask for grades of a handful of items, all of one kind."""
    system, shot = (FUZZER, FUZZER_SHOT) if questions.marked.any() else (DETECTOR, DETECTOR_SHOT)
    excerpts = (
        f"{number}. {_line(marked(tokens, marks, decode))}"
        for number, (tokens, marks) in enumerate(zip(*questions, strict=True), start=1)
    )
    return _chat(system, shot, f"Explanation: {explanation.text or NOTHING}\n\n" + "\n".join(excerpts))


def spoken(answer: object) -> str:
    """What an answer says, without the thoughts that some models write down before it; empty where it is no text, or a
    thought that was cut off.
    """
    if not isinstance(answer, str):
        return ""
    channels = _CHANNEL.split(answer)
    if len(channels) > 1:
        named = dict(zip(channels[1::2], channels[2::2], strict=True))
        answer = named.get("final", "").partition("<|")[0]
    said = _THOUGHT_ENDS.split(answer)[-1]
    return _THOUGHT_BEGINS.split(said)[0].strip()


def read_explanation(answer: object) -> str | None:
    """The explanation of an answer in one line; None where there is nothing to read."""
    said = spoken(answer).rpartition("Explanation:")[2].strip()
    first = said.splitlines()[0].strip() if said else ""
    return first[:LONGEST_EXPLANATION] or None


def read_grades(answer: object, count: int) -> list[int] | None:
    """The last JSON list of an answer, when it holds one 0 or 1 per item; else None."""
    lists = re.findall(r"\[[^\[\]]*\]", spoken(answer))
    try:
        values = json.loads(lists[-1]) if lists else None
    except json.JSONDecodeError:
        return None
    if not isinstance(values, list) or len(values) != count:
        return None
    return [int(value) for value in values] if all(value in (0, 1) for value in values) else None


def before(grades: Sequence[int]) -> str:
    """An answer up to the next grade."""
    return "[" + "".join(f"{grade}, " for grade in grades)


def marked(tokens: NDArray[np.int64], marks: NDArray[np.bool_], decode: Decode) -> str:
    """Text of a window with runs of marked tokens between << and >>."""
    parts = np.split(np.asarray(tokens), np.flatnonzero(np.diff(marks)) + 1)
    said, on = "", bool(marks[0])
    for part in parts:
        words = decode([int(number) for number in part])
        said, on = said + (f"{OPEN}{words}{CLOSE}" if on else words), not on
    return said


def plain(history: list[ChatMessage]) -> str:
    """A conversation for a model without a chat template."""
    return "\n\n".join(message["content"] for message in history) + "\n\n"


def _chat(system: str, shot: tuple[str, str], question: str) -> list[ChatMessage]:
    turns = zip(("system", "user", "assistant", "user"), (system, *shot, question), strict=True)
    return [{"role": role, "content": content} for role, content in turns]


def _line(text: str) -> str:
    return " ".join(text.split("\n"))
