"""Loads versions in a process of its own that reports each file and connection it opens to write.

    python audited_loading.py TEMPORARY PRELOADED VERSION...

TEMPORARY is the folder of temporary files. PRELOADED is a good version, loaded first, so that what
Keras does at its first use is not reported.
"""

import json
import sys
import tempfile
from pathlib import Path

WATCHED = {  # of Python's audit events
    "os.chmod", "os.link", "os.listxattr", "os.mkdir", "os.rename",
    "os.symlink", "os.system", "os.truncate", "os.exec", "os.fork", "os.posix_spawn",
    "pty.spawn", "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyname",
    "socket.sendto", "subprocess.Popen", "urllib.Request", "ctypes.dlopen",
}  # fmt: skip
WRITES = frozenset("wax+")


def main(temporary: str, preloaded: str, *versions: str) -> None:
    from tfpipe.base.errors import UserError
    from tfpipe.registry import load

    tempfile.tempdir = temporary
    load.read_model(Path(preloaded))
    events: list[str] = []

    def audit(event: str, arguments: tuple) -> None:
        if event == "open":
            path, mode, flags = arguments
            is_written = bool(WRITES & {*(mode or "")}) if mode else bool(flags & 0o3)
            if is_written or "secret" in str(path):
                events.append(f"open {path} {mode}")
        elif event in WATCHED:
            events.append(f"{event} {arguments[:2]}")

    sys.addaudithook(audit)
    for version in versions:
        events.clear()
        try:
            load.read_model(Path(version))
            sentence = ""
        except UserError as error:
            sentence = str(error)
        print(json.dumps({"version": version, "sentence": sentence, "events": [*events]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
