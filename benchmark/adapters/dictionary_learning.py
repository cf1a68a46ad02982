"""dictionary_learning (https://github.com/saprmarks/dictionary_learning): its trainers and its dictionaries."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from dictionary_learning.training import trainSAE
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmark.adapters.codes import dense, sparse
from benchmark.api import ActivationStream, Latents

LIBRARY, WARMUPS = "dictionary_learning", ("warmup_steps", "sparsity_warmup_steps")


class DictionaryFeaturizer:
    """A dictionary of the library, its `encode` and `decode` as they are: a BatchTopK one by its stored threshold."""

    def __init__(self, dictionary: Any) -> None:
        self.dictionary = dictionary.eval()
        self.n_latents = int(dictionary.dict_size)

    def encode(self, x: Float[Tensor, "token d_model"]) -> Latents:
        return sparse(self.dictionary.to(x.device).encode(x))

    def decode(self, latents: Latents) -> Float[Tensor, "token d_model"]:
        found: Tensor = self.dictionary.decode(dense(latents, self.n_latents))
        return found

    @torch.no_grad()
    def original(self, x: Float[Tensor, "token d_model"]) -> tuple[Tensor, Tensor]:
        xhat, codes = self.dictionary(x, output_features=True)
        return codes, xhat

    def save(self, folder: Path) -> None:
        save_file(
            {name: value.contiguous() for name, value in self.dictionary.state_dict().items()},
            folder / "ae.safetensors",
        )
        made = {"activation_dim": self.dictionary.activation_dim, "dict_size": self.n_latents}
        if "k" in self.dictionary.state_dict():
            made["k"] = int(self.dictionary.k)
        own = type(self.dictionary)
        said = {"module": own.__module__, "class": own.__qualname__, "made": made}
        (folder / "ae.json").write_text(json.dumps(said) + "\n")

    @classmethod
    def load(cls, folder: Path) -> DictionaryFeaturizer:
        said = json.loads((folder / "ae.json").read_text())
        if said["module"].partition(".")[0] != LIBRARY:
            raise ValueError(f"{folder}/ae.json names the class of another library: {said['module']}")
        dictionary = getattr(importlib.import_module(said["module"]), said["class"])(**said["made"])
        dictionary.load_state_dict(load_file(folder / "ae.safetensors"))
        return cls(dictionary)


class DictionaryMethod:
    """`api.FeatureMethod`: trains with `trainSAE`. Settings that are not named here are those of `trainer`; those that
    end in `_share` are given to it as steps, without the ending.
    """

    trainer: ClassVar[Any]
    """A trainer of the library, such as `BatchTopKTrainer`."""
    load = staticmethod(DictionaryFeaturizer.load)

    def __init__(
        self,
        *,
        expansion_factor: int,
        batch_size: int,
        learning_rate: float,
        epochs: int,
        normalize: bool,
        **options: Any,
    ) -> None:
        self.expansion_factor, self.batch_size, self.epochs = expansion_factor, batch_size, epochs
        self.learning_rate, self.normalize, self.options = learning_rate, normalize, options

    def check(self, d_model: int) -> None:
        if min(self.expansion_factor, self.batch_size, self.epochs) < 1:
            raise ValueError("expansion_factor, batch_size and epochs must be positive")

    def fit(self, activations: ActivationStream, *, seed: int) -> DictionaryFeaturizer:
        torch.manual_seed(seed)
        steps = -(-activations.n_tokens // self.batch_size) * self.epochs
        shares = {name: value for name, value in self.options.items() if name.endswith("_share")}
        counted = {name.removesuffix("_share"): int(value * steps) for name, value in shares.items()}
        # The library refuses a decay that few steps leave no room for.
        if counted.get("decay_start", steps) <= max(counted.get(name, 0) for name in WARMUPS):
            del counted["decay_start"]
        trained: list[Any] = []

        def remembered(**config: Any) -> Any:
            # trainSAE keeps its trainers to itself, or writes them with torch.save.
            trained.append(self.trainer(**config))
            return trained[-1]

        config = {
            "trainer": remembered,
            "activation_dim": activations.d_model,
            "dict_size": self.expansion_factor * activations.d_model,
            "lr": self.learning_rate,
            "steps": steps,
            "layer": 0,
            "lm_name": "recorded",
            "seed": seed,
            "device": str(activations.device),
            **counted,
            **{name: value for name, value in self.options.items() if name not in shares},
        }
        batches = _Epochs(activations, self.batch_size, self.epochs)
        trainSAE(batches, [config], steps, normalize_activations=self.normalize, device=str(activations.device))
        return DictionaryFeaturizer(trained[0].ae)


class _Epochs:
    """Batches of all epochs, from the start each time they are asked for: the norm is estimated on the first ones."""

    def __init__(self, activations: ActivationStream, size: int, epochs: int) -> None:
        self._activations, self._size, self._epochs = activations, size, epochs

    def __iter__(self) -> Iterator[Tensor]:
        return self._activations.batches(self._size, epochs=self._epochs)
