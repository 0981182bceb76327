"""A process that starts an embedded server, says so in one JSON line, and waits until its standard input ends.

    python -m tests.support.embedded_parent postgres|temporal FOLDER [--die] [--uid N]

`--die` is die_with_parent. `--uid` turns the process into that ordinary user first; it needs root.
"""

import argparse
import encodings.idna  # noqa: F401  # a lazy import of sockets, too late once we are a user who cannot read Python
import json
import os
import pwd
import sys
from pathlib import Path

from core.embedded.installation import bundled_postgres, installed_for
from core.embedded.postgres import EmbeddedPostgres
from core.embedded.process import User
from core.embedded.temporal import EmbeddedTemporal


def main() -> None:
    """Start, report and wait."""
    parser = argparse.ArgumentParser()
    parser.add_argument("server", choices=["postgres", "temporal"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--die", action="store_true")
    parser.add_argument("--uid", type=int)
    chosen = parser.parse_args()
    installation: Path | None = None
    if chosen.uid is not None:
        # Found and, where this project lies below a closed folder, copied out while we may still read it.
        user = User(chosen.uid, pwd.getpwuid(chosen.uid).pw_gid)
        installation = installed_for(user, bundled_postgres())
        # In this process, not by starting Python as the user: the interpreter may lie below a closed home folder.
        group = pwd.getpwuid(chosen.uid).pw_gid
        os.setgroups([])
        os.setgid(group)
        os.setuid(chosen.uid)
    server: EmbeddedPostgres | EmbeddedTemporal
    if chosen.server == "postgres":
        server = EmbeddedPostgres(
            chosen.folder, die_with_parent=chosen.die, settings={"fsync": "off"}, installation=installation
        )
    else:
        server = EmbeddedTemporal(chosen.folder, die_with_parent=chosen.die)
    address = server.start()
    print(json.dumps({"address": address, "pid": server.pid, "adopted": server.adopted}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
