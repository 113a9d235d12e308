"""Measurements of memflow beside hand-written code and peers: `python -m benchmarks`. Not part of the package."""
