"""A judge from its line in a suite, or from JUDGE on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from benchmark import keyed, registry
from benchmark.judges import language_model, lexical, prompts
from benchmark.judges.backend import Spec
from benchmark.judges.contract import Judge, Language
from benchmark.judges.language_model import LanguageModel
from benchmark.judges.transcript import Transcript

ITEMS = 100
"""Items of a scorer for one latent."""
TOKENS_PER_REQUEST = (600, 20)
"""In and out, of a request of usual length."""


class Judging(NamedTuple):
    """Which judge, where its transcripts are kept, and whether only they may answer."""

    spec: str
    transcripts: Path
    replay: bool = False

    @property
    def asks_a_model(self) -> bool:
        return self.spec not in registry.JUDGES

    def check(self) -> None:
        """Refuse what cannot answer, before any compute."""
        if self.asks_a_model and not self.replay:
            Spec.parse(self.spec).check()


def identity(spec: str) -> str:
    """What the answers of a judge depend on; refuses one that does not exist."""
    return f"{spec}/{lexical.VERSION}" if spec in registry.JUDGES else language_model.identity(Spec.parse(spec))


def public(spec: str) -> str:
    """A judge's name for records and tables: kind and model, and what tells two of them apart, but no address."""
    if spec in registry.JUDGES:
        return identity(spec)
    parsed = Spec.parse(spec)
    model = str(parsed.arguments.get("model") or parsed.arguments.get("pretrained") or "")
    return f"{parsed.kind}:{Path(model).name} ({keyed.short('judge', language_model.identity(parsed))[:8]})"


def cost(spec: str, latents: int, scorers: int, paper: bool) -> str:
    """At most what a language model is asked about so many latents, as a sentence. Each is explained (for the paper's
    scorer once more), and each scorer's items are graded with its own explanation and with the blind ones.
    """
    parsed = Spec.parse(spec)
    graded = -(-ITEMS // prompts.TOGETHER) * scorers * (1 + len(registry.BLIND))
    requests = latents * ((2 if paper else 1) + graded)
    tokens = [requests * each for each in TOKENS_PER_REQUEST]
    prices = parsed.prices
    dollars = (tokens[0] * prices["price_in"] + tokens[1] * prices["price_out"]) / 1e6 if len(prices) == 2 else None
    said = f"judge: at most {requests:,} requests, some {tokens[0]:,} tokens in and {tokens[1]:,} out"
    return said + (
        f", {dollars:,.2f} US dollars" if dollars is not None else "; price_in and price_out give their price"
    )


def open_judge(judging: Judging, language: Language) -> Judge:
    """The judge itself."""
    if not judging.asks_a_model:
        made: Judge = registry.resolve(registry.JUDGES[judging.spec])(judging.spec, language)
        return made
    spec = Spec.parse(judging.spec)
    transcript = Transcript(judging.transcripts, language_model.identity(spec))
    return LanguageModel(spec, language, transcript, replay=judging.replay)
