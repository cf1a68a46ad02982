"""The main job, on a tiny subject: all variants, resume, isolation, failures, and what a changed setting touches."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import psutil
import pytest
import tomli_w
import torch
from safetensors.torch import load_file, save_file
from threadpoolctl import threadpool_info

from benchmark import keyed, registry
from benchmark.forward.activations import ChunkStore
from benchmark.metrics import family
from benchmark.models import contents, parameters, pythia, subjects
from benchmark.records import Record
from benchmark.run import pipeline, plan
from benchmark.run.pipeline import Outcome
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec import template
from benchmark.spec.method import Method
from benchmark.spec.suite import Suite
from benchmark.spec.variant import Variant
from benchmark.store import Store
from benchmark.tracks.features.track import FeaturesTrack
from leaderboard import board, standings
from tests.conftest import VARIANTS, Silent, tiny_settings
from tests.judges.scripted import serving

ROOT = Path(__file__).parents[2]
Call = Callable[..., Iterable[Record]]


def run(
    suite: Suite, runs: Path, reporter: Silent, isolation: str = "process", method: Method | None = None
) -> Outcome:
    method = method or methods.load("topk_sae")
    return pipeline.run(suite, [MethodRun(method, methods.rows(method, suite))], Store(runs), isolation, reporter)


def scored(runs: Path, suite: str = "tiny", method: str = "topk_sae") -> dict[str, Record]:
    found = Store(runs).records(suite, method)
    return {keyed.digest(record.where.model_dump(exclude={"suite"})): record for record in found}


def values(runs: Path) -> dict[str, dict[str, float | None]]:
    return {
        key: {name: metric.value for name, metric in record.metrics.items()} for key, record in scored(runs).items()
    }


def close(one: float | None, other: float | None, *, rel: float) -> bool:
    """Both undefined, or within a tolerance: other thread counts add in another order."""
    if one is None or other is None:
        return one is other
    return one == pytest.approx(other, rel=rel, abs=1e-4)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, subjects: Path) -> dict[str, Any]:
    """One finished run that several tests look at."""
    runs = tmp_path_factory.mktemp("runs")
    settings = tiny_settings(subjects)
    outcome = run(Suite.model_validate(settings), runs, Silent())
    return {"runs": runs, "settings": settings, "outcome": outcome}


def test_every_variant_hookpoint_and_replicate_is_scored(done: dict[str, Any]) -> None:
    assert done["outcome"] == Outcome(20, 0, [], {})
    found = scored(done["runs"])
    assert len(found) == 20
    assert {record.where.variant for record in found.values()} == set(VARIANTS)
    for record in found.values():
        assert set(record.metrics) == {name for one in family.families("features") if one.usual for name in one.metrics}
        assert set(record.families) == {one.name for one in family.families("features") if one.usual}
        assert all(metric.value is not None or metric.reason for metric in record.metrics.values())
        assert record.counts["drawn"] == 20
        assert record.gate["weight_hash"] == record.hashes["weights"]
    joins = Store(done["runs"]).joins("tiny", "topk_sae")
    assert len(joins) == 20
    assert {join.metric for join in joins} == {"universality@1"}


def test_variants_share_data_draws_and_seeds_and_differ_in_weights(done: dict[str, Any]) -> None:
    same_cell: dict[tuple[int, str], list[Record]] = {}
    for record in scored(done["runs"]).values():
        same_cell.setdefault((record.where.replicate, record.where.place), []).append(record)
    for members in same_cell.values():
        assert len({tuple(record.seeds.items()) for record in members}) == 1
        assert len({record.hashes["data_score"] for record in members}) == 1
        assert len({record.settings_hash for record in members}) == 1
        assert len({record.hashes["weights"] for record in members}) == 4


def test_the_control_reconstructs_worst(done: dict[str, Any]) -> None:
    by_variant: dict[str, list[float]] = {}
    for record in scored(done["runs"]).values():
        value = record.metrics["explained_variance@1"].value
        assert value is not None
        by_variant.setdefault(record.where.variant, []).append(value)
    means = {variant: sum(found) / len(found) for variant, found in by_variant.items()}
    assert min(means, key=lambda variant: means[variant]) == registry.CONTROL


def test_again_computes_nothing_and_the_board_is_byte_identical(done: dict[str, Any]) -> None:
    suite, runs = Suite.model_validate(done["settings"]), done["runs"]

    def written() -> dict[str, bytes]:
        return {name: path.read_bytes() for name, path in board.render_local(Store(runs))[2].items()}

    before = written()
    assert set(before) == {"board", "all metrics"}
    stamps = {path: path.stat().st_mtime_ns for path in (runs / "records").rglob("*.parquet")}
    assert run(suite, runs, Silent()) == Outcome(0, 20, [], {})
    assert {path: path.stat().st_mtime_ns for path in (runs / "records").rglob("*.parquet")} == stamps
    assert written() == before


def test_without_isolation_the_numbers_are_the_same(done: dict[str, Any], tmp_path: Path) -> None:
    suite = Suite.model_validate(done["settings"] | {"variants": ["trained", "noise-embeddings"]})
    run(suite, tmp_path, Silent(), "none")
    expected = values(done["runs"])
    found = values(tmp_path)
    assert len(found) == 8
    assert all(found[key] == expected[key] for key in found)


@pytest.mark.parametrize(
    ("first", "second"), [("none", "process"), ("process", "none")], ids=["fitted with less", "extended with less"]
)
def test_a_record_says_the_weakest_isolation_that_it_rests_on(
    tiny: dict[str, Any], tmp_path: Path, first: str, second: str
) -> None:
    one = tiny | {"hookpoints": ["layers.1"], "variants": ["trained"], "metrics": ["l0@1"]}
    run(Suite.model_validate(one), tmp_path, Silent(), first)
    assert {record.isolation for record in scored(tmp_path).values()} == {first}
    run(Suite.model_validate(one | {"metrics": ["l0@1", "fvu@1"]}), tmp_path, Silent(), second)
    assert {(record.isolation, "fvu@1" in record.metrics) for record in scored(tmp_path).values()} == {("none", True)}
    run(Suite.model_validate(one | {"latents": 7}), tmp_path, Silent(), second)
    made = [record for record in Store(tmp_path).selected()[0] if record.suite["latents"] == 7]
    assert {record.isolation for record in made} == {"none"}, "scored anew, of a fit that is kept"


class Watching(Silent):
    """Keeps how many threads BLAS has while a group is computed."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def step(self, text: str, done: int, total: int) -> None:
        if "scoring" in text:
            self.threads |= blas_threads()


def blas_threads() -> set[int]:
    return {int(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blas_has_one_thread_in_a_group_and_its_own_again_after(done: dict[str, Any], tmp_path: Path) -> None:
    before, watching = blas_threads(), Watching()
    run(Suite.model_validate(done["settings"] | {"variants": ["trained"]}), tmp_path, watching, "none")
    assert watching.threads == {1}
    assert blas_threads() == before


def test_streamed_activations_give_the_same_numbers(done: dict[str, Any], tmp_path: Path) -> None:
    stream = {"shuffle_tokens": 8_192, "spool_gib": 0.0}
    suite = Suite.model_validate(done["settings"] | {"variants": ["step0"], "stream": stream})
    run(suite, tmp_path, Silent())
    expected = values(done["runs"])
    assert {key: expected[key] for key in values(tmp_path)} == values(tmp_path)
    assert {record.fit_id for record in scored(tmp_path).values()} <= {r.fit_id for r in scored(done["runs"]).values()}


@pytest.mark.parametrize(
    ("change", "pending", "refit"),
    [
        ({}, 0, 0),
        ({"hookpoints": ["layers.1"]}, 0, 0),
        ({"method_seeds": [0, 1]}, 20, 20),
        ({"metrics": ["fvu@1"]}, 0, 0),
        ({"latents": 10}, 20, 0),
        ({"tokens": {"fit": 20_000, "explain": 3_000, "score": 2_000, "block": 64}}, 20, 0),
        ({"tokens": {"fit": 19_000, "explain": 3_000, "score": 3_000, "block": 64}}, 20, 20),
        ({"methods": {"topk_sae": [{"expansion_factor": 4, "k": 3, "batch_size": 512}]}}, 20, 20),
        (
            {"methods": {"topk_sae": [{"expansion_factor": k, "k": 4, "batch_size": 512} for k in (4, 8)]}},
            20,
            20,
        ),
    ],
)
def test_a_changed_setting_touches_exactly_its_cells(
    done: dict[str, Any], change: dict[str, Any], pending: int, refit: int
) -> None:
    suite = Suite.model_validate(done["settings"] | change)
    method, store = methods.load("topk_sae"), Store(done["runs"])
    made = plan.make(suite, [MethodRun(method, methods.rows(method, suite))], store, download=False)
    assert len(made.pending) == pending
    fresh = [item for item in made.pending if item.ids and not store.featurizer(item.ids.fit).is_dir()]
    assert len(fresh) == refit


def test_rescoring_stored_featurizers_gives_the_same_numbers(done: dict[str, Any], tmp_path: Path) -> None:
    """A new metric is scored from what was fitted, without another forward for the fit."""
    change = {"variants": ["trained"], "metrics": ["fvu@1", "token_r2@1"], "name": "fewer"}
    suite = Suite.model_validate(done["settings"] | change)
    run(suite, done["runs"], Silent())
    again = scored(done["runs"], "fewer")
    before = scored(done["runs"])
    assert len(again) == 4
    for key, record in again.items():
        assert record.metrics["token_r2@1"] == before[key].metrics["token_r2@1"]
        assert record.metrics["fvu@1"] == before[key].metrics["fvu@1"]
        assert record.cost["fit_forwards"] == 0


def test_kill_and_resume_gives_the_same_numbers(done: dict[str, Any], tmp_path: Path) -> None:
    suite_file, runs = tmp_path / "tiny.toml", tmp_path / "runs"
    some = ["fvu@1", "recovered_variance@1", "causal_effect@1", "token_r2@1", FeaturesTrack.headline]
    changes = {"variants": ["trained", "step0", "rerandomized"], "metrics": some}
    suite_file.write_text(tomli_w.dumps(done["settings"] | changes))
    command = [sys.executable, "-m", "benchmark", "run", "topk_sae", "--suite", str(suite_file), "--runs", str(runs)]
    command += ["--jobs", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(scored(runs)) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive, "nobody goes on after a kill"
    before = len(scored(runs))
    assert 2 <= before < 12
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert f"{12 - before} cells computed, {before} were done" in finished.stdout.replace("\n", " ")
    found, expected = values(runs), values(done["runs"])
    assert len(found) == 12
    for key, metrics in found.items():
        for name, value in metrics.items():
            assert close(value, expected[key][name], rel=1e-3), name
    assert not list((runs / "spool").glob("*"))
    assert not list(runs.rglob("*.tmp"))


def test_groups_that_may_run_side_by_side_never_share_chunk_files(
    done: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: Silent
) -> None:
    folders = []

    class Seen(ChunkStore):
        def __init__(self, folder: Path, *others: Any, **named: Any) -> None:
            folders.append(folder)
            super().__init__(folder, *others, **named)

    monkeypatch.setattr("benchmark.tracks.features.trusted.ChunkStore", Seen)
    variants = ["trained", registry.CONTROL]  # of the same weights
    found = run(Suite.model_validate(done["settings"] | {"variants": variants}), tmp_path / "runs", silent, "none")
    assert found == Outcome(8, 0, [], {})
    assert len(set(folders)) == len(folders) == 4


def test_a_failure_beside_others_is_told(done: dict[str, Any], tmp_path: Path, silent: Silent) -> None:
    method = submission(tmp_path, "fail_at = 20000")
    suite = Suite.model_validate(done["settings"] | {"methods": {}, "variants": ["trained", "step0"]})
    asked = [MethodRun(method, methods.rows(method, suite))]
    found = pipeline.run(suite, asked, Store(tmp_path / "runs"), "process", silent, jobs=2)
    assert len(found.failed) == found.computed == 8
    assert sum("asked to fail" in text for text in silent.said) == 8


def test_what_another_process_is_sent_can_be_sent_once_a_language_model_has_judged(
    suite: Suite, tmp_path: Path, silent: Silent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_turn(
        jobs: int, here: Call, apart: Call, arguments: Sequence[tuple[Any, ...]], threads: int
    ) -> Iterator[Record]:
        for number, each in enumerate(arguments):
            yield from (ForkingPickler.loads(ForkingPickler.dumps(apart)) if number % 2 else here)(*each)

    monkeypatch.setattr("benchmark.run.launch.processes.spread", in_turn)
    method = submission(tmp_path)
    with serving() as server:
        judge = f"local-chat-completions:model=m,base_url={server.url},num_concurrent=4"
        wanted = {"methods": {}, "judge": judge, "metrics": [FeaturesTrack.headline], "variants": ["trained", "step0"]}
        suite = Suite.model_validate(suite.model_dump() | wanted)
        store = Store(tmp_path / "runs")
        found = pipeline.run(suite, [MethodRun(method, methods.rows(method, suite))], store, "none", silent, jobs=2)
    assert (found.computed, found.failed) == (8, [])
    assert found.judge["judge_requests"] == len(server.questions) > 8


PLAIN = """
import torch
from benchmark.api import Latents

class Units:
    def __init__(self, fail_at=-1):
        self.fail_at = fail_at

    def fit(self, activations, *, seed):
        if activations.n_tokens == self.fail_at:
            raise RuntimeError("asked to fail")
        self.n_latents = 2 * activations.d_model
        return self

    def encode(self, x):
        return Latents(torch.cat([x, -x], dim=1).clamp(min=0), torch.arange(self.n_latents).expand(len(x), -1))
"""


def submission(folder: Path, settings: str = "", scope: str = "hookpoint", code: str = PLAIN) -> Method:
    home = folder / "units"
    home.mkdir(parents=True)
    (home / "method.py").write_text(code)
    (home / "method.toml").write_text(
        f'track = "features"\nentry = "Units"\nsummary = "units"\nscope = "{scope}"\n[settings]\n{settings}\n'
    )
    return methods.load("units", (folder,))


def test_the_template_is_the_example_of_the_submissions_page_and_runs(suite: Suite, tmp_path: Path) -> None:
    folder = template.make("my_method", "features", tmp_path)
    page = (ROOT / "submissions" / "README.md").read_text()
    (example, *_) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    shown, made = textwrap.dedent(example), (folder / "method.py").read_text()
    assert [line for line in shown.splitlines() if line] == [line for line in made.splitlines() if line]
    method = methods.load(str(folder))
    small = suite.model_copy(update={"variants": ("trained",), "metrics": ("l0@1",)})
    assert run(small, tmp_path / "runs", Silent(), method=method) == Outcome(4, 0, [], {})


def test_a_fifteen_line_method_runs_and_says_what_it_cannot_do(suite: Suite, tmp_path: Path) -> None:
    method = submission(tmp_path / "methods")
    small = suite.model_copy(update={"variants": ("trained",), "hookpoints": ("layers.1",)})
    assert run(small, tmp_path / "runs", Silent(), method=method).computed == 2
    for record in scored(tmp_path / "runs", method="units").values():
        assert record.metrics["fvu@1"].reason == "the method does not decode"
        assert record.metrics["token_r2@1"].value is not None


def test_a_failing_method_becomes_records_and_is_tried_again(suite: Suite, tmp_path: Path) -> None:
    method = submission(tmp_path / "methods", "fail_at = 20_000")
    small = suite.model_copy(update={"variants": ("trained", "step0"), "hookpoints": ("layers.1",)})
    report = Silent()
    outcome = run(small, tmp_path / "runs", report, method=method)
    assert len(outcome.failed) == 4
    assert {record.status for record in scored(tmp_path / "runs", method="units").values()} == {"failed"}
    assert "asked to fail" in str(outcome.failed[0].error)
    assert sum("asked to fail" in line for line in report.said) == 4
    assert len(run(small, tmp_path / "runs", Silent(), method=method).failed) == 4


def test_a_failing_joint_fit_falls_back_to_single_fits(suite: Suite, tmp_path: Path) -> None:
    code = PLAIN + "\n    def fit_many(self, jobs):\n        raise RuntimeError('no joint fit today')\n"
    method = submission(tmp_path / "methods", code=code)
    small = suite.model_copy(update={"variants": ("trained",), "metrics": ("l0@1",)})
    assert run(small, tmp_path / "runs", Silent(), method=method) == Outcome(4, 0, [], {})
    assert {record.cost["fitted_together"] for record in scored(tmp_path / "runs", method="units").values()} == {1}


SHARED = """
import torch
from benchmark.api import Latents

class Units:
    def __init__(self):
        pass

    def fit(self, activations, *, seed):
        names = sorted(activations)
        total = sum(sum(len(b) for b in stream.batches(1000)) for stream in activations.values())
        return {name: One(activations[name].d_model, len(names), total) for name in names}

class One:
    def __init__(self, d_model, hookpoints, total):
        self.n_latents = 2 * d_model + hookpoints * (total == 40_000)

    def encode(self, x):
        return Latents(torch.cat([x, -x], dim=1).clamp(min=0), torch.arange(2 * x.shape[1]).expand(len(x), -1))
"""


def test_a_model_scope_method_sees_all_hookpoints_at_once(suite: Suite, tmp_path: Path) -> None:
    method = submission(tmp_path / "methods", scope="model", code=SHARED)
    small = suite.model_copy(update={"variants": ("trained",), "metrics": ("l0@1",)})
    assert run(small, tmp_path / "runs", Silent(), method=method) == Outcome(4, 0, [], {})
    for record in scored(tmp_path / "runs", method="units").values():
        assert record.counts["n_latents"] == 66


def test_case_mode_holds_one_checkpoint_against_draws_of_its_nulls(tmp_path: Path, tiny: dict[str, Any]) -> None:
    subject = tiny["subject"] | {"replicates": {"0": tiny["subject"]["replicates"]["0"]}, "null_draws": 19}
    suite = Suite.model_validate(
        tiny
        | {"subject": subject, "variants": ["trained", "step0"], "hookpoints": ["layers.0"], "metrics": ["fvu@1"]}
        | {"tokens": {"fit": 8_192, "explain": 2_000, "score": 2_000, "block": 64}}
    )
    assert run(suite, tmp_path, Silent(), "none").computed == 21
    found = {record.where.variant: record for record in scored(tmp_path).values()}
    assert set(found) == {"trained", "step0", *(f"step0:{draw}" for draw in range(19))}
    assert not [record.error for record in found.values() if record.error]
    assert len({record.hashes["weights"] for record in found.values()}) == 21
    assert len({tuple(record.seeds.items()) for record in found.values()}) == 1
    (row,) = (
        row for row in standings.rows(board.local(Store(tmp_path))[0][0], ["fvu@1"]) if row.place == standings.ALL
    )
    assert row.claim is None
    assert row.case is not None
    values = {name: record.metrics["fvu@1"].value or 0.0 for name, record in found.items()}
    draws = [value for name, value in values.items() if ":" in name]
    assert row.case.gap == pytest.approx(sum(draws) / 19 - values["trained"]), "lower is better: the gap is turned"
    assert row.scores["step0 (its own)"].mean == pytest.approx(values["step0"])


def test_draws_are_for_subjects_with_one_training_seed(tiny: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="null_draws is for a subject with one training seed"):
        Suite.model_validate(tiny | {"subject": tiny["subject"] | {"null_draws": 19}})
    alone = tiny["subject"] | {"replicates": {"0": "x"}, "null_draws": 18}
    with pytest.raises(ValueError, match="greater than or equal to 19"):
        Suite.model_validate(tiny | {"subject": alone})
    with pytest.raises(ValueError, match="write the null alone"):
        Suite.model_validate(tiny | {"variants": ["trained", "step0:3"]})
    with pytest.raises(ValueError, match="write the null alone"):
        Suite.model_validate(tiny | {"subject": alone | {"null_draws": 19}, "variants": ["trained", "step0:3"]})


def test_draws_of_step0_are_like_the_checkpoint_s_own(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Also where its tensors have other deviations than the configuration says: every second is 3 times as wide."""
    shutil.copytree(tiny["subject"]["replicates"]["0"], tmp_path / "seed0")
    weights = tmp_path / "seed0" / "step0" / "model.safetensors"
    tensors = load_file(weights)
    for name in sorted(tensors)[::2]:
        tensors[name] = tensors[name] if "norm" in name else 3 * tensors[name]
    save_file(tensors, weights, {"format": "pt"})
    tiny["subject"]["replicates"] = {"0": str(tmp_path / "seed0")}
    settings = Suite.model_validate(tiny).subject
    subject = subjects.resolve(settings, [Variant("step0")], tmp_path / "unused", download=False)
    step0 = subject.replicates[0].step0
    assert step0 is not None
    own = dict(parameters.named(pythia.load(step0, torch.float32, torch.device("cpu"))))
    found = []
    for draw in (0, 1):
        network, gate = subject.network(0, Variant("step0", None, draw))
        found.append(dict(parameters.named(network.model)))
        assert gate["weight_hash"] == contents.weight_hash(network.model)
    for name, tensor in own.items():
        if parameters.is_norm(name) or not tensor.any():
            assert torch.equal(found[0][name], tensor)
        else:
            assert not torch.equal(found[0][name], found[1][name])
            assert found[0][name].std().item() == pytest.approx(tensor.std().item(), rel=0.1)


def test_without_an_own_step0_none_is_shown_beside_the_draws(tiny: dict[str, Any], tmp_path: Path) -> None:
    source = Path(tiny["subject"]["replicates"]["0"])
    bare = tmp_path / "bare"
    shutil.copytree(source, bare, ignore=shutil.ignore_patterns("step0"))
    subject = tiny["subject"] | {"replicates": {"0": str(bare)}, "null_draws": 19}
    suite = Suite.model_validate(tiny | {"subject": subject, "variants": ["trained", "step0"]})
    method = methods.load("topk_sae")
    made = plan.make(suite, [MethodRun(method, methods.rows(method, suite))], Store(tmp_path), download=False)
    names = {str(item.cell.group.variant) for item in made.cells}
    assert names == {"trained", *(f"step0:{draw}" for draw in range(19))}
