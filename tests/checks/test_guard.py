"""The guard: strict on a known platform, wide with a notice elsewhere, and what may regenerate it."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import keyed
from benchmark.checks import guard
from benchmark.checks.guard import Expected, GuardReport
from benchmark.errors import BadInput
from benchmark.records import MetricValue, Record, Where
from benchmark.stats.prediction import tolerance

HARDWARE = {"machine": "x86_64", "processor": "P 1", "cpu_capability": "AVX512", "bf16": True, "threads": 1}


def record(replicate: int, value: float | None, torch: str = "2.13.0", metric: str = "fvu@1") -> Record:
    where = Where(
        suite="smoke", method="m", label="default", subject="x", source="x", revision="r", replicate=replicate,
        variant="trained", method_seed=0, track="features",
        place="layers.2",
    )  # fmt: skip
    return Record(
        where=where, status="scored", fit_id=keyed.short("f"), score_id=keyed.short(replicate),
        suite_hash=keyed.short("suite"), settings_hash=keyed.short("h"), settings={}, suite={},
        metrics={metric: MetricValue(value=value)}, versions={"torch": torch}, hardware=HARDWARE,
    )  # fmt: skip


CALIBRATION = [record(replicate, 0.2 + 0.01 * replicate) for replicate in range(8)]
RATIO = 6.0811 / 2.3646
EXPECTED = guard.regenerated(CALIBRATION[:2], CALIBRATION, None, "first")


def test_the_same_values_pass_and_a_thousandth_is_drift_where_the_platform_is_known() -> None:
    assert guard.check(CALIBRATION[:2], EXPECTED)[:3] == ([], 2, True)
    checked = guard.check([record(0, 0.2002), CALIBRATION[1]], EXPECTED)
    assert [(moved.cell, moved.metric) for moved in checked.moved] == [("default/trained/0/layers.2", "fvu@1")]


def test_elsewhere_the_spread_of_replicates_decides() -> None:
    spread = EXPECTED.spread["trained"]["fvu@1"]
    assert spread.deviation == pytest.approx(0.0244949, abs=1e-6)
    assert spread.tolerance() == pytest.approx(2.51 * spread.deviation, rel=1e-3)
    near, far = (
        [record(0, 0.2 + factor * spread.tolerance(), torch="3.0"), record(1, 0.21, torch="3.0")]
        for factor in (0.99, 1.01)
    )
    assert guard.check(near, EXPECTED)[:3] == ([], 2, False)
    assert len(guard.check(far, EXPECTED).moved) == 1


def elsewhere(*moved: tuple[int, int, float]) -> GuardReport:
    """Twenty-five metrics in four cells on another platform; of a metric in a cell, by how many of its tolerances it
    moved.
    """
    names = [f"m{number}@1" for number in range(25)]
    cells = {f"default/trained/{replicate}/layers.2": dict.fromkeys(names, 0.2) for replicate in range(4)}
    spread = {"trained": {name: guard.Spread(deviation=0.01, replicates=8) for name in names}}
    away = {(names[metric], cell): by * tolerance(0.01, 8) for metric, cell, by in moved}
    found = [
        record(cell, 0.2).model_copy(
            update={"metrics": {name: MetricValue(value=0.2 + away.get((name, cell), 0)) for name in names}}
        )
        for cell in range(4)
    ]
    return guard.check(found, Expected(why="", platforms={"another": dict(cells)}, spread=spread))


def test_elsewhere_one_value_in_twenty_may_lie_outside_and_none_beyond_what_holds_for_all() -> None:
    """t(1 - .025/100, 7) is 6.08, that of one value 2.36."""
    assert tolerance(0.01, 8, values=100) / tolerance(0.01, 8) == pytest.approx(RATIO, rel=1e-3)
    few, many = (elsewhere(*((metric, 0, 1.1) for metric in range(number))) for number in (5, 6))
    assert [len(one.moved) for one in (few, many)] == [5, 6]
    assert [one.drifted for one in (few, many)] == [False, True]
    assert not elsewhere((0, 0, 0.99 * RATIO)).drifted
    assert elsewhere((0, 0, 1.01 * RATIO)).drifted


def test_elsewhere_a_metric_that_moved_in_most_cells_is_drift() -> None:
    """A fault moves a metric everywhere, by less than chance could move one value of hundreds."""
    half, most = (elsewhere(*((0, cell, 1.1) for cell in range(number))) for number in (2, 3))
    assert [one.drifted for one in (half, most)] == [False, True]


def test_elsewhere_values_that_cannot_move_are_not_counted() -> None:
    """Undefined on one side, or without a spread: they do not make room for others."""
    found = guard.check([record(0, None, torch="3.0"), record(1, 0.21, torch="3.0")], EXPECTED)
    assert (found.compared, found.could_move) == (2, {"fvu@1": 1})


def test_on_a_known_platform_a_single_value_is_drift() -> None:
    assert guard.check([record(0, 0.2002), CALIBRATION[1]], EXPECTED).drifted
    assert not guard.check(CALIBRATION[:2], EXPECTED).drifted


def test_a_value_that_became_undefined_is_drift_where_the_platform_is_known() -> None:
    assert len(guard.check([record(0, None), CALIBRATION[1]], EXPECTED).moved) == 1
    elsewhere = [record(0, None, torch="3.0"), record(1, 0.21, torch="3.0")]
    assert guard.check(elsewhere, EXPECTED).moved == []


def test_a_new_metric_is_drift_and_a_cell_too_many_or_too_few_says_what_to_do() -> None:
    assert len(guard.check([record(0, 0.2, metric="new@1"), CALIBRATION[1]], EXPECTED).moved) == 2
    with pytest.raises(BadInput, match="not expected: regenerate"):
        guard.check([*CALIBRATION[:2], record(5, 0.2)], EXPECTED)
    with pytest.raises(BadInput, match=r"default/trained/1/layers\.2 is expected, and was not scored"):
        guard.check(CALIBRATION[:1], EXPECTED)


def test_regenerating_keeps_other_platforms_and_needs_eight_replicates() -> None:
    elsewhere = [record(replicate, 0.3, torch="3.0") for replicate in range(8)]
    again = guard.regenerated(elsewhere[:2], elsewhere, EXPECTED, "a new torch")
    assert len(again.platforms) == 2
    assert guard.check(CALIBRATION[:2], again)[:3] == ([], 2, True)
    with pytest.raises(BadInput, match="7 calibration replicates"):
        guard.regenerated(CALIBRATION[:2], CALIBRATION[:7], None, "too few")


def test_the_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "expected.json"
    assert guard.read(path) is None
    guard.write(path, EXPECTED)
    assert guard.read(path) == EXPECTED
    assert Expected.model_validate_json(path.read_text()).why == "first"


def test_every_record_says_its_platform_and_several_are_refused() -> None:
    mixed = [CALIBRATION[0], record(1, 0.21, torch="3.0")]
    with pytest.raises(BadInput, match="records of 2 platforms"):
        guard.check(mixed, EXPECTED)
    other = CALIBRATION[1].model_copy(update={"hardware": HARDWARE | {"processor": "P 2"}})
    with pytest.raises(BadInput, match="records of 2 platforms"):
        guard.check([CALIBRATION[0], other], EXPECTED)
    elsewhere = [one.model_copy(update={"hardware": HARDWARE | {"processor": "P 2"}}) for one in CALIBRATION[:2]]
    assert not guard.check(elsewhere, EXPECTED).known, "another processor rounds otherwise"
