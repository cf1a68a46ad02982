"""The probes track from suite to board, with the repository's own methods, and what must not get through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import BadInput
from benchmark.records import Record
from benchmark.run import pipeline, plan
from benchmark.run.pipeline import Outcome
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.method import Method, RunSettings
from benchmark.spec.suite import Suite
from benchmark.store import Store
from benchmark.tracks.contract import track_class
from benchmark.tracks.probes import tasks
from benchmark.tracks.probes.tasks import Task, control_labels
from benchmark.tracks.probes.trusted import ProbeTable
from leaderboard import board, publication, results
from leaderboard.rows import PLACE
from leaderboard.site import build
from tests.conftest import Silent, tiny_settings

TABLE: dict[str, Any] = {"tasks": ["previous_word_class", "seen_before"], "fit_tokens": 768, "score_tokens": 2_048}
OURS = ("logistic_probe", "mean_difference_probe", "lda_probe", "mlp_probe", "knn_probe")
FLOORS = ("majority_floor", "token_table_floor", "token_features_floor")


def suite_of(tiny: dict[str, Any], **changes: Any) -> Suite:
    few = {"variants": ["trained", "step0", "noise-embeddings"], "hookpoints": ["layers.1"], "methods": {}}
    tokens = {"fit": 20_000, "explain": 4_000, "score": 8_000, "block": 64}
    return Suite.model_validate(tiny | few | {"tokens": tokens, "tracks": {"probes": TABLE}} | changes)


def run(suite: Suite, runs: Path, *asked: Method, rows: list[RunSettings] | None = None) -> Outcome:
    wanted = [MethodRun(method, rows or methods.rows(method, suite)) for method in asked]
    return pipeline.run(suite, wanted, Store(runs), "none", Silent())


@pytest.fixture(scope="module")
def settings(subjects: Path) -> dict[str, Any]:
    return tiny_settings(subjects)


@pytest.fixture(scope="module")
def found(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, list[Record]]]:
    """All methods of the repository on one suite."""
    home, suite = tmp_path_factory.mktemp("probes"), suite_of(settings)
    outcome = run(suite, home, *map(methods.load, OURS + FLOORS))
    assert outcome.failed == []
    return Store(home), {name: Store(home).records("tiny", name) for name in OURS + FLOORS}


def values(records: list[Record], metric: str, variant: str | None = None) -> np.ndarray[Any, Any]:
    ordered = sorted(records, key=lambda one: (one.where.variant, one.where.replicate))
    own = [one.metrics[metric].value for one in ordered if variant in (None, one.where.variant)]
    return np.array(own, dtype=float)


@pytest.mark.parametrize("name", OURS + FLOORS)
def test_every_method_has_all_metrics_on_every_variant(name: str, found: tuple[Store, dict[str, list[Record]]]) -> None:
    records = found[1][name]
    assert len(records) == 6
    for record in records:
        assert {one for one, value in record.metrics.items() if value.value is None and "." not in one} == set()
        assert {f"probe_lift.{task}@1" for task in TABLE["tasks"]} < set(record.metrics)
        assert record.counts["tasks"] == 2
        latents = found[0].latents(record)
        assert latents is not None
        assert latents["probe_lift@1"].mean() == pytest.approx(record.metrics["probe_lift@1"].value)
        assert list(latents["task"]) == TABLE["tasks"]


@pytest.mark.parametrize("name", FLOORS)
def test_floors_read_nothing_beyond_the_token_on_any_variant(
    name: str, found: tuple[Store, dict[str, list[Record]]]
) -> None:
    assert values(found[1][name], "probe_lift@1") == pytest.approx(0, abs=1e-3)
    assert len(set(values(found[1][name], "probe_accuracy@1").round(9))) <= 2, "one a replicate, whatever the variant"


def test_probes_read_what_is_there_and_nothing_where_there_is_noise(
    found: tuple[Store, dict[str, list[Record]]],
) -> None:
    """The tiny network has learned little."""
    for name in OURS:
        noise = values(found[1][name], "probe_lift@1", "noise-embeddings")
        assert np.abs(noise).max() < 0.06
        assert values(found[1][name], "probe_lift@1", "trained").mean() > noise.mean() + 0.02
        majority = values(found[1]["majority_floor"], "probe_code_length@1", "trained")
        assert (values(found[1][name], "probe_code_length@1", "trained") < majority + 1).all()
    table, majority = (values(found[1][name], "probe_accuracy@1") for name in ("token_table_floor", "majority_floor"))
    assert table.min() > majority.max()
    # The token decides control labels, and not those of the tasks.
    assert values(found[1]["token_table_floor"], "probe_selectivity@1").max() < 0


def test_sense_and_agreement_are_what_training_puts_there(tmp_path: Path) -> None:
    """On pythia-mini a probe tells them better on trained than on any null, and a table of tokens on none."""
    nulls = ["step0", "rerandomized", "rerandomized-keep-embeddings"]
    asked = {
        "name": "tiny", "summary": "one replicate", "hookpoints": ["layers.2"], "variants": ["trained", *nulls],
        "subject": {"name": "pythia-mini", "replicates": {"0": "built-in:pythia-mini/seed0"}},
        "corpus": {"source": "built-in:world:1"}, "stream": {"shuffle_tokens": 4_096},
        "tokens": {"fit": 4_096, "explain": 16_384, "score": 32_768, "block": 256},
        "tracks": {"probes": {"tasks": ["sense", "agreement"], "fit_tokens": 4_096, "score_tokens": 8_192}},
        "metrics": ["probe_lift@1"],
    }  # fmt: skip
    suite = Suite.model_validate(asked)
    assert run(suite, tmp_path, methods.load("lda_probe"), methods.load("token_table_floor")).failed == []
    told = Store(tmp_path).records("tiny", "lda_probe")
    for task in ("sense", "agreement"):
        metric = f"probe_lift.{task}@1"
        (trained,) = values(told, metric, "trained")
        assert trained > max(values(told, metric, null)[0] for null in nulls) + 0.1
    assert values(Store(tmp_path).records("tiny", "token_table_floor"), "probe_lift@1") == pytest.approx(0, abs=1e-9)


def test_the_board_has_a_screen_of_its_own_and_the_site_a_figure_of_tasks(
    found: tuple[Store, dict[str, list[Record]]], drawn_site: None
) -> None:
    _, entries, paths = board.render_local(found[0])
    text = paths["board"].read_text()
    assert "track probes" in text
    assert {entry.method for entry in entries if entry.floor} == set(FLOORS)
    assert {entry.method for entry in entries if entry.reference} == {"logistic_probe"}
    assert [gate.name for gate in entries[0].gates] == [
        "complete", "assay sensitivity", "leak", "floors", "one setting",
    ]  # fmt: skip
    site = build.local(found[0]).parent
    (page,) = site.glob("*/methods/mlp_probe.html")
    html = page.read_text()
    assert "What probe_lift@1 is the mean of" in html
    assert "seen before" in html
    assert not list(site.glob("*/methods/*latents*"))


def test_a_published_row_has_its_tasks_and_nothing_that_stands_elsewhere(
    found: tuple[Store, dict[str, list[Record]]], settings: dict[str, Any], tmp_path: Path
) -> None:
    suite = suite_of(settings)
    made = publication.publish(
        found[0], tmp_path, "mlp_probe", None, lambda name, track: plan.content(suite, track_class(track)),
        lambda name, track: track_class(track).families(suite),
    )  # fmt: skip
    assert made.details == []
    (row,) = results.rows(tmp_path)
    assert row.info.details == {}
    tasks_of = row.samples()
    assert len(tasks_of) == 12
    assert set(tasks_of["task"]) == set(TABLE["tasks"])
    mean = tasks_of.groupby(PLACE)["probe_lift@1"].mean()
    assert mean.to_numpy() == pytest.approx(row.scores["probe_lift@1"].sort_index().to_numpy(), abs=1e-5)


PROBE = """
import torch

class Mine:
    def fit(self, activations, labels, *, n_classes, seed):
        self.n_classes = n_classes
        {fit}
        return self

    def predict(self, x):
        {predict}
"""


def written(home: Path, name: str, fit: str, predict: str, **manifest: object) -> Method:
    folder = home / name
    folder.mkdir()
    (folder / "method.py").write_text(PROBE.format(fit=fit, predict=predict))
    lines = {"track": '"probes"', "entry": '"Mine"', "summary": '"mine"', **manifest}
    (folder / "method.toml").write_text("".join(f"{key} = {value}\n" for key, value in lines.items()))
    return methods.load(str(folder))


@pytest.mark.parametrize(
    ("predict", "said"),
    [
        ("return torch.arange(len(x))[:, None].float().expand(-1, self.n_classes)", "tokens stand alone"),
        ("return torch.zeros(len(x), 1)", "a score for each class"),
        ("return torch.full((len(x), self.n_classes), -torch.inf)", "not finite"),
        ("return torch.zeros(len(x), self.n_classes, dtype=torch.int64)", "float of shape"),
        ("return None", "returned a NoneType"),
        ("return 1e7 * torch.ones(len(x), self.n_classes)", "beyond 1e"),
    ],
)
def test_scores_outside_the_contract_are_no_scores(
    tiny: dict[str, Any], tmp_path: Path, predict: str, said: str
) -> None:
    """The first would tell labels from where their tokens stand."""
    suite = suite_of(tiny, variants=["trained"])
    outcome = run(suite, tmp_path / "runs", written(tmp_path, "mine", "pass", predict))
    assert len(outcome.failed) == 2
    assert said in str(outcome.failed[0].error)


def test_tokens_come_in_a_drawn_order_from_everywhere() -> None:
    """So that no label can be told from where its token stands among the others."""
    whole = Task(("a", "b"), np.arange(10_000, 11_000), np.arange(1_000) // 500)
    some = whole.drawn(200, np.random.default_rng(0))
    assert len(set(some.rows)) == 200
    assert (some.y == (some.rows - 10_000) // 500).all()
    assert abs(np.corrcoef(np.arange(200), some.rows)[0, 1]) < 0.2
    assert 0.4 < some.y.mean() < 0.6
    assert (some.rows != whole.drawn(200, np.random.default_rng(1)).rows).any()


def test_what_a_worker_remembers_of_earlier_fits_shortens_no_code(tiny: dict[str, Any], tmp_path: Path) -> None:
    """It keeps every label that it is handed, and says it of the same activation."""
    fit = "KNOWN.update(zip(map(bytes, activations.numpy()), labels.tolist()))"
    predict = (
        "known = torch.tensor([KNOWN.get(bytes(row), 0) for row in x.numpy()])\n        "
        "return 9 * torch.nn.functional.one_hot(known % self.n_classes, self.n_classes).float()"
    )
    method = written(tmp_path, "remembers", fit, predict)
    code = method.folder / "method.py"
    code.write_text(code.read_text().replace("class Mine", "KNOWN = {}\n\nclass Mine"))
    suite = suite_of(tiny, variants=["trained"], tracks={"probes": TABLE | {"tasks": ["seen_before"]}})
    assert run(suite, tmp_path / "runs", methods.load(str(method.folder))).failed == []
    found = values(Store(tmp_path / "runs").records("tiny", "remembers"), "probe_code_length@1")
    assert found.min() > 1, "no shorter than the uniform code of two classes"


def test_who_needs_no_coordinates_scores_the_same_blind(tiny: dict[str, Any], tmp_path: Path) -> None:
    fit = "self.means = torch.stack([activations[labels == c].mean(dim=0) for c in range(n_classes)]).nan_to_num()"
    predict = "return -torch.cdist(x, self.means) / self.means.norm()"
    method, suite = written(tmp_path, "means", fit, predict), suite_of(tiny, variants=["trained"])
    found = {}
    for blind in (False, True):
        rows = [RunSettings("default", {}, "a salt", blind)]
        assert run(suite, tmp_path / f"runs{blind}", method, rows=rows).failed == []
        found[blind] = values(Store(tmp_path / f"runs{blind}").records("tiny", "means"), "probe_lift@1")
    assert found[True] == pytest.approx(found[False], abs=1e-3)


def test_a_task_without_two_classes_has_no_number_and_takes_the_mean_with_it(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(families: object) -> Iterator[tuple[str, Task]]:
        yield "sense", Task(("a", "b"), np.arange(600), np.zeros(600, np.int64))
        yield "topic", Task(("a", "b"), np.arange(600), np.arange(600) % 2)

    monkeypatch.setattr(tasks, "_of_concepts", none)
    suite = suite_of(tiny, variants=["trained"], tracks={"probes": TABLE | {"tasks": ["sense", "topic"]}})
    assert run(suite, tmp_path, methods.load("majority_floor")).failed == []
    for record in Store(tmp_path).records("tiny", "majority_floor"):
        assert record.metrics["probe_lift.sense@1"].value is None
        assert record.metrics["probe_lift.topic@1"].value == pytest.approx(0)
        for name in ("probe_lift@1", "probe_accuracy@1", "probe_selectivity@1", "probe_code_length@1"):
            assert record.metrics[name].value is None
            assert "sense" in str(record.metrics[name].reason)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"tasks": ["topics"]}, "did you mean 'topic'"),
        ({"fit_tokens": 3}, "greater than or equal to 512"),
        ({"task": ["topic"]}, "did you mean 'tasks'"),
    ],
)
def test_a_table_that_cannot_be_is_refused(tiny: dict[str, Any], table: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        ProbeTable.of(suite_of(tiny, tracks={"probes": table}))


def test_what_cannot_be_asked_is_refused_before_any_compute(tiny: dict[str, Any], tmp_path: Path) -> None:
    own = methods.load("logistic_probe")

    def planned(suite: Suite, method: Method = own) -> None:
        plan.make(suite, [MethodRun(method, methods.rows(method, suite))], Store(tmp_path), download=False)

    text = tmp_path / "text.txt"
    text.write_text("Some text. " * 100)
    plain = suite_of(tiny, corpus={"source": str(text)}, metrics=["probe_lift@1"])
    with pytest.raises(BadInput, match="needs labels"):
        planned(plain)
    assert ProbeTable.of(plain.model_copy(update={"tracks": {}})).tasks[0] == "previous_kind"
    with pytest.raises(BadInput, match="asks for no metric of the probes track"):
        planned(suite_of(tiny, metrics=["l0@1"]))
    with pytest.raises(BadInput, match="it reads one hookpoint"):
        planned(suite_of(tiny), written(tmp_path, "joint", "pass", "pass", scope='"model"'))
    with pytest.raises(BadInput, match="scope token is of floors"):
        written(tmp_path, "peeks", "pass", "pass", scope='"token"')


def test_control_labels_are_of_the_token_and_as_frequent_as_the_task_s() -> None:
    y = np.repeat([0, 1, 2], [700, 200, 100])
    task = Task(("a", "b", "c"), np.arange(1_000), y)
    labels = control_labels(task, np.arange(5_000))
    assert np.bincount(labels) / 5_000 == pytest.approx([0.7, 0.2, 0.1], abs=0.03)
    assert (control_labels(task, np.array([3, 3, 17])) == labels[[3, 3, 17]]).all()
