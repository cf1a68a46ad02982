"""Grades to scores: per latent, and per dictionary with the share that could be scored."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.autointerp.items import Items
from benchmark.judges.contract import Grades
from benchmark.metrics.ranking import auroc, paired_share
from benchmark.metrics.value import Value

VERSION = 1
CHANCE = 0.5
FEWEST_PAIRS = 20
MOST_UNJUDGED = 0.2
Scores = NDArray[np.float64]


class Judged(NamedTuple):
    """Score of one latent, None where it is unjudged; and whether it lacks negatives, and so scores chance."""

    score: float | None
    lacking: bool = False


def of_latent(items: Items, grades: Grades, *, paired: bool) -> Judged:
    """AUROC over items, or the share of pairs in which the positive is graded higher.

    A latent with under 20 pairs scores one half; one with under half of its items (or pairs) answered is unjudged.
    """
    if len(items.positive) < 2 * FEWEST_PAIRS:
        return Judged(CHANCE, lacking=True)
    if paired:
        order = np.lexsort((~items.positive, items.pair))
        positives, negatives = grades[order].reshape(-1, 2).T
        both = ~np.isnan(positives) & ~np.isnan(negatives)
        return Judged(paired_share(positives[both], negatives[both]) if both.mean() >= 0.5 else None)
    answered = ~np.isnan(grades)
    if answered.mean() < 0.5:
        return Judged(None)
    return Judged(auroc(grades[answered], items.positive[answered]))


def of_dictionary(scores: Scores, asked: NDArray[np.bool_]) -> Value:
    """Intention to score: q x mean of the judged latents + (1 - q) x one half, q the share of latents asked about.

    Args:
        scores: per drawn latent [latent], NaN where it was not asked about or is unjudged.
        asked: which drawn latents were asked about [latent]; where none was there is no score: nothing measured is no
            evidence of chance.
    """
    reason = _too_few(scores, asked) or _nobody(asked)
    if reason:
        return Value(None, reason, scores, int(np.isnan(scores).sum()))
    q = float(asked.mean())
    return Value(q * float(np.nanmean(scores)) + (1 - q) * CHANCE, None, scores, int(np.isnan(scores).sum()))


def of_survivors(scores: Scores, asked: NDArray[np.bool_]) -> Value:
    """Mean over the judged latents, however few: what the reference pipeline reports."""
    reason = _too_few(scores, asked) or _nobody(asked)
    if reason:
        return Value(None, reason, scores, int(np.isnan(scores).sum()))
    return Value(float(np.nanmean(scores)), None, scores, int(np.isnan(scores).sum()))


def _too_few(scores: Scores, asked: NDArray[np.bool_]) -> str | None:
    unjudged = int(np.isnan(scores[asked]).sum())
    if unjudged > MOST_UNJUDGED * asked.sum():
        return f"the judge gave too few usable answers: {unjudged} of {int(asked.sum())} latents are unjudged"
    return None


def _nobody(asked: NDArray[np.bool_]) -> str | None:
    if asked.any():
        return None
    return f"none of {len(asked)} drawn latents fires in enough windows to be asked about"
