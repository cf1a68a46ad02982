"""An SAE whose decoder stays near what was drawn."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from baselines.frozen_decoder_sae.held import HeldTrainer
from baselines.topk_sae.gradients import Parameters
from baselines.topk_sae.method import TopKSAE

COSINE = 0.8


class SoftFrozenDecoderTrainer(HeldTrainer):
    """Everything is learned, but decoder rows stay within a cosine of .8 of what was drawn."""

    def hold(self, parameters: Parameters) -> None:
        parameters.decoder.copy_(nearest(parameters.decoder, self.start))


def nearest(
    rows: Float[Tensor, "latent d_model"], start: Float[Tensor, "latent d_model"]
) -> Float[Tensor, "latent d_model"]:
    """The unit vectors nearest to unit rows whose cosine with the unit rows of `start` is at least .8."""
    cosine = (rows * start).sum(dim=1, keepdim=True)
    across = rows - cosine * start
    edge = COSINE * start + math.sqrt(1 - COSINE**2) * across / across.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return rows.where(cosine >= COSINE, edge)


class SoftFrozenDecoderSAE(TopKSAE):
    """`api.FeatureMethod` with `fit_many`, as the reference."""

    trainer = SoftFrozenDecoderTrainer
