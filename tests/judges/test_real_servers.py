"""Whole runs with judges that users would run: `transformers serve` on loopback, and a model in this process.

The model is small and random: its answers are nonsense, which a run must survive, count, and say.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM
from typer.testing import CliRunner

from benchmark.__main__ import app
from benchmark.judges.backend import Backend, Spec
from benchmark.models import pythia
from benchmark.models.mini import builtin
from benchmark.records import Record
from benchmark.store import Store

TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "
WAIT_SECONDS = 120


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random causal language model with a chat template, in the hub's layout."""
    folder = tmp_path_factory.mktemp("judge")
    tokenizer = pythia.tokenizer(builtin.checkpoint(f"{builtin.PREFIX}0"))
    tokenizer.chat_template = TEMPLATE
    tokenizer.eos_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=8192, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    GPTNeoXForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def url(model: Path) -> Iterator[str]:
    """`transformers serve` on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = str(Path(sys.executable).with_name("transformers"))
    command = [program, "serve", str(model), "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except OSError:
                assert server.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server did not come up"
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1/chat/completions"
    finally:
        server.terminate()
        server.wait(timeout=20)


def suite(tiny: dict[str, Any], folder: Path) -> Path:
    """One replicate, one variant, one hookpoint, one latent."""
    settings = tiny | {
        "variants": ["trained"],
        "hookpoints": ["layers.1"],
        "latents": 1,
        "metrics": ["fuzzing@1", "fuzzing.lexical@1"],
        "tokens": {"fit": 20_000, "explain": 16_000, "score": 16_000, "block": 64},
    }
    settings["subject"] = settings["subject"] | {"replicates": {"0": settings["subject"]["replicates"]["0"]}}
    settings["methods"] = {"topk_sae": [{"expansion_factor": 2, "k": 8, "batch_size": 512}]}
    path = folder / "judged.toml"
    path.write_text(tomli_w.dumps(settings))
    return path


def run(suite: Path, runs: Path, judge: str, *more: str) -> tuple[str, list[Record]]:
    command = ["run", "topk_sae", "--suite", str(suite), "--runs", str(runs), "--judge", judge, *more]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return result.output, Store(runs).records("tiny", "topk_sae")


def forget(runs: Path) -> None:
    """Delete the records, not the transcripts."""
    for path in (runs / "records").rglob("*.json"):
        if re.fullmatch("[0-9a-f]{16}", path.stem):
            path.unlink()


def test_a_real_server_is_asked_and_its_nonsense_is_counted_and_asked_about_again(
    tiny: dict[str, Any], tmp_path: Path, model: Path, url: str
) -> None:
    path, runs = suite(tiny, tmp_path), tmp_path / "runs"
    judge = f"local-chat-completions:model={model},base_url={url},num_concurrent=2"
    output, records = run(path, runs, judge)
    assert len(records) == 1
    for record in records:
        assert record.status == "scored"
        metric = record.metrics["fuzzing@1"]
        assert metric.value is None
        assert "too few usable answers" in str(metric.reason)
        assert record.metrics["fuzzing.lexical@1"].value is not None
        assert record.counts["judge_requests"] > 0
        assert record.counts["eligible_drawn"] > record.counts["lacking_negatives.fuzzing@1"]
        assert record.counts["judge_unusable"] > 0
        assert record.counts["judge_prompt_tokens"] > 1000
        assert record.suite["judge"].startswith("local-chat-completions:")
        assert "127.0.0.1" not in record.model_dump_json()
    assert "usable" in output
    forget(runs)
    _, again = run(path, runs, judge)
    for first, second in zip(records, again, strict=True):
        assert second.counts["judge_replayed"] > 0, "explanations could be read, and are not asked for again"
        assert 0 < second.counts["judge_requests"] < first.counts["judge_requests"], "grades could not, and may be now"
    forget(runs)
    _, replayed = run(path, runs, judge, "--replay")
    assert [record.metrics for record in replayed] == [record.metrics for record in again]


def test_a_model_in_this_process_is_a_judge(tiny: dict[str, Any], tmp_path: Path, model: Path) -> None:
    path, runs = suite(tiny, tmp_path), tmp_path / "runs"
    _, records = run(path, runs, f"hf:pretrained={model},device=cpu,dtype=float32")
    for record in records:
        assert record.status == "scored"
        assert record.metrics["fuzzing@1"].value is None
        assert record.counts["judge_unusable"] > 0
        assert str(model.parent) not in record.model_dump_json()


def test_probabilities_are_those_of_the_next_digit(model: Path) -> None:
    backend = Backend(Spec.parse(f"hf:pretrained={model},device=cpu,dtype=float32"))
    history = [{"role": "user", "content": "is it so? "}]
    found: dict[int, float] = {}
    asked = [(history, "["), (history, "[1, ")]
    assert backend.log_odds_of_one(asked, found.__setitem__) == {}
    tokenizer = AutoTokenizer.from_pretrained(model)
    network = AutoModelForCausalLM.from_pretrained(model)
    for number, (_, begun) in enumerate(asked):
        text = f"user: is it so? \nassistant: {begun}"
        zero, one = (tokenizer(text + digit, return_tensors="pt").input_ids for digit in "01")
        with torch.no_grad():
            log_shares = network(one[:, :-1]).logits[0, -1].log_softmax(dim=0)
        expected = log_shares[one[0, -1]] - log_shares[zero[0, -1]]
        assert found[number] == pytest.approx(float(expected), abs=1e-4)
