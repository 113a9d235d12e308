"""MEMFLOW_ variables that nobody reads: misspelt ones, mostly.

pydantic-settings passes over a variable that fits no section, so a misspelt one would be without effect and
without a word. What is wrong with the value of a known one is told by `usage`.
"""

from __future__ import annotations

from collections.abc import Iterable

from memflow.cli.usage import nearest
from memflow.settings import MemflowSettings

__all__ = ["known_variables", "unknown_variables"]


def known_variables() -> tuple[str, ...]:
    """Every variable that is read: a section whole, as JSON, or one field of it."""
    names: list[str] = []
    for section, info in MemflowSettings.model_fields.items():
        fields = getattr(info.annotation, "model_fields", {})
        names += [f"MEMFLOW_{section}".upper(), *(f"MEMFLOW_{section}__{field}".upper() for field in fields)]
    return tuple(names)


def unknown_variables(names: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each MEMFLOW_ variable that is read by nobody, with the nearest name that is.

    Args:
        names: The names of all variables, such as `os.environ`.
    """
    known = known_variables()
    unknown = sorted(name for name in names if name.upper().startswith("MEMFLOW_") and name.upper() not in known)
    return tuple(_describe(name, known) for name in unknown)


def _describe(name: str, known: Iterable[str]) -> str:
    typed = name.upper()
    # A single underscore between section and field is the usual slip; it is closer than any other name.
    joined = {each.replace("__", "_"): each for each in known}
    near = joined.get(typed.replace("__", "_")) or nearest(typed, known) or _with_section(typed, known)
    return f"the variable {name} is read by nobody" + (f"; did you mean {near}?" if near else "")


def _with_section(typed: str, known: Iterable[str]) -> str:
    field = typed.removeprefix("MEMFLOW_")
    return next((each for each in known if each.endswith(f"__{field}")), "")
