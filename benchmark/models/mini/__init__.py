"""Small GPT-NeoX subjects made here, in the hub's folder layout."""
