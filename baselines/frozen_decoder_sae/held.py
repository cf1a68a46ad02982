"""Training runs of the reference in which a part is put back after every step."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from baselines.topk_sae.gradients import Parameters
from baselines.topk_sae.training import Trainer


class HeldTrainer(Trainer):
    """`start` is the first decoder, unit rows; the encoder's rows begin along them."""

    start: Float[Tensor, "latent d_model"]

    def initial(self, batch: Float[Tensor, "token d_model"]) -> Parameters:
        made = super().initial(batch)
        self.start = made.decoder.clone()
        return made

    def step(self, batch: Float[Tensor, "token d_model"]) -> Float[Tensor, ""]:
        fvu = super().step(batch)
        if self.engine is not None:
            self.hold(self.engine.parameters)
        return fvu

    def hold(self, parameters: Parameters) -> None:
        """Put back, in place, what is not to be learned."""
        raise NotImplementedError
