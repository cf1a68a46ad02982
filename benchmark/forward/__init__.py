"""Everything that runs a network: activations of all hookpoints at once, and runs with the residual stream changed."""
