"""What each drawn latent tells best: a token class and, apart from it, what the token does not say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from benchmark.data.world.concepts import FAMILIES, Family
from benchmark.tracks.features.concepts import Known, recovery

TOKENS = 4_000


def test_a_latent_is_matched_with_the_concept_that_it_was_made_of() -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(20, size=TOKENS)
    noun = np.stack([ids % 2 == 0, ids % 2 == 1], axis=1)
    others = {
        name: rng.random((TOKENS, 2)) < (0.3, 0.5) for name, tier in FAMILIES.items() if tier != "token_class"
    }  # fmt: skip
    families = [Family("word_class", ("noun", "verb"), np.arange(TOKENS), noun)]
    families += [Family(name, ("one", "two"), np.arange(TOKENS), y) for name, y in others.items()]
    # Sense is asked about half of the tokens alone.
    half = np.flatnonzero(ids < 10)
    families = [one._replace(rows=half, y=one.y[half]) if one.name == "sense" else one for one in families]
    made = [noun[:, 1], others["sense"][:, 1], others["topic"][:, 0], rng.random(TOKENS) < 0.1]
    codes = sparse.csr_array(np.stack(made, axis=1) * 0.5)
    drawn = np.array([2, 0, 1, 3])
    found = recovery(codes, drawn, Known(families, ids, np.arange(TOKENS) // 50), probes=False).matches
    assert found["concept"][0] == "topic.one"
    assert found["concept"][2] == "sense.two"
    assert found["concept_lift"][0] == found["concept_lift"][2] == 1.0
    assert found["token_class"][1] == "word_class.verb"
    assert found["token_class_auroc"][1] == 1.0
    assert found["concept_lift"][1] == pytest.approx(0, abs=0.1), "a token class is nothing beyond the token"
    assert found["concept_lift"][3] == pytest.approx(0, abs=0.1), "the best of many by chance is told of the other half"
    assert found["token_class_auroc"][3] == pytest.approx(0.5, abs=0.05)
