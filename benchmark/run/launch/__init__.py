"""Where groups run: one after another here, or side by side in processes."""
