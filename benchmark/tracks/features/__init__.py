"""The features track: activations into sparse latents."""
