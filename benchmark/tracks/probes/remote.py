"""Fitted probes in a worker, as the trusted half uses them: every answer is validated before use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from benchmark import keyed
from benchmark.execution.contract import MethodError, Worker
from benchmark.forward.frame import Frame

BATCH_TOKENS, AGAIN, LARGEST = 4096, 128, 1e6
SAME = 1e-3
"""How far scores of the same activation may lie apart in another batch, relative to the largest."""


class RemoteProbe:
    """`api.Probe` in a worker. A `frame` is what activations are hidden in."""

    def __init__(self, worker: Worker, index: int, n_classes: int, frame: Frame | None, peak_bytes: int) -> None:
        self._worker, self._index, self._n_classes, self._frame = worker, index, n_classes, frame
        self.peak_bytes = peak_bytes

    def predict(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token n_classes"]:
        """Scores of any number of tokens, asked for in batches; some are asked for again, in another one.

        Raises:
            MethodError: scores outside the contract, or other ones for the same activation.
        """
        # Before the rest, so that answers cannot be looked up, and of rows from everywhere.
        few = torch.from_numpy(keyed.rng("again", len(x)).permutation(len(x))[:AGAIN].copy())
        alone = self._predict(x[few])
        found = torch.cat([self._predict(batch) for batch in x.split(BATCH_TOKENS)])
        if (found[few] - alone).abs().max() > SAME * max(1.0, float(alone.abs().max())):
            raise MethodError("predict gave other scores for the same activations in another batch: tokens stand alone")
        return found

    def _predict(self, x: Tensor) -> Tensor:
        asked = x if self._frame is None else self._frame.hide(x)
        _, found = self._worker.call({"op": "predict", "index": self._index}, {"x": asked})
        scores, wanted = found.get("scores"), (len(x), self._n_classes)
        if scores is None or tuple(scores.shape) != wanted or not scores.is_floating_point():
            said = "nothing" if scores is None else f"{scores.dtype} of shape {tuple(scores.shape)}"
            raise MethodError(f"predict returned {said}: float of shape {wanted} is needed, a score for each class")
        scores = scores.double()
        if not torch.isfinite(scores).all():
            raise MethodError("predict returned scores that are not finite: bound logarithms of shares")
        if scores.numel() and float(scores.abs().max()) > LARGEST:
            raise MethodError(f"predict returned scores beyond {LARGEST:g}: they are read as log probabilities")
        return scores


class Fitter(NamedTuple):
    """Fits a method with its settings, in a worker; a `frame` is what activations are hidden in."""

    worker: Worker
    settings: Mapping[str, Any]
    frame: Frame | None

    def fit(
        self, x: Float[Tensor, "token d_model"], labels: NDArray[np.int64], n_classes: int, seed: int
    ) -> RemoteProbe:
        """A probe for one question."""
        header = {"op": "fit", "settings": dict(self.settings), "seed": seed, "n_classes": n_classes}
        hidden = x if self.frame is None else self.frame.hide(x)
        reply, _ = self.worker.call(header, {"x": hidden, "labels": torch.from_numpy(labels)})
        index, peak = reply.get("index"), reply.get("peak_bytes")
        if not isinstance(index, int) or not isinstance(peak, int):
            raise MethodError("fit gave no probe")
        return RemoteProbe(self.worker, index, n_classes, self.frame, peak)
