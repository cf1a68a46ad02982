"""Whole runs on odd input: the right number, a reason, or one sentence; never a wrong number without a word."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file

from benchmark import keyed, reporting
from benchmark.errors import BadInput
from benchmark.models import pythia
from benchmark.models.network import Network
from benchmark.records import Record
from benchmark.run import pipeline, plan
from benchmark.run.launch import processes as parallel
from benchmark.run.pipeline import Outcome
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.method import Method
from benchmark.spec.suite import Suite, differences
from benchmark.store import Store
from benchmark.tracks.features.track import FeaturesTrack
from leaderboard import publication
from tests.conftest import REVISION, Silent
from tests.run.test_pipeline import PLAIN, submission

SMALL = {"variants": ["trained"], "hookpoints": ["layers.1"], "metrics": ["fvu@1", "ce_clean@1", "token_r2@1"]}


def suite_of(tiny: dict[str, Any], **changes: Any) -> Suite:
    return Suite.model_validate(tiny | SMALL | changes)


def run(suite: Suite, runs: Path, method: Method | None = None, isolation: str = "none", jobs: int = 1) -> Outcome:
    method, report = method or methods.load("topk_sae"), Silent()
    return pipeline.run(
        suite, [MethodRun(method, methods.rows(method, suite))], Store(runs), isolation, report, jobs=jobs
    )


def kept(runs: Path, method: str = "topk_sae") -> list[Record]:
    return Store(runs).records("tiny", method)


def values(runs: Path, method: str = "topk_sae") -> dict[str, dict[str, float | None]]:
    return {
        str(record.where.model_dump(exclude={"source"})): {name: one.value for name, one in record.metrics.items()}
        for record in kept(runs, method)
    }


def test_two_interrupted_halves_equal_the_whole_to_the_bit(tiny: dict[str, Any], tmp_path: Path) -> None:
    """However many groups are pending, and side by side, each has the suite's threads."""
    suite = suite_of(tiny, variants=["trained", "step0", "rerandomized"])
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    run(suite, whole, isolation="process", jobs=1)
    assert len(values(whole)) == 6
    for jobs, variants in ((1, ["rerandomized"]), (2, ["rerandomized", "trained", "step0"])):
        run(suite_of(tiny, variants=variants), halves, isolation="process", jobs=jobs)
    assert values(halves) == values(whole)
    assert {record.hardware["threads"] for record in kept(halves)} == {1}
    assert {record.suite_hash for record in kept(halves)} == {kept(whole)[0].suite_hash}


def test_a_suite_that_grows_keeps_one_row(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Cells and joins that are done belong to the suite as it is now."""
    metrics = ["fvu@1", "universality@1"]
    for variants in (["trained", "step0"], ["trained", "step0", "rerandomized"]):
        outcome = run(suite_of(tiny, variants=variants, metrics=metrics), tmp_path, isolation="process")
        assert outcome.computed == {2: 4, 3: 2}[len(variants)]
    records, joins = Store(tmp_path).selected()
    assert len({record.suite_hash for record in records}) == len({join.suite_hash for join in joins}) == 1
    assert {join.suite_hash for join in joins} == {records[0].suite_hash}
    assert all(record.suite["variants"] == ["rerandomized", "step0", "trained"] for record in records)
    publication.check(records, None, {}, Store(tmp_path))


def test_threads_are_the_suites_and_in_the_ids(tiny: dict[str, Any], tmp_path: Path) -> None:
    method, ids = methods.load("topk_sae"), []
    for threads in (1, 2):
        suite = suite_of(tiny, threads=threads)
        made = plan.make(suite, [MethodRun(method, methods.rows(method, suite))], Store(tmp_path), download=False)
        ids.append((made.suite_hashes["features"], made.cells[0].ids))
    assert ids[0][0] != ids[1][0]
    assert ids[0][1] is not None
    assert ids[1][1] is not None
    assert ids[0][1].fit != ids[1][1].fit
    run(suite_of(tiny, threads=2), tmp_path / "two")
    assert {record.hardware["threads"] for record in kept(tmp_path / "two")} == {2}


def spoiled_weights(tiny: dict[str, Any], folder: Path, name: str, value: float) -> None:
    """Make one tensor of the trained replicates huge, so that what comes after it overflows."""
    for seed, source in tiny["subject"]["replicates"].items():
        shutil.copytree(source, folder / f"subject{seed}")
        path = folder / f"subject{seed}" / REVISION / "model.safetensors"
        tensors = load_file(path)
        tensors[name] = torch.full_like(tensors[name], value)
        save_file(tensors, path, {"format": "pt"})
        tiny["subject"]["replicates"][seed] = str(folder / f"subject{seed}")


def test_activations_that_are_not_finite_are_undefined_and_name_the_layer(tiny: dict[str, Any], tmp_path: Path) -> None:
    spoiled_weights(tiny, tmp_path, "gpt_neox.layers.1.mlp.dense_4h_to_h.bias", 3e38)
    spoiled_weights_of_first = load_file(tmp_path / "subject0" / REVISION / "model.safetensors")
    assert torch.isfinite(spoiled_weights_of_first["gpt_neox.layers.1.mlp.dense_4h_to_h.bias"]).all()
    tiny["subject"]["dtype"] = "bfloat16"
    name = "gpt_neox.layers.1.mlp.dense_4h_to_h.weight"
    for seed in (0, 1):
        path = tmp_path / f"subject{seed}" / REVISION / "model.safetensors"
        tensors = load_file(path)
        save_file(tensors | {name: torch.full_like(tensors[name], 3e38)}, path, {"format": "pt"})
    wanted = [*SMALL["metrics"], "causal_effect@1"]
    suite = suite_of(tiny, hookpoints=["layers.0", "layers.1"], metrics=wanted)
    assert run(suite, tmp_path / "runs").failed == []
    for record in kept(tmp_path / "runs"):
        assert record.status == "scored"
        if record.where.place == "layers.1":
            reason = "the network's activations at layers.1 are not finite on the score split"
            assert {(one.value, one.reason) for one in record.metrics.values()} == {(None, reason)}
        else:
            assert record.metrics["fvu@1"].value is not None
            assert record.metrics["ce_clean@1"].value is None
            assert "own activations at layers.1 are not finite" in str(record.metrics["ce_clean@1"].reason)
            assert "layers.1 are not finite" in str(record.metrics["causal_effect@1"].reason)
    below = suite_of(tiny, hookpoints=["layers.0"], metrics=["ce_clean@1"])
    run(below, tmp_path / "below")
    assert all("layers.1 are not" in str(record.metrics["ce_clean@1"].reason) for record in kept(tmp_path / "below"))


def test_weights_that_a_dtype_cannot_hold_are_refused(tiny: dict[str, Any], tmp_path: Path) -> None:
    spoiled_weights(tiny, tmp_path, "gpt_neox.final_layer_norm.bias", 1e6)
    tiny["subject"]["dtype"] = "float16"
    with pytest.raises(BadInput, match=r"not finite in torch\.float16"):
        pythia.load(pythia.locate(str(tmp_path / "subject0"), REVISION), torch.float16, torch.device("cpu"))


HUGE = PLAIN + "\n    def decode(self, latents):\n        return torch.full((len(latents.values), 32), 3e38)\n"


def test_a_reconstruction_out_of_bounds_gives_a_record_that_can_be_read(tiny: dict[str, Any], tmp_path: Path) -> None:
    method = submission(tmp_path, code=HUGE)
    suite = suite_of(tiny, metrics=["fvu@1", "ce_spliced@1", "kl_score@1", "causal_effect@1", "l0@1"])
    assert run(suite, tmp_path / "runs", method).failed == []
    for record in kept(tmp_path / "runs", "units"):
        assert record.metrics["fvu@1"].value is not None
        assert record.metrics["ce_spliced@1"].value is None
        assert "came out as nan at layers.1" in str(record.metrics["ce_spliced@1"].reason)
        assert record.metrics["l0@1"].value is not None
        assert all(np.isfinite(value) for value in record.counts.values())


def test_what_a_method_says_in_brackets_ends_no_run(
    tiny: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = PLAIN.replace("asked to fail", "no [/x] luck \\x1b[2J")
    method = submission(tmp_path, "fail_at = 20_000", code=code)
    suite, report = suite_of(tiny), reporting.Lines(Console(width=200))
    rows = methods.rows(method, suite)
    outcome = pipeline.run(suite, [MethodRun(method, rows)], Store(tmp_path / "runs"), "none", report)
    assert len(outcome.failed) == 2
    assert "no [/x] luck" in str(outcome.failed[0].error)
    shown = capsys.readouterr().out
    assert "no [/x] luck" in shown
    assert "\x1b[2J" not in shown


def test_an_error_that_is_no_unicode_is_a_record_all_the_same(tiny: dict[str, Any], tmp_path: Path) -> None:
    code = PLAIN.replace('RuntimeError("asked to fail")', 'RuntimeError("no file \\udcff")')
    outcome = run(suite_of(tiny), tmp_path / "runs", submission(tmp_path, "fail_at = 20_000", code=code))
    assert len(outcome.failed) == 2
    assert len(kept(tmp_path / "runs", "units")) == 2


def test_a_loaded_featurizer_keeps_what_its_fit_cost(tiny: dict[str, Any], tmp_path: Path) -> None:
    assert run(suite_of(tiny), tmp_path, isolation="process").computed == 2
    before = {record.fit_id: record.cost for record in kept(tmp_path)}
    assert run(suite_of(tiny, metrics=["fvu@1", "l0@1"]), tmp_path, isolation="process").computed == 2
    wider = [record for record in kept(tmp_path) if "l0@1" in record.metrics]
    assert {record.fit_id: record.cost for record in wider} == before, "a metric more is no other fit"
    assert run(suite_of(tiny, latents=7), tmp_path, isolation="process").computed == 2
    after = [record for record in kept(tmp_path) if record.counts["drawn"] == 7]
    assert len(after) == 2
    for record in after:
        assert record.cost["fit_seconds"] == before[record.fit_id]["fit_seconds"]
        assert record.cost["worker_peak_bytes"] == before[record.fit_id]["worker_peak_bytes"]
        assert record.cost["load_seconds"] < record.cost["fit_seconds"]


def test_featurizers_and_codes_are_kept_by_size(tiny: dict[str, Any], tmp_path: Path) -> None:
    assert run(suite_of(tiny, keep_gib=0), tmp_path / "none", isolation="process").computed == 2
    assert not list((tmp_path / "none").glob("featurizers/*"))
    assert not list((tmp_path / "none").glob("arrays/*"))
    metrics = [*SMALL["metrics"], "universality@1"]
    run(suite_of(tiny, keep_gib=0, metrics=metrics), tmp_path / "none", isolation="process")
    (one, _) = Store(tmp_path / "none").joins("tiny", "topk_sae")
    assert one.value is None
    assert "keep_gib" in str(one.reason)
    for record in kept(tmp_path / "none"):
        (tmp_path / "none" / "records" / "tiny" / "topk_sae" / f"{record.score_id}.json").unlink()
    run(suite_of(tiny, metrics=metrics), tmp_path / "none", isolation="process")
    assert all(join.value is not None for join in Store(tmp_path / "none").joins("tiny", "topk_sae"))
    run(suite_of(tiny), tmp_path / "kept", isolation="process")
    assert len(list((tmp_path / "kept" / "featurizers").glob("*.json"))) == 2
    assert Store(tmp_path / "kept").kept_bytes() > 1000


@pytest.mark.parametrize(
    "setting",
    [
        {"unit_scale": "false"}, {"unit_scale": 1}, {"k": 4.0}, {"k": "4"}, {"k": True},
        {"learning_rate": float("nan")}, {"learning_rate": float("inf")}, {"learning_rate": "fast"}, {"k": [4]},
        {"batch_size": 512.0},
    ],
    ids=str,
)  # fmt: skip
def test_settings_have_the_types_of_their_defaults(tiny: dict[str, Any], setting: dict[str, Any]) -> None:
    suite = suite_of(tiny, methods={"topk_sae": [setting]})
    with pytest.raises(BadInput, match=f"method topk_sae: {next(iter(setting))} = "):
        methods.rows(methods.load("topk_sae"), suite)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ('names = ["a", 3]', r"names\[1\] = 3 is a int"),
        ("when = 2024-01-01", "is a date, and one of"),
        ("rate = nan", "give a finite one"),
        ("[settings.nested]\nrate = inf", "rate = inf"),
    ],
)
def test_defaults_are_of_a_kind_that_can_be_kept(tmp_path: Path, settings: str, word: str) -> None:
    with pytest.raises(BadInput, match=word):
        submission(tmp_path, settings)


def test_a_whole_number_will_do_for_a_number_and_ranges_are_the_methods_own(
    tiny: dict[str, Any], tmp_path: Path
) -> None:
    suite = suite_of(tiny, methods={"topk_sae": [{"learning_rate": 1, "expansion_factor": 4, "k": 4}]})
    (row,) = methods.rows(methods.load("topk_sae"), suite)
    assert row.settings["learning_rate"] == 1
    for wrong in ({"auxk_coefficient": -1.0}, {"expansion_factor": 0}, {"dead_after_tokens": 0}):
        with pytest.raises(BadInput, match="must"):
            run(suite_of(tiny, methods={"topk_sae": [wrong]}), tmp_path)
    assert not (tmp_path / "blocks").exists(), "refused before any text is read"


def test_the_estimate_knows_jobs_and_what_a_group_shares(tiny: dict[str, Any], tmp_path: Path) -> None:
    suite, method = suite_of(tiny, hookpoints=["layers.0", "layers.1"]), methods.load("topk_sae")
    run(suite, tmp_path, isolation="process")
    wide = suite_of(tiny, hookpoints=["layers.0", "layers.1"], variants=["trained", "step0"])
    made = plan.make(wide, [MethodRun(method, methods.rows(method, wide))], Store(tmp_path), download=False)
    costs = {"group_seconds": 30.0, "fit_seconds": 5.0, "score_seconds": 5.0}
    done = [item._replace(record=item.record and item.record.model_copy(update={"cost": costs})) for item in made.cells]
    estimated = made._replace(cells=done)
    assert "about 100 s" in plan.eta(estimated, 1), "two groups of 30 s, four cells of 10"
    assert "about 50 s" in plan.eta(estimated, 2)
    assert "about 50 s" in plan.eta(estimated, 8), "there are two groups only"
    assert plan.eta(made._replace(cells=[item for item in made.cells if item.record]), 1) == ""


def test_the_plan_says_what_a_run_takes(tiny: dict[str, Any], tmp_path: Path) -> None:
    judge = "local-chat-completions:model=m,base_url=http://127.0.0.1:9/v1,price_in=1,price_out=10"
    suite = suite_of(tiny, metrics=["fuzzing@1", "detection@1"], judge=judge, latents=10)
    method = methods.load("topk_sae")
    made = plan.make(suite, [MethodRun(method, methods.rows(method, suite))], Store(tmp_path), download=False)
    groups, text, disk, asked, room = plan.needs(made, 2)
    assert "20,000 tokens to fit on" in text
    assert groups == "2 groups of cells, up to 2 side by side"
    assert f"up to {2 * 20_000 * 32 * 4 / 2**30:.2f} GiB of activations" in disk
    assert "16 GiB" in room
    requests = 2 * 10 * (1 + 20 * 2 * 3)
    assert f"at most {requests:,} requests" in asked
    assert f"{requests * (600 + 20 * 10) / 1e6:,.2f} US dollars" in asked


def test_without_semaphores_groups_run_one_at_a_time(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: Silent
) -> None:
    def none() -> None:
        raise FileNotFoundError("no /dev/shm")

    assert parallel.possible()
    monkeypatch.setattr(parallel, "get_context", lambda kind: SimpleNamespace(Semaphore=none))
    assert not parallel.possible()
    suite, method = suite_of(tiny), methods.load("topk_sae")
    found = pipeline.run(
        suite, [MethodRun(method, methods.rows(method, suite))], Store(tmp_path), "none", silent, jobs=2
    )
    assert (found.computed, found.failed) == (2, [])
    assert any("/dev/shm" in text for text in silent.said)


def test_a_suite_is_known_by_its_content(tiny: dict[str, Any], tmp_path: Path) -> None:
    method = methods.load("topk_sae")

    def hash_of(**changes: Any) -> str:
        suite = suite_of(tiny, **changes)
        runs = [MethodRun(method, methods.rows(method, suite))]
        return plan.make(suite, runs, Store(tmp_path), download=False).suite_hashes["features"]

    known = hash_of()
    assert len(known) == 16
    same = {"name": "a-copy", "summary": "another", "methods": {}, "keep_gib": 1, "limits": {"fit_seconds": 5}}
    assert hash_of(**same) == known
    two = {"variants": ["trained", "step0"], "hookpoints": ["layers.0", "layers.1"]}
    assert hash_of(**two) == hash_of(**{name: values[::-1] for name, values in two.items()}), "in another order"
    copy = tmp_path / "elsewhere"
    for seed, source in tiny["subject"]["replicates"].items():
        shutil.copytree(source, copy / Path(source).name)
        tiny["subject"]["replicates"][seed] = str(copy / Path(source).name)
    assert hash_of() == known, "the same files in another place"
    others: list[dict[str, Any]] = [
        {"corpus": {"source": "built-in:world:2"}}, {"tokens": tiny["tokens"] | {"score": 3_001}}, {"latents": 21},
        {"variants": ["trained", "step0"]}, {"hookpoints": ["layers.0"]}, {"threads": 2},
        {"method_seeds": [1]}, {"stream": {"shuffle_tokens": 4_096}}, {"judge": "lexical:token"},
        {"subject": tiny["subject"] | {"dtype": "bfloat16"}},
        {"subject": tiny["subject"] | {"replicates": {"0": tiny["subject"]["replicates"]["0"]}}},
    ]  # fmt: skip
    assert len({known, *(hash_of(**change) for change in others)}) == len(others) + 1
    assert hash_of(metrics=["fvu@1"]) == known, "a metric is what it is, whichever others stand beside it"


def test_a_suites_content_names_no_path_and_differences_name_the_field(tiny: dict[str, Any]) -> None:
    tiny["subject"]["replicates"]["0"] = "/home/somebody/models/seed0"
    content = suite_of(tiny, corpus={"source": "/home/somebody/text.jsonl"}).content()
    assert "somebody" not in json.dumps(content)
    other = suite_of(tiny, corpus={"source": "/home/somebody/text.jsonl"}, latents=7, metrics=["fvu@1"]).content()
    assert differences(content, other) == ["latents is 20 and 7"]


def test_groups_of_a_process_share_their_judges(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both in the run's own process and in those beside it, and all are closed at the end of the run."""
    opened: list[FeaturesTrack] = []
    closed: list[FeaturesTrack] = []
    make, close = FeaturesTrack.__init__, FeaturesTrack.close

    def counted(self: FeaturesTrack, *args: Any, **kwargs: Any) -> None:
        opened.append(self)
        make(self, *args, **kwargs)

    def noted(self: FeaturesTrack) -> None:
        closed.append(self)
        close(self)

    def in_turn(jobs: int, here: Any, apart: Any, arguments: Any, threads: int) -> Iterator[Record]:
        for number, each in enumerate(arguments):
            yield from (apart if number % 2 else here)(*each)

    monkeypatch.setattr(FeaturesTrack, "__init__", counted)
    monkeypatch.setattr(FeaturesTrack, "close", noted)
    monkeypatch.setattr("benchmark.run.launch.processes.spread", in_turn)
    suite = suite_of(tiny, variants=["trained", "step0", "rerandomized"], metrics=["fuzzing@1"], latents=7)
    assert run(suite, tmp_path, isolation="none", jobs=2).computed == 6
    assert len(opened) == 2, "one of the run's own process, one that stands for another"
    assert closed == opened[:1]


def test_control_noise_is_numpys_and_keyed_by_block(subjects: Path) -> None:
    model = pythia.load(pythia.locate(str(subjects / "seed0"), REVISION), torch.float32, torch.device("cpu"))
    found = Network(model, noise=7).embed(torch.zeros(2, 5, dtype=torch.long), [("score", 0), ("score", 3)])
    for row, block in zip(found, (0, 3), strict=True):
        wanted = keyed.rng("noise", 7, "score", block).standard_normal((5, 32), dtype="float32")
        np.testing.assert_array_equal(row.numpy(), wanted)


def test_a_corpus_of_one_document_is_refused_with_a_count(tiny: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("some words and more of them. " * 4_000)
    with pytest.raises(BadInput, match=r"0 distinct documents for the explain split \(of 1 documents in all\)"):
        run(suite_of(tiny, corpus={"source": str(tmp_path / "book.txt")}), tmp_path / "runs")
