"""SAELens' JumpReLU SAE."""

from sae_lens import JumpReLUTrainingSAEConfig

from benchmark.adapters.sae_lens import SAELensMethod


class SAELensJumpReLU(SAELensMethod):
    config = JumpReLUTrainingSAEConfig
