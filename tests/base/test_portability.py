"""What systems do differently is in few modules: each name of it has one home.

fork, signals and process groups are in `processes`, locks in `locks`, /proc and cgroups in
`resources`, flags of open files in `files`, Unix sockets in `sockets`.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted([*ROOT.glob("tfpipe/**/*.py"), *ROOT.glob("tuning/**/*.py")])
PROCESSES, LOCKS = "tfpipe/base/processes.py", "tfpipe/base/locks.py"
RESOURCES, OPEN_FILES = "tfpipe/base/resources.py", "tfpipe/base/files.py"
SOCKETS = "tfpipe/serving/sockets.py"
# Pattern of a whole name, as `os.fork`, of an import, or of a path -> the one file that has it.
HOMES = {
    r"signal|signal\..*": PROCESSES,
    r"ctypes|ctypes\..*|multiprocessing|multiprocessing\.(?!connection|process).*": PROCESSES,
    r"os\.(fork|forkpty|kill|killpg|setsid|setpgid|getppid|nice|waitpid|wait|_exit)": PROCESSES,
    r"os\.(posix_spawn|pidfd_open|memfd_create|set_inheritable|register_at_fork)": PROCESSES,
    r"fcntl|fcntl\..*|msvcrt|msvcrt\..*|filelock|filelock\..*": LOCKS,
    r"os\.(link|lockf)": LOCKS,
    r"resource|resource\..*|os\.(sched_getaffinity|cpu_count|sysconf|getloadavg)": RESOURCES,
    r"os\.(O_DIRECTORY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC)": OPEN_FILES,
    r"socket\.(AF_UNIX|SO_REUSEPORT|AF_NETLINK|send_fds|recv_fds)": SOCKETS,
    r"pwd|grp|termios|tty|pty|syslog|posix|os\.(getuid|geteuid|chown)": "none",
    r"/proc/locks": LOCKS,
    r"/proc/self/oom_score_adj": PROCESSES,
    r"/?(proc|sys|dev/shm)/.*": RESOURCES,
}
# The cores that TensorFlow counts, whatever a container allows.
EXCEPTIONS = {("tfpipe/base/tensorflow.py", "os.cpu_count")}


def names(source: str) -> Iterator[str]:
    """Yields the names that a module imports and uses, as `os.fork`, and its paths."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                yield from (alias.name for alias in aliases)
            case ast.ImportFrom(module=str(module), names=aliases, level=0):
                yield from (f"{module}.{alias.name}" for alias in aliases)
            case ast.Attribute(value=ast.Name(id=module), attr=attribute):
                yield f"{module}.{attribute}"
            case ast.Constant(value=str(text)) if re.fullmatch(r"\S*/\S*", text):
                yield text


def strays(source: str, file: str) -> set[str]:
    """Returns the names in a module whose home is another file."""
    return {
        name
        for name in names(source)
        if (home := _home(name)) and home != file and (file, name) not in EXCEPTIONS
    }


def _home(name: str) -> str | None:
    return next((home for pattern, home in HOMES.items() if re.fullmatch(pattern, name)), None)


def test_each_name_is_in_its_home_alone():
    assert FILES
    found = {path.relative_to(ROOT).as_posix(): path.read_text() for path in FILES}
    found = {file: strays(source, file) for file, source in found.items()}
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import fcntl",
        "from fcntl import flock",
        "import signal",
        "from multiprocessing import get_context",
        "import multiprocessing.pool",
        "os.fork()",
        "os.kill(pid, 0)",
        "os.link(a, b)",
        "flags = os.O_RDONLY | os.O_DIRECTORY",
        "socket.socket(socket.AF_UNIX)",
        "len(os.sched_getaffinity(0))",
        "Path('/proc/cpuinfo').read_text()",
        "import resource",
        "import pwd",
    ],
)
def test_a_stray_is_seen(source):
    assert len(strays(source, "tfpipe/data/pack.py")) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from multiprocessing.process import BaseProcess",
        "from importlib import resources",
        "from tfpipe.base import processes, resources",
        "os.replace(a, b)",
        "'''In /proc/cpuinfo.'''",
    ],
)
def test_what_all_systems_have_passes(source):
    assert strays(source, "tfpipe/data/pack.py") == set()
