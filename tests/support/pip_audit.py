"""Audit the locked requirements for known vulnerabilities; skipped with a note when the data is out of reach."""

import json
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = "requirements/dev.txt"


def main() -> int:
    """0 when nothing is known, or nobody could be asked; 1 with a line for each known vulnerability."""
    command = [str(Path(sys.executable).parent / "pip-audit"), "--progress-spinner", "off", "--disable-pip"]
    command += ["--require-hashes", "--timeout", "15", "--format", "json", "-r", REQUIREMENTS]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        packages = json.loads(ran.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        print("pip-audit: skipped, as its vulnerability data is out of reach")
        return 0
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        print(f"pip-audit: skipped, as the index at hand has vulnerability data for none of {len(packages)} packages")
        return 0
    found = [(package, known) for package in audited for known in package["vulns"]]
    for package, known in found:
        fixed = ", ".join(known["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {known['id']}, mended in {fixed}")
    print(f"pip-audit: {len(audited)} packages audited, {len(found)} known vulnerabilities")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
