"""Cores and memory of a container, as both versions of cgroups tell them."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tfpipe.base import resources

MB = 1 << 20
CORES, MACHINE = len(os.sched_getaffinity(0)), resources.memory_bytes(root=Path("/nowhere"))
NO_LIMIT = str((1 << 63) - 4096)  # as version 1 has it
HERE = "sys/fs/cgroup"


@pytest.fixture
def system(tmp_path):
    """Writes files of a system; returns its root."""

    def write(**contents: str) -> Path:
        for name, text in contents.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
        return tmp_path

    return lambda groups, contents: write(**{"proc/self/cgroup": groups, **contents})


MEMORY = {
    "version 2 in a container": ("0::/", {f"{HERE}/memory.max": str(64 * MB)}),
    "version 2 of a service": ("0::/a/b.service", {f"{HERE}/a/b.service/memory.max": str(64 * MB)}),
    "version 2, the group above": (
        "0::/a/b",
        {f"{HERE}/a/b/memory.max": "max", f"{HERE}/a/memory.max": str(64 * MB)},
    ),
    "version 1 in a container": (
        "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc",  # a name that only the host sees
        {f"{HERE}/memory/memory.limit_in_bytes": str(64 * MB)},
    ),
    "version 1, nested": (
        "4:memory:/a/b",
        {
            f"{HERE}/memory/a/b/memory.limit_in_bytes": NO_LIMIT,
            f"{HERE}/memory/a/memory.limit_in_bytes": str(64 * MB),
            f"{HERE}/memory/memory.limit_in_bytes": NO_LIMIT,
        },
    ),
}
NONE = {
    "no limit, version 2": ("0::/", {f"{HERE}/memory.max": "max"}),
    "no limit, version 1": ("4:memory:/", {f"{HERE}/memory/memory.limit_in_bytes": NO_LIMIT}),
    "more than the machine has": ("0::/", {f"{HERE}/memory.max": str(1 << 50)}),
    "of another system": ("", {}),
    "a group elsewhere": ("0::/../../etc", {"etc/memory.max": str(64 * MB)}),
    "no number": ("0::/\nnonsense", {f"{HERE}/memory.max": "sixty"}),
}


@pytest.mark.parametrize("kind", MEMORY)
def test_memory_is_that_of_the_container(system, kind):
    assert resources.memory_bytes(root=system(*MEMORY[kind])) == 64 * MB


@pytest.mark.parametrize("kind", NONE)
def test_memory_is_that_of_the_machine_where_there_is_no_limit(system, kind):
    assert resources.memory_bytes(root=system(*NONE[kind])) == MACHINE


def test_cores_are_a_containers_share_of_time(system):
    quota = {"0::/": {f"{HERE}/cpu.max": "90000 100000"}}
    quota["3:cpu,cpuacct:/"] = {
        f"{HERE}/cpu/cpu.cfs_quota_us": "50000",
        f"{HERE}/cpu/cpu.cfs_period_us": "100000",
    }
    for groups, contents in quota.items():
        assert resources.cores(root=system(groups, contents)) == 1
    more = {f"{HERE}/cpu.max": f"{100000 * CORES + 50000} 100000"}
    assert resources.cores(root=system("0::/", more)) == CORES
    assert resources.cores(root=system("0::/", {f"{HERE}/cpu.max": "max 100000"})) == CORES
    none = {f"{HERE}/cpu/cpu.cfs_quota_us": "-1", f"{HERE}/cpu/cpu.cfs_period_us": "100000"}
    assert resources.cores(root=system("3:cpu,cpuacct:/", none)) == CORES


def test_a_process_in_a_real_container_learns_its_limit():
    parent = next((f for f in _memory_groups() if os.access(f, os.W_OK)), None)
    if parent is None:
        pytest.skip("no cgroup here can be changed")
    group = parent / f"tfpipe-test-{os.getpid()}"
    try:
        with contextlib.ExitStack() as stack:
            group.mkdir()
            stack.callback(group.rmdir)
            names = ("memory.max", "memory.limit_in_bytes")
            limit = next((group / name for name in names if (group / name).exists()), None)
            if limit is None:
                pytest.skip("cgroups limit no memory here")
            limit.write_text(str(300 * MB))
            code = (
                f"open({str(group / 'cgroup.procs')!r}, 'w').write('0')\n"
                "from tfpipe.base import resources; print(resources.memory_bytes())"
            )
            run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error.strerror}")
    assert run.stdout.strip() == str(300 * MB), run.stderr


def _memory_groups():
    """Gives the folders of this process's cgroups that may limit memory."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, name = line.split(":", 2)
        if controllers in ("", "memory"):
            yield Path("/sys/fs/cgroup", controllers, name.removeprefix("/"))
