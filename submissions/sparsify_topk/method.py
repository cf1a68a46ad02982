"""sparsify's TopK SAE."""

from benchmark.adapters.sparsify import SparsifyMethod


class SparsifyTopK(SparsifyMethod):
    pass
