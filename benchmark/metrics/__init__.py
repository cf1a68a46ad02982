"""Pure metrics: batches give sums, sums add, sums give values. Nothing here knows a model, a record or a path.

Axes: token, latent, block, pos, d_model. Ids carry a version; a changed number is a new id. Definitions are those of
the statistics specification; a value that cannot be computed is None with a reason, never 0.
"""
