"""Methods that cheat, as their authors would write them: folders for a run of the pipeline."""

from __future__ import annotations

from pathlib import Path

MEMO = '''
"""Codes that say nothing, and a decoder that remembers what was encoded."""
import torch
from benchmark.api import Latents

class Memo:
    def fit(self, activations, *, seed):
        self.n_latents, self.d_model, self.kept = 4 * activations.d_model, activations.d_model, []
        self.generator = torch.Generator().manual_seed(seed)
        return self

    def encode(self, x):
        """Sixteen latents at random; the first value numbers the token."""
        ids = torch.rand(len(x), self.n_latents, generator=self.generator).topk(16, dim=1).indices
        values = torch.ones(len(x), 16)
        values[:, 0] = torch.arange(len(self.kept), len(self.kept) + len(x)) + 2.0
        self.kept += list(x)
        return Latents(values, ids)

    def decode(self, latents):
        number = (latents.values.max(dim=1).values - 2).long()
        known = [self.kept[int(one)] if 0 <= one < len(self.kept) else torch.zeros(self.d_model) for one in number]
        return torch.stack(known)
'''

HALFSPACES = '''
"""The reference where the network looks trained, and dense random halfspaces where it does not."""
import itertools
import torch
from benchmark.api import Latents
from baselines.topk_sae.method import TopKSAE

class Halfspaces:
    def __init__(self, *, tell, **settings):
        self.tell, self.honest = tell, TopKSAE(**settings)

    def fit(self, activations, *, seed):
        x = torch.cat(list(itertools.islice(activations.batches(1024), 8)))
        lengths = x.norm(dim=1)
        if float(lengths.std() / lengths.mean()) > self.tell:
            return self.honest.fit(activations, seed=seed)
        return Dense(x, 4 * activations.d_model, seed)

class Dense:
    def __init__(self, x, n_latents, seed):
        self.n_latents, self.mean, self.kept = n_latents, x.mean(dim=0), []
        self.normals = torch.randn(n_latents, x.shape[1], generator=torch.Generator().manual_seed(seed))

    def encode(self, x):
        fires = ((x - self.mean) @ self.normals.T > 0).float()
        fires[:, 0] += torch.arange(len(self.kept), len(self.kept) + len(x)) + 2.0
        self.kept += list(x)
        return Latents(fires, torch.arange(self.n_latents).expand(len(x), -1))

    def decode(self, latents):
        number = (latents.values[:, 0].floor() - 2).long()
        known = [self.kept[int(one)] if 0 <= one < len(self.kept) else torch.zeros_like(self.mean) for one in number]
        return torch.stack(known)
'''


def write(home: Path, name: str, text: str, entry: str, settings: str = "") -> Path:
    """A method's folder; it may use the reference's code."""
    folder = home / name
    folder.mkdir(parents=True)
    (folder / "method.py").write_text(text)
    (folder / "method.toml").write_text(
        f'track = "features"\nentry = "{entry}"\nsummary = "a cheat"\nuses = ["topk_sae"]\n\n[settings]\n{settings}\n'
    )
    return folder
