"""Revisions in the hub's layout, and the optimizer's state for a run that is killed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerFast

from benchmark.models import parameters


def save_revision(folder: Path, step: int, model: GPTNeoXForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write `folder/step<N>` in one step: config, weights and tokenizer."""
    temporary = folder / f"step{step}.tmp"
    model.save_pretrained(temporary)
    tokenizer.save_pretrained(temporary)
    shutil.rmtree(folder / f"step{step}", ignore_errors=True)
    temporary.rename(folder / f"step{step}")


def save_state(
    folder: Path,
    step: int,
    model: GPTNeoXForCausalLM,
    optimizer: torch.optim.Optimizer,
    curve: list[dict[str, int | float]],
) -> None:
    """Keep weights, Adam moments, step and loss curve in `folder/state`."""
    tensors = {}
    for name, parameter in parameters.named(model):
        tensors[name] = parameter.detach()
        tensors |= {f"{name}:{key}": optimizer.state[parameter][key] for key in ("exp_avg", "exp_avg_sq")}
    temporary = folder / "state.tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary / "state.safetensors")
    (temporary / "state.json").write_text(json.dumps({"step": step, "curve": curve}))
    shutil.rmtree(folder / "state", ignore_errors=True)
    temporary.rename(folder / "state")


def resume(folder: Path, model: GPTNeoXForCausalLM, optimizer: torch.optim.Optimizer) -> int:
    """Restore what `save_state` kept, in place; returns the step to go on from, 0 when there is none."""
    if not (folder / "state").is_dir():
        return 0
    step = int(json.loads((folder / "state" / "state.json").read_text())["step"])
    tensors = load_file(folder / "state" / "state.safetensors", device=str(model.device))
    with torch.no_grad():
        for name, parameter in parameters.named(model):
            parameter.copy_(tensors[name])
            optimizer.state[parameter] = {
                "step": torch.tensor(float(step)),
                **{key: tensors[f"{name}:{key}"] for key in ("exp_avg", "exp_avg_sq")},
            }
    return step


def read_curve(folder: Path, first: int) -> list[dict[str, int | float]]:
    """The loss curve up to the step to go on from."""
    return list(json.loads((folder / "state" / "state.json").read_text())["curve"]) if first else []
