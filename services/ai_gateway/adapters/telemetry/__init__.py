"""What operators see of the calls to the vendors: spans and metrics."""
