"""The reference probe on drawn features of the token's id."""

from __future__ import annotations

from baselines.logistic_probe.method import LogisticProbe


class TokenFeaturesFloor(LogisticProbe):
    """Logistic regression that sees the token and no activation."""
