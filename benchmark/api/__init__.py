"""What a method author implements: one module per track. Nothing here, and nothing a method needs, comes from the rest
of the benchmark.
"""

from benchmark.api.features import (
    ActivationStream,
    Checked,
    Decoder,
    FeatureMethod,
    Featurizer,
    FitJob,
    JointFeatureMethod,
    Latents,
    ModelFeatureMethod,
    PairedStream,
    PairFeatureMethod,
    Persistent,
    Wrapped,
)
from benchmark.api.probes import Probe, ProbeMethod

__all__ = [
    "ActivationStream",
    "Checked",
    "Decoder",
    "FeatureMethod",
    "Featurizer",
    "FitJob",
    "JointFeatureMethod",
    "Latents",
    "ModelFeatureMethod",
    "PairFeatureMethod",
    "PairedStream",
    "Persistent",
    "Probe",
    "ProbeMethod",
    "Wrapped",
]
