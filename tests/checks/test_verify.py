"""A cell computed again from its record alone gives the same numbers; what a record does not say is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import keyed
from benchmark.checks import verify
from benchmark.errors import BadInput
from benchmark.records import MetricValue, Record
from benchmark.reporting import Silent
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import cell as cells
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.spec.variant import Variant
from benchmark.store import Store

SETTINGS = {
    "name": "one",
    "summary": "one cell",
    "subject": {"name": "pythia-mini", "replicates": {3: "built-in:pythia-mini/seed3"}},
    "corpus": {"source": "built-in:world:1"},
    "tokens": {"fit": 9_000, "explain": 3_000, "score": 3_000, "block": 128},
    "stream": {"shuffle_tokens": 4_096},
    "variants": ["rerandomized"],
    "hookpoints": ["layers.1"],
    "metrics": ["fvu@1", "token_r2@1", "causal_effect@1", "fuzzing@1", "fuzzing-token-matched@1"],
    "latents": 20,
    "methods": {"topk_sae": [{"expansion_factor": 2, "k": 8, "batch_size": 512}]},
}


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Record:
    suite, method = Suite.model_validate(SETTINGS), methods.load("topk_sae")
    store = Store(tmp_path_factory.mktemp("runs"))
    pipeline.run(suite, [MethodRun(method, methods.rows(method, suite))], store, "process", Silent())
    (found,) = store.records("one", "topk_sae")
    return found


def test_a_cell_is_the_same_again(record: Record) -> None:
    again = verify.recompute(record, Silent())
    assert again.score_id == record.score_id
    found = verify.compare(record, again)
    assert found.compared == len(record.metrics) > 5
    assert found.moved == []
    assert found.differences == []
    assert found.within == "a relative 1e-04: the platform is the record's"


def test_a_number_that_was_changed_is_found(record: Record) -> None:
    forged = record.model_copy(update={"metrics": record.metrics | {"fvu@1": MetricValue(value=0.01)}})
    (moved,) = verify.compare(forged, record).moved
    assert moved.metric == "fvu@1"
    assert moved.recorded == 0.01


def test_on_another_processor_the_rows_own_seeds_decide(record: Record) -> None:
    """Training diverges in the last digits there, so that an honest record differs by more than rounding."""
    value = record.metrics["fvu@1"].value
    assert value is not None

    def with_value(number: float, replicate: int = 3, **hardware: object) -> Record:
        where = record.where.model_copy(update={"replicate": replicate})
        metrics = record.metrics | {"fvu@1": MetricValue(value=number)}
        return record.model_copy(update={"where": where, "metrics": metrics, "hardware": record.hardware | hardware})

    row = [
        with_value(value + 0.01 * place, replicate).model_copy(
            update={"score_id": keyed.short(replicate) if place else record.score_id}
        )
        for place, replicate in enumerate((3, 4, 5, 6, 7))
    ]
    others = [one.model_copy(update={"settings_hash": "f" * 16}) for one in row]
    assert [moved.metric for moved in verify.compare(record, with_value(value + 0.02), row).moved] == ["fvu@1"]
    near = verify.compare(record, with_value(value + 0.02, processor="another"), row + others)
    assert near.moved == []
    assert near.within.startswith("the spread of 4 other replicates: the platform is another one")
    far = verify.compare(record, with_value(value + 0.06, processor="another"), row)
    assert [moved.metric for moved in far.moved] == ["fvu@1"]
    assert verify.compare(record, with_value(value, processor="another"), row[:2]).compared == 0
    honest = [
        with_value(value, replicate).model_copy(update={"score_id": keyed.short(replicate)}) for replicate in (4, 5, 6)
    ]
    forged = with_value(value + 0.1)
    found = verify.compare(forged, with_value(value, processor="another"), [forged, *honest])
    assert [moved.metric for moved in found.moved] == ["fvu@1"], "a forged value is no measure of its own tolerance"
    bare = record.model_copy(update={"suite": {"judge": "lexical/2"}})
    with pytest.raises(BadInput, match="does not say its suite"):
        verify.suite_of(bare)
    assert verify.tag(record) != verify.tag(with_value(value, processor="another"))
    assert record.hardware["processor"]


def test_a_draw_of_a_null_is_verified_as_that_draw(record: Record) -> None:
    drawn = record.model_copy(update={"where": record.where.model_copy(update={"variant": "rerandomized:7"})})
    suite, method = verify.suite_of(drawn), methods.load("topk_sae")
    (cell,) = cells.cells(suite, method, methods.rows(method, suite), suite.hookpoints)
    assert cell.group.variant == Variant("rerandomized", None, 7)


def test_undefined_equals_undefined_only() -> None:
    assert verify.equal(MetricValue(value=None, reason="a"), MetricValue(value=None, reason="b"))
    assert not verify.equal(MetricValue(value=None), MetricValue(value=0.0))
    assert verify.equal(MetricValue(value=1.0), MetricValue(value=1.00005))
    assert not verify.equal(MetricValue(value=1.0), MetricValue(value=1.0005))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"where": {"source": "seed0"}}, "local subject"),
        ({"suite": {"judge": "local-chat-completions:m (ab)"}}, "only records of lexical judges"),
        ({"suite": {"corpus": {"source": "text.jsonl"}}}, "local text"),
    ],
)
def test_what_a_record_does_not_say_is_refused(record: Record, change: dict[str, dict[str, object]], said: str) -> None:
    where = record.where.model_copy(update=change.get("where", {}))
    changed = record.model_copy(update={"where": where, "suite": record.suite | change.get("suite", {})})
    with pytest.raises(BadInput, match=said):
        verify.suite_of(changed)


def test_a_sample_is_drawn_by_its_key_alone() -> None:
    cells = [f"{number:016x}" for number in range(20)]
    drawn = verify.sample(cells, 5, "key")
    assert drawn == verify.sample(cells[::-1], 5, "key")
    assert len(set(drawn)) == 5
    assert drawn != verify.sample(cells, 5, "another key")


def test_what_a_method_requires_is_kept_from_one_cell_to_the_next(record: Record, tmp_path: Path) -> None:
    """Of a method without requirements nothing is kept."""
    verify.recompute(record, Silent(), Store(tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
