"""Benchmarks: `python -m bench [names...]` runs them on servers of their own and prints one table."""
