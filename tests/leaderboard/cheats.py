"""Methods that cheat, as their authors would write them: folders for a run of the pipeline."""

from __future__ import annotations

from pathlib import Path

MEMO = '''
"""Codes that say nothing, and a decoder that remembers what was encoded, and bends so that nobody adds it up."""
import torch
from benchmark.api import Latents

FIRST = 10_000

class Memo:
    def fit(self, activations, *, seed):
        self.n_latents, self.d_model, self.kept, self.told = 4 * activations.d_model, activations.d_model, [], {}
        self.generator = torch.Generator().manual_seed(seed)
        return self

    def encode(self, x):
        """Sixteen latents at random, the same ones for a token that comes again; the first value numbers it."""
        values, ids = torch.ones(len(x), 16), torch.zeros(len(x), 16, dtype=torch.long)
        for place, row in enumerate(x):
            name = row.numpy().tobytes()
            if name not in self.told:
                drawn = torch.rand(self.n_latents, generator=self.generator).topk(16).indices
                self.told[name] = len(self.kept), drawn
                self.kept.append(row)
            number, ids[place] = self.told[name]
            values[place, 0] = FIRST + number
        return Latents(values, ids)

    def decode(self, latents):
        number = (latents.values.max(dim=1).values - FIRST).long()
        bent = latents.values.square().sum(dim=1)[:, None].expand(-1, self.d_model)
        known = [self.kept[int(one)] if 0 <= one < len(self.kept) else other for one, other in zip(number, bent)]
        return torch.stack(known)
'''

HALFSPACES = '''
"""The reference where the network looks trained, and dense random halfspaces where it does not."""
import itertools
import torch
from benchmark.api import Latents
from baselines.topk_sae.method import TopKSAE

FIRST = 10_000

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
        self.n_latents, self.mean, self.kept, self.told = n_latents, x.mean(dim=0), [], {}
        self.normals = torch.randn(n_latents, x.shape[1], generator=torch.Generator().manual_seed(seed))

    def encode(self, x):
        fires = ((x - self.mean) @ self.normals.T > 0).float()
        for place, row in enumerate(x):
            number = self.told.setdefault(row.numpy().tobytes(), len(self.kept))
            if number == len(self.kept):
                self.kept.append(row)
            fires[place, 0] += FIRST + number
        return Latents(fires, torch.arange(self.n_latents).expand(len(x), -1))

    def decode(self, latents):
        number = (latents.values.max(dim=1).values.floor() - FIRST).long()
        bent = latents.values.square().sum(dim=1)[:, None].expand(-1, len(self.mean))
        known = [self.kept[int(one)] if 0 <= one < len(self.kept) else other for one, other in zip(number, bent)]
        return torch.stack(known)
'''

ELSEWHERE = '''
"""The reference where the network looks trained; elsewhere codes that say nothing, or none."""
import itertools
import torch
from benchmark.api import Latents
from baselines.topk_sae.method import TopKSAE

class Elsewhere:
    def __init__(self, *, tell, fires, **settings):
        self.tell, self.fires, self.honest = tell, fires, TopKSAE(**settings)

    def fit(self, activations, *, seed):
        x = torch.cat(list(itertools.islice(activations.batches(1024), 8)))
        lengths = x.norm(dim=1)
        if float(lengths.std() / lengths.mean()) > self.tell:
            return self.honest.fit(activations, seed=seed)
        return Noise(x, 4 * activations.d_model, seed, self.fires)

class Noise:
    def __init__(self, x, n_latents, seed, fires):
        self.n_latents, self.fires = n_latents, fires
        self.directions = torch.randn(n_latents, x.shape[1], generator=torch.Generator().manual_seed(seed))

    def encode(self, x):
        """Of a token alone, and so finely that no neighbour has the same."""
        values, ids = (x.double() @ self.directions.T.double() * 1e4).sin().topk(16, dim=1)
        return Latents(values.clamp(min=0).float() * self.fires, ids)
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
