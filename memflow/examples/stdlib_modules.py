r"""The standard library's own sources, parsed into one record a module.

Thousands of files of very uneven size, found on every machine; the syntax tree of a large one takes a hundred times
its text. Run it with

    memflow run memflow.examples.stdlib_modules:summarize \
        --source memflow.examples.stdlib_modules:paths --output modules.jsonl

Covers the job alone. `summarize` is an ordinary function, so memflow runs it in threads. Files that are broken on
purpose, such as test data, raise and count as failed. What is installed besides the standard library is left out.
"""

from __future__ import annotations

import ast
import io
import os
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["file_size", "paths", "summarize"]

_NOT_OURS = {"site-packages", "dist-packages", "__pycache__"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# McCabe (1976): one path through a function, and one more for each of these.
_BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.Assert,
    ast.comprehension,
    ast.match_case,
)


def paths() -> Iterator[str]:
    """Every source file of the standard library, in a stable order."""
    for folder, subfolders, names in os.walk(_stdlib()):
        subfolders[:] = sorted(set(subfolders) - _NOT_OURS)
        yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".py"))


def _stdlib() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def file_size(path: str) -> int:
    """The file's size in bytes: a hint of the memory that its tree needs, for `--size-hint`."""
    return os.stat(path).st_size


def summarize(path: str) -> dict[str, Any]:
    """Parse one source file.

    Args:
        path: A Python source file.

    Returns:
        What is in it: path, module, lines, functions and classes by name, imports, the docstring's first line,
        cyclomatic complexity and the number of nodes.

    Raises:
        SyntaxError: The file is no valid Python, or not in the encoding that it declares.
    """
    source = Path(path).read_bytes()
    text = _decode(source, path)
    tree = ast.parse(source, filename=path)
    nodes = list(ast.walk(tree))
    docstring = ast.get_docstring(tree) or ""
    return {
        "path": path,
        "module": _module_name(path),
        "lines": text.count("\n") + (not text.endswith("\n") and text != ""),
        "functions": [each.name for each in nodes if isinstance(each, _FUNCTIONS)],
        "classes": [each.name for each in nodes if isinstance(each, ast.ClassDef)],
        "imports": sorted({name for each in nodes for name in _imports(each)}),
        "docstring": docstring.partition("\n")[0],
        "complexity": 1 + sum(_paths_added(each) for each in nodes),
        "nodes": len(nodes),
    }


def _decode(source: bytes, path: str) -> str:
    """Read the source in the encoding that it declares, as Python would."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        return source.decode(encoding)
    except UnicodeDecodeError as error:
        raise SyntaxError(f"{path} is not in the encoding that it declares: {error}") from error


def _module_name(path: str) -> str:
    """The dotted name under which the file is imported; for files elsewhere, their own name."""
    try:
        relative = Path(path).resolve().relative_to(_stdlib().resolve())
    except ValueError:
        relative = Path(Path(path).name)
    parts = relative.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield "." * node.level + (node.module or "")


def _paths_added(node: ast.AST) -> int:
    """How many paths a node adds: one for each branch, and one for each further operand of `and` and `or`."""
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    return isinstance(node, _BRANCHES)
