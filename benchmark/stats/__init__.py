"""Statistics of the null gap: pure functions on arrays with named axes."""
