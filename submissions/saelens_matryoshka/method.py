"""SAELens' Matryoshka BatchTopK SAE."""

from sae_lens import MatryoshkaBatchTopKTrainingSAEConfig

from benchmark.adapters.sae_lens import SAELensMethod


class SAELensMatryoshka(SAELensMethod):
    config = MatryoshkaBatchTopKTrainingSAEConfig

    def options(self, d_sae):
        """Levels of an eighth, a quarter, a half and all of the latents."""
        return {**self.architecture, "matryoshka_widths": [d_sae // 8, d_sae // 4, d_sae // 2, d_sae]}
