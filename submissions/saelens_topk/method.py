"""SAELens' TopK SAE."""

from sae_lens import TopKTrainingSAEConfig

from benchmark.adapters.sae_lens import SAELensMethod


class SAELensTopK(SAELensMethod):
    config = TopKTrainingSAEConfig
