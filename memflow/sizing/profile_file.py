"""Cost profiles in files: read with suspicion, written whole or not at all.

Covers paths, sizes, locks and the machine's description. What a profile holds is `memflow.sizing.profile`'s. Everything
here blocks: call it in a thread.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from memflow._version import __version__
from memflow.sizing.profile import BadProfile, CostProfile, Machine, merge, parse, to_data

__all__ = ["read_profile", "this_machine", "update_profile"]

MAX_FILE_BYTES = 256 * 1024
"""A larger file is no profile of ours, and is not read."""

_LOCK_S = 1.0
_LOCK_STEP_S = 0.005


def this_machine() -> Machine:
    """Describe where this process runs, as far as it matters for what is learnt."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not there on macOS and Windows
        cpus = os.cpu_count() or 0
    python = f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"
    return Machine(f"{platform.system()} {platform.machine()}", python, __version__, cpus)


def read_profile(path: Path) -> tuple[CostProfile, tuple[str, ...]]:
    """Read a profile; where there is no file, an empty one.

    Returns:
        The profile, and sentences about operations in it that were left out.

    Raises:
        BadProfile: the file is no profile, or one of another version.
        OSError: it can't be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # before it is opened: opening a pipe would wait for a writer
            raise BadProfile("it is no regular file")
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return CostProfile(), ()
    except ValueError as error:  # a null byte in the path
        raise error if isinstance(error, BadProfile) else BadProfile(str(error)) from error
    if len(text) > MAX_FILE_BYTES:
        raise BadProfile(f"it is larger than {MAX_FILE_BYTES // 1024} KiB")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadProfile(f"it is not JSON: {str(error) or type(error).__name__:.80}") from error
    return parse(data)


def update_profile(path: Path, learnt: CostProfile) -> None:
    """Put what was learnt into the file; what it says of other operations stays.

    The file is replaced in one step by a whole new one. Two processes that do this at once take turns where the system
    can lock a directory; where it can't, each still writes a whole file, and the last one stays.

    Raises:
        OSError: it can't be written; what was there is there still.
        BadProfile: there is something that is no regular file.
    """
    target = Path(os.path.realpath(path))  # a link stays a link
    with _locked(target.parent):
        mode = None
        with suppress(FileNotFoundError):
            mode = target.stat().st_mode
            if not stat.S_ISREG(mode):
                raise BadProfile("it is no regular file")
        try:
            older, _ = read_profile(target)
        except (BadProfile, OSError):
            older = CostProfile()
        data = to_data(merge(older, learnt))
        text = json.dumps(data, indent=1, allow_nan=False, ensure_ascii=False)
        _replace(target, text.encode() + b"\n", mode)


def _replace(target: Path, text: bytes, mode: int | None) -> None:
    draft = target.with_name(f".{target.name[:100]}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        # Not `tempfile`, whose files nobody else may read.
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            with suppress(OSError):
                draft.chmod(stat.S_IMODE(mode))
        draft.replace(target)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, which leaves no file behind; go on without it where there is none to be had in time."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        until_s = time.monotonic() + _LOCK_S
        while time.monotonic() < until_s:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOCK_STEP_S)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        os.close(handle)
