"""An SAE whose encoder stays random."""

from __future__ import annotations

from baselines.frozen_decoder_sae.held import HeldTrainer
from baselines.topk_sae.gradients import Parameters
from baselines.topk_sae.method import TopKSAE

SHORTEST = 1e-6


class FrozenEncoderTrainer(HeldTrainer):
    """The decoder, biases and the lengths of the encoder's rows are learned, where these point stays what was drawn.

    Decoder rows have length 1, so that without lengths no latent could learn how much it says.
    """

    def hold(self, parameters: Parameters) -> None:
        lengths = (parameters.encoder * self.start).sum(dim=1, keepdim=True).clamp(min=SHORTEST)
        parameters.encoder.copy_(lengths * self.start)


class FrozenEncoderSAE(TopKSAE):
    """`api.FeatureMethod` with `fit_many`, as the reference."""

    trainer = FrozenEncoderTrainer
