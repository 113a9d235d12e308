"""The root of the error tree, below every floor that raises one; import it from `memflow.exceptions`."""

from __future__ import annotations

from typing import Any

__all__ = ["MemflowError"]


class MemflowError(Exception):
    """Base of every error that memflow raises by itself. Errors can be copied, and sent to another process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__.copy())


def _restore(kind: type[MemflowError], args: tuple[Any, ...], state: dict[str, Any]) -> MemflowError:
    """Make an error from its message and fields, past its `__init__`, which takes other arguments."""
    error: MemflowError = kind.__new__(kind, *args)
    error.args = args  # OSError's kind leaves it to `__init__`
    error.__dict__.update(state)
    return error
