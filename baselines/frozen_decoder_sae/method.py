"""An SAE whose decoder stays random."""

from __future__ import annotations

from baselines.topk_sae.gradients import Parameters
from baselines.topk_sae.method import TopKSAE

from .held import HeldTrainer


class FrozenDecoderTrainer(HeldTrainer):
    """Encoder and biases are learned, the decoder stays what was drawn."""

    def hold(self, parameters: Parameters) -> None:
        parameters.decoder.copy_(self.start)


class FrozenDecoderSAE(TopKSAE):
    """`api.FeatureMethod` with `fit_many`, as the reference."""

    trainer = FrozenDecoderTrainer
