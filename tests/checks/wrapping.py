"""A library's sparse autoencoder, as it might be, and a wrapper of it with faults that can be chosen."""

SOURCE = '''
import json
import os
import socket
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from benchmark.api import Latents


class Library:
    """Encodes by a threshold, as what BatchTopK trained does; decoder rows of any norm; centred and scaled input."""

    def __init__(self, weights):
        self.__dict__.update(weights)

    @classmethod
    def made(cls, x, n_latents, seed):
        draw = torch.Generator().manual_seed(seed)
        mean = x.mean(dim=0)
        scale = (x - mean).square().sum(dim=1).mean().sqrt()
        axes = torch.linalg.svd(x - mean, full_matrices=False).Vh[:8]
        drawn = torch.randn(n_latents, x.shape[1], generator=draw)
        unit = torch.nn.functional.normalize(torch.cat([axes, -axes, drawn])[:n_latents], dim=1)
        norms = 0.5 + torch.rand(n_latents, generator=draw)
        coded = (x - mean) / scale @ unit.T
        threshold = coded[:, :16].clamp(min=0).mean()
        weights = {"mean": mean, "scale": scale, "encoder": unit / norms[:, None], "decoder": unit * norms[:, None]}
        return cls(weights | {"threshold": threshold, "norms": norms * (torch.arange(n_latents) < 16)})

    def encode(self, x):
        codes = (x - self.mean) / self.scale @ self.encoder.T
        return codes * (codes * self.norms > self.threshold)

    def decode(self, codes):
        return self.scale * (codes @ self.decoder) + self.mean

    def __call__(self, x):
        return self.decode(self.encode(x))


class Wrapper:
    def __init__(self, *, fault="", n_latents=256):
        self.fault, self.n_latents = fault, n_latents

    def check(self, d_model):
        if self.fault == "refuses its settings":
            raise ValueError("no such thing: choose another")

    def fit(self, activations, *, seed):
        if self.fault == "its own seed":
            seed = time.time_ns()
        if self.fault == "reads what is not its own":
            Path(__file__).parents[1].joinpath("wrapper-data.json").read_text()
        if self.fault == "opens a socket":
            socket.socket().close()
        if self.fault == "knows where it is" and os.getpid() < 10:
            seed += 1
        if self.fault == "writes beside itself":
            Path(__file__).with_name("left_behind").write_text("a cache")
        if self.fault == "writes elsewhere":
            Path(__file__).parents[1].joinpath("elsewhere").write_text("a cache")
        x = torch.cat(list(activations.batches(1024)))
        if self.fault == "wide activations" and x.shape[1] > 500:
            raise RuntimeError("out of memory")
        if self.fault == "few tokens" and len(x) < self.n_latents:
            raise RuntimeError("cannot draw more rows than there are")
        self.library = Library.made(x, self.n_latents, seed)
        if self.fault == "wrong hookpoint":
            self.library.mean = self.library.mean + 10 * self.library.scale
        if self.fault == "transposed weights":
            turned = self.library.decoder.T.reshape(self.n_latents, -1)
            self.library.decoder = turned
        return self

    def encode(self, x):
        of, fault = self.library, self.fault
        codes = of.encode(x)
        if fault == "bias subtracted twice":
            codes = of.encode(x - of.mean)
        if fault == "decoder norms not folded in":
            codes = codes * of.norms
        if fault == "normalised on one side only":
            codes = of.encode(x * of.scale)
        if fault == "batch topk":
            dense = ((x - of.mean) / of.scale @ of.encoder.T).clamp(min=0)
            least = dense.flatten().topk(min(2 * len(x), dense.numel())).values[-1]
            codes = dense * (dense >= least)
        if fault == "nothing active":
            codes = codes * 0
        if fault == "negative":
            codes = codes - 1
        if fault == "not finite":
            codes = codes / 0
        if fault == "returns a tensor":
            return codes
        values, ids = codes.topk(64, dim=1)
        if fault == "ids twice":
            ids, values = ids * 0 + 3, values + 1
        if fault == "ids out of range":
            ids, values = ids + self.n_latents, values + 1
        return Latents(values, ids)

    def decode(self, latents):
        none = torch.zeros(len(latents.values), self.n_latents)
        codes = none.scatter_add(1, latents.indices, latents.values)
        if self.fault == "padding overwrites":
            codes = none.scatter(1, latents.indices, latents.values)
        if self.fault == "bends":
            return self.library.decode(codes.square())
        if self.fault == "output not scaled":
            return codes @ self.library.decoder + self.library.mean
        return self.library.decode(codes)

    def original(self, x):
        return self.library.encode(x), self.library(x)

    def save(self, folder):
        kept = {name: value.contiguous() for name, value in vars(self.library).items()}
        if self.fault == "forgets its threshold":
            kept["threshold"] = kept["threshold"] * 0
        save_file(kept, folder / "w.safetensors")
        (folder / "w.json").write_text(json.dumps({"fault": self.fault, "n_latents": self.n_latents}))
        if self.fault == "pickles":
            torch.save(kept, folder / "w.pt")

    @classmethod
    def load(cls, folder):
        made = cls(**json.loads((folder / "w.json").read_text()))
        made.library = Library(load_file(folder / "w.safetensors"))
        return made
'''
MANIFEST = """
track = "features"
entry = "Wrapper"
summary = "a library in a wrapper"

[settings]
fault = "{fault}"
n_latents = 256
"""
