"""The machine: its processors, and the cores and memory that this process may use of it.

The limits of its container count.

A container is a cgroup. Its limits, and those of the cgroups above it, are files of the system.
"""

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path("/")
_NO_LIMIT = 1 << 60  # version 1 writes a number above it where there is none


def cores(*, root: Path = ROOT) -> int:
    """Returns the number of cores that this process may use, at least 1.

    Args:
      root: of the file system, for tests.
    """
    has_affinity = hasattr(os, "sched_getaffinity")
    most = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    shares = [share for folder in _cgroups("cpu", root) if (share := _cpu_share(folder))]
    return max(1, min([most, *map(math.ceil, shares)]))


def memory_bytes(*, root: Path = ROOT) -> int:
    """Returns how much memory this process may use: the machine's, or less in a container.

    Args:
      root: of the file system, for tests.
    """
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = [
        limit
        for folder in _cgroups("memory", root)
        for name in ("memory.max", "memory.limit_in_bytes")
        for limit in _numbers(folder / name)
        if 0 < limit < _NO_LIMIT
    ]
    return min([machine, *limits])


def oom_kills(*, root: Path = ROOT) -> int:
    """Returns how many processes the kernel has killed for want of memory; 0 if unknown.

    Args:
      root: of the file system, for tests.
    """
    lines = _text(root / "proc/vmstat").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


@functools.cache
def processors(*, root: Path = ROOT) -> str:
    """Returns the text of /proc/cpuinfo; "" on systems other than Linux.

    Args:
      root: of the file system, for tests.
    """
    return _text(root / "proc/cpuinfo")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _cgroups(controller: str, root: Path) -> Iterator[Path]:
    """Gives the folders of this process's cgroup and of those above it, of either version.

    In a container the system may name a cgroup that only its host sees; the container's own is then
    the root of what is mounted.
    """
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        mounted = root / "sys/fs/cgroup"
        if controllers:
            if controller not in controllers.split(","):
                continue
            mounted /= controller
        place = PurePosixPath(name).relative_to("/") if name.startswith("/") else PurePosixPath()
        if ".." in place.parts:  # outside of what this process sees
            place = PurePosixPath()
        yield mounted / place
        yield from (mounted / parent for parent in place.parents)


def _cpu_share(folder: Path) -> float | None:
    """Returns how many cores' time a cgroup may take; None for any."""
    values = _numbers(folder / "cpu.max") or [
        *_numbers(folder / "cpu.cfs_quota_us"),
        *_numbers(folder / "cpu.cfs_period_us"),
    ]
    if len(values) != 2 or min(values) <= 0:
        return None
    quota, period = values
    return quota / period


def _numbers(path: Path) -> list[int]:
    """Returns the numbers of a file; none where it is missing or says "max"."""
    try:
        return [int(word) for word in _text(path).split()]
    except ValueError:
        return []
