"""A cell computed again from its record alone gives the same numbers; what a record does not say is refused."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmark import keyed
from benchmark.checks import verify
from benchmark.errors import BadInput
from benchmark.models.mini import builtin, unpublished
from benchmark.records import MetricValue, Record
from benchmark.reporting import Silent
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import cell as cells
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.spec.variant import Variant
from benchmark.stats.prediction import apart
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
    assert found.compared == tuple(record.metrics)
    assert len(found.compared) > 5
    assert found.exact
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
    assert verify.compare(record, with_value(value, processor="another"), row[:2]).compared == ()
    honest = [
        with_value(value + 0.001 * replicate, replicate).model_copy(update={"score_id": keyed.short(replicate)})
        for replicate in (4, 5, 6)
    ]
    forged = with_value(value + 0.1)
    found = verify.compare(forged, with_value(value, processor="another"), [forged, *honest])
    assert [moved.metric for moved in found.moved] == ["fvu@1"], "a forged value is no measure of its own tolerance"
    bare = record.model_copy(update={"suite": {"judge": "lexical/2"}})
    with pytest.raises(BadInput, match="does not say its suite"):
        verify.suite_of(bare)
    assert verify.tag(record) != verify.tag(with_value(value, processor="another"))
    assert record.hardware["processor"]


def test_fresh_seeds_draws_and_nulls_are_other_ones_and_compared_within_the_spread(record: Record) -> None:
    again = verify.recompute(record, Silent(), fresh="abc")
    assert again.salt == "abc"
    assert again.where.variant.startswith("rerandomized:")
    assert again.hashes["weights"] != record.hashes["weights"]
    for name in ("fit", "stream"):
        assert again.seeds[name] != record.seeds[name]
    assert again.metrics["fvu@1"] != record.metrics["fvu@1"]
    row = [
        record.model_copy(
            update={
                "where": record.where.model_copy(update={"replicate": seed}),
                "score_id": keyed.short(seed),
                "metrics": {
                    name: one.model_copy(update={"value": one.value if one.value is None else one.value + 0.1 * seed})
                    for name, one in record.metrics.items()
                },
            }
        )
        for seed in range(5)
    ]
    found = verify.compare(record, again, row)
    assert not found.exact
    assert "seeds, draws and nulls are new" in found.within
    assert (found.differences, found.of_the_same) == ([], True), (
        "weights of a null that is drawn anew are no difference"
    )
    assert not verify.drifted([found], ["fuzzing-token-matched@1"])


def test_a_record_with_a_salt_is_verified_with_it(record: Record) -> None:
    salted = verify.recompute(record, Silent(), fresh="abc")
    again = verify.recompute(salted, Silent())
    assert again.score_id == salted.score_id
    assert verify.compare(salted, again).exact
    assert verify.compare(salted, again).moved == []


def verified(values: np.ndarray, row: np.ndarray) -> verify.Verified:
    """What `compare` says of new values [metric], with the recorded ones and those of other replicates [5, metric]."""
    metrics, n = tuple(f"m{number}" for number in range(len(values))), len(row) - 1
    distances = np.abs(values - row[0]) / row[1:].std(axis=0, ddof=1)
    moved = [
        verify.MovedMetric(name, 0.0, 0.0, float(distance), n)
        for name, distance in zip(metrics, distances, strict=True)
        if distance > apart(1.0, n)
    ]
    return verify.Verified(metrics, False, moved, [], "", True)


@pytest.mark.parametrize("cells", [1, 2, 4, 8])
def test_chance_seldom_looks_like_drift_and_a_faked_claim_does(cells: int) -> None:
    """Honest values are draws like the row's own; a fake lies six standard deviations off in the first metric."""
    rng, metrics, runs = np.random.default_rng(5), 60, 200
    alarms = {0: 0, 6: 0}
    for shift in alarms:
        for _ in range(runs):
            shared = rng.standard_normal((cells, 6, 1))
            drawn = np.sqrt(0.5) * (shared + rng.standard_normal((cells, 6, metrics)))
            drawn[:, 0, 0] += shift
            found = [verified(cell[0], cell[1:]) for cell in drawn]
            alarms[shift] += verify.drifted(found, ["m0", "m1"])
    assert alarms[0] / runs < 0.075
    if cells >= 4:
        assert alarms[6] / runs > 0.7


def test_what_never_moved_says_nothing_and_what_is_defined_stays_so(record: Record) -> None:
    def of(seed: int, **values: float | None) -> Record:
        metrics = {name: MetricValue(value=value, reason=None if value else "none") for name, value in values.items()}
        where = record.where.model_copy(update={"replicate": seed})
        return record.model_copy(update={"where": where, "score_id": keyed.short(seed), "metrics": metrics})

    row = [of(seed, constant=1.0, moves=0.1 * seed, seldom=0.1 * seed if seed else None) for seed in range(1, 6)]
    row[4] = of(5, constant=1.0, moves=0.5, seldom=None)
    again = of(1, constant=0.9, moves=None, seldom=None).model_copy(update={"salt": "abc"})
    found = verify.compare(row[0], again, row)
    assert found.compared == ("moves", "seldom")
    assert [(moved.metric, moved.distance) for moved in found.moved] == [("moves", math.inf)]
    assert verify.drifted([found], ["moves"])
    assert not verify.drifted([found], [])


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


def with_seed(folder: Path, name: str, source: Path | None = None) -> Path:
    shutil.copytree(source or builtin.HOME / "seed5", folder / name)
    return folder


def test_networks_that_nobody_else_has_are_computed_on_and_compared_within_the_spread(
    record: Record, tmp_path: Path
) -> None:
    again = verify.recompute(record, Silent(), fresh="abc", subjects=with_seed(tmp_path, "seed90125"))
    assert again.where.source == "seed90125"
    assert again.hashes["checkpoint"] != record.hashes["checkpoint"]
    with_it = verify.recompute(record, Silent(), fresh="abc")
    assert not verify.equal(again.metrics["fvu@1"], with_it.metrics["fvu@1"])
    found = verify.compare(record, again, [record])
    assert not found.exact
    assert found.within.startswith("the spread of 0 other replicates: training seed, seeds, draws and nulls are new")
    assert not [said for said in found.differences if "checkpoint" in said or "weights" in said]
    assert found.of_the_same


def test_what_is_no_unpublished_seed_is_refused_before_anything_is_computed(
    record: Record, tmp_path: Path, subjects: Path
) -> None:
    where = record.where
    for folder, said in (
        (tmp_path, "holds no training seeds"),
        (with_seed(tmp_path / "published", "seed5"), "seed5, which is published"),
        (with_seed(tmp_path / "other", "seed77", subjects / "seed0"), "unknown revision"),
    ):
        with pytest.raises(BadInput, match=said):
            unpublished.draw(where.source, where.revision, folder, "abc")
    with pytest.raises(BadInput, match="not the built-in subject"):
        unpublished.draw("EleutherAI/pythia-70m", "main", tmp_path, "abc")
    (tmp_path / "other" / "seed77").rename(tmp_path / "seed77")
    last = f"step{builtin.steps(builtin.HOME / 'seed3')[-1]}"
    (revision,) = (path for path in (tmp_path / "seed77").glob("step*") if path.name != "step0")
    revision.rename(revision.parent / last)
    with pytest.raises(BadInput, match="another recipe"):
        unpublished.draw(where.source, where.revision, tmp_path, "abc")
