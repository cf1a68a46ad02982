"""The reference, with every latent writing what another one should."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from baselines.topk_sae.method import FittedSAE, TopKSAE
from benchmark.api import FitJob


class PermutedDecoder(TopKSAE):
    """A TopK SAE whose decoder rows are permuted once it is trained."""

    def fit_many(self, jobs: Sequence[FitJob]) -> list[FittedSAE]:
        return [_permuted(fitted, job.seed) for fitted, job in zip(super().fit_many(jobs), jobs, strict=True)]


def _permuted(fitted: FittedSAE, seed: int) -> FittedSAE:
    order = torch.randperm(fitted.n_latents, generator=torch.Generator().manual_seed(seed))
    decoder = fitted.parameters.decoder[order.to(fitted.parameters.decoder.device)]
    return FittedSAE(fitted.parameters._replace(decoder=decoder), fitted.k)
