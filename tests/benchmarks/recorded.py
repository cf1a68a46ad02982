"""Real activations to train on: the built-in subject's, and those of a wider network with drawn weights."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from benchmark.data import blocks
from benchmark.forward import activations
from benchmark.models import pythia
from benchmark.models.mini import builtin
from benchmark.models.network import Network
from benchmark.spec.suite import Corpus, TokenBudget

SOURCE = "built-in:pythia-mini/seed0"


def recorded(d_model: int, n_tokens: int, folder: Path) -> Float[Tensor, "token d_model"]:
    """Shuffled activations after the middle layer, at least `n_tokens`, with a root mean square deviation of 1."""
    checkpoint = builtin.checkpoint(SOURCE)
    tokens = TokenBudget(fit=n_tokens, explain=1_000, score=1_000, block=256)
    found = blocks.prepare(
        Corpus(source="built-in:world:1"),
        tokens,
        pythia.tokenizer(checkpoint),
        pythia.tokenizer_fingerprint(checkpoint),
        folder,
    )
    network = Network(subject(d_model))
    (x,), _ = activations.collect(network, found["fit"], "fit", [network.model.config.num_hidden_layers // 2])
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))]
    return x / (x - x.mean(dim=0)).square().mean().sqrt()


def subject(d_model: int) -> GPTNeoXForCausalLM:
    """The built-in subject at its own width; at another one a network of Pythia's shape with drawn weights."""
    trained = pythia.load(builtin.checkpoint(SOURCE), torch.float32, torch.device("cpu"))
    if d_model == trained.config.hidden_size:
        return trained
    torch.manual_seed(0)
    shape = {"hidden_size": d_model, "intermediate_size": 4 * d_model, "num_hidden_layers": 4}
    heads = {"num_attention_heads": d_model // 64}
    return GPTNeoXForCausalLM(GPTNeoXConfig(**(trained.config.to_dict() | shape | heads))).eval()
