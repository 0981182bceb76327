"""Write the hashed requirements from `pyproject.toml`: `make lock`, or `make lock UPGRADE=1` for the newest versions.

Each file constrains the next, so that the service runs with the same versions everywhere.
"""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = "3.11"
FILES = {"run.txt": [], "local.txt": ["embedded"], "dev.txt": ["embedded", "dev"]}


def main() -> int:
    """Compile every file; the first failure ends it."""
    before: Path | None = None
    for name, extras in FILES.items():
        target = HERE / name
        command = [str(Path(sys.executable).parent / "uv"), "pip", "compile", "pyproject.toml", "--quiet"]
        command += ["--universal", "--python-version", PYTHON, "--generate-hashes"]
        command += ["--no-emit-index-url", "--no-annotate", "--no-header", "--output-file", str(target)]
        command += [part for extra in extras for part in ("--extra", extra)]
        command += ["--constraint", str(before)] if before else []
        command += [argument for argument in sys.argv[1:] if argument == "--upgrade"]
        subprocess.run(command, check=True, cwd=HERE.parent)
        before = target
    return 0


if __name__ == "__main__":
    sys.exit(main())
