"""The version, and whose files these are."""

__version__ = "0.1.0"
DISTRIBUTION = "memflow-async"
