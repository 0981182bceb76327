"""The compose files and the image: what they say holds together. `test_compose_running.py` runs their commands.

There need be no Docker here. The files are parsed and merged as Compose does it.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from core.embedded.temporal import DYNAMIC_CONFIG
from core.settings import Settings

ROOT = Path(__file__).parents[2]
BASE, PROD = ROOT / "docker-compose.yml", ROOT / "docker-compose.prod.yml"
OURS = ("migrate", "prepare", "api", "worker")
# What obstore reads of an S3 store's credentials (core/artifacts/store.py).
THIRD_PARTY = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"}
GIVEN = {
    "POSTGRES_PASSWORD": "from-the-environment",
    "ATELIER_VERSION": "1.2.3",
    "ARTIFACTS_URL": "s3://bucket/prefix",
    "JWT_SECRET": "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
}

Node = dict[str, Any]


# ---------------------------------------------------------------------------------------------- Compose, in small


class Reset:
    """`!reset`: what the file before says of it is taken away."""


class Loader(yaml.SafeLoader):
    """YAML with Compose's tags."""


Loader.add_constructor("!reset", lambda _loader, _node: Reset())


def load(path: Path) -> Node:
    loaded: Node = yaml.load(path.read_text(), Loader)
    return loaded


def merge(before: Any, after: Any, at: str = "") -> Any:
    """Compose's rules: mappings are merged, commands and tests replaced, other sequences extended (no doubles)."""
    if isinstance(before, dict) and isinstance(after, dict):
        merged = dict(before)
        for name, value in after.items():
            if isinstance(value, Reset):
                merged.pop(name, None)
            else:
                merged[name] = merge(before[name], value, name) if name in before else value
        return merged
    if isinstance(before, list) and isinstance(after, list) and at not in {"command", "entrypoint", "test"}:
        return before + [item for item in after if item not in before]
    return after


def interpolate(value: Any, given: dict[str, str]) -> Any:
    """`${NAME:?message}`, `${NAME:-default}` and `$$`, as Compose fills them in."""

    def fill(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        name, operator, rest = match["name"], match["operator"], match["rest"]
        if given.get(name):
            return given[name]
        assert operator == ":-", f"{name}: {rest}"
        return rest

    if isinstance(value, dict):
        return {name: interpolate(inner, given) for name, inner in value.items()}
    if isinstance(value, list):
        return [interpolate(inner, given) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\$\$|\$\{(?P<name>\w+)(?P<operator>:[-?])(?P<rest>[^}]*)\}", fill, value)
    return value


def seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(s|m)", duration).groups()  # type: ignore[union-attr]
    return float(number) * {"s": 1, "m": 60}[unit]


RAW = {"base": load(BASE), "prod": merge(load(BASE), load(PROD))}


@pytest.fixture(params=sorted(RAW))
def raw(request: pytest.FixtureRequest) -> Node:
    """The deployment as written, before variables are filled in."""
    found: Node = RAW[request.param]
    return found


@pytest.fixture
def deployment(raw: Node) -> Node:
    """The deployment with its variables filled in."""
    found: Node = interpolate({name: part for name, part in raw.items() if not name.startswith("x-")}, GIVEN)
    return found


def services(deployment: Node) -> Iterator[tuple[str, Node]]:
    yield from deployment["services"].items()


# ---------------------------------------------------------------------------------------------- what the files say


def test_every_image_has_a_version(deployment: Node) -> None:
    for name, service in services(deployment):
        image, _, tag = service["image"].rpartition(":")
        assert image, name
        assert tag not in {"", "latest"}, name


def test_a_required_variable_is_asked_for() -> None:
    with pytest.raises(AssertionError, match="POSTGRES_PASSWORD: set it in"):
        interpolate(RAW["base"], {})
    for name in GIVEN:
        with pytest.raises(AssertionError, match=f"{name}: set it in"):
            interpolate(RAW["prod"], {given: value for given, value in GIVEN.items() if given != name})


def test_our_services_are_told_settings_that_exist(deployment: Node) -> None:
    known = {name.upper() for name in Settings.model_fields} | THIRD_PARTY
    for name in OURS:
        environment = deployment["services"][name]["environment"]
        assert set(environment) <= known, name
        literals = {key.lower(): value for key, value in environment.items() if value is not None}
        settings = Settings(_env_file=None, **literals)
        assert settings.database_url is not None
        assert settings.temporal_address == "temporal:7233"


def test_every_setting_can_be_chosen(deployment: Node) -> None:
    passed = {key for name in ("api", "worker") for key in deployment["services"][name]["environment"]}
    assert passed == {name.upper() for name in Settings.model_fields} | THIRD_PARTY


def test_api_and_workers_share_the_folder_of_local_artifacts(deployment: Node) -> None:
    for name in ("api", "worker"):
        service = deployment["services"][name]
        home = service["environment"]["ATELIER_HOME"]
        assert f"artifacts:{home}" in service["volumes"]


def test_what_is_depended_on_exists_and_can_become_so(deployment: Node) -> None:
    for name, service in services(deployment):
        for target, wanted in service.get("depends_on", {}).items():
            other = deployment["services"][target]
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in other, f"{name} waits for the health of {target}"
            else:
                assert wanted["condition"] == "service_completed_successfully"
                assert other.get("restart", "no").split(":")[0] in {"no", "on-failure"}, f"{target} never completes"


def test_health_checks_give_a_start_its_time(deployment: Node) -> None:
    for name in ("postgres", "temporal", "api", "worker"):
        check = deployment["services"][name]["healthcheck"]
        assert check["test"][0] == "CMD", name  # the shell of an image is not ours to rely on
        assert all(isinstance(word, str) for word in check["test"]), name
        assert seconds(check["timeout"]) <= seconds(check["interval"])
        assert seconds(check["start_period"]) >= 30


def test_ports_are_open_to_this_machine_only(deployment: Node) -> None:
    for name, service in services(deployment):
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name


def test_no_secret_is_written_down(raw: Node) -> None:
    for name, service in services(raw):
        for key, value in service.get("environment", {}).items():
            literal = re.sub(r"\$\{[^}]*\}", "", value or "")
            if re.search(r"_KEY|KEY_ID|PASSWORD|PWD|SECRET", key):
                assert literal == "", f"{name}: {key}"
            assert not re.search(r"://[^/@]*:[^/@]+@", literal), f"{name}: {key}"


def test_mounts_exist(deployment: Node) -> None:
    for name, service in services(deployment):
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).is_file() if source.startswith("./") else source in deployment["volumes"], name


def test_a_worker_may_finish_what_it_does(deployment: Node) -> None:
    worker = deployment["services"]["worker"]
    assert seconds(worker["stop_grace_period"]) > float(worker["environment"]["WORKER_DRAIN_SECONDS"]) + 10


def test_the_server_is_confined() -> None:
    production = interpolate(RAW["prod"]["services"], GIVEN)
    for name, service in production.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] is (name != "temporal-ui"), name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name
        assert service["restart"] in {"unless-stopped", "on-failure:5"}, name
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name
    for name in ("postgres", "temporal"):
        assert "ports" not in production[name]
    for name in OURS:
        assert production[name]["user"] == image_user()
        assert "cap_add" not in production[name]
        assert production[name]["tmpfs"]
        assert production[name]["environment"]["ATELIER_MODE"] == "production"
    assert production["api"]["environment"]["JWT_SECRET"] == GIVEN["JWT_SECRET"]
    # Whoever gets into a worker cannot make tokens.
    assert "JWT_SECRET" not in production["worker"]["environment"]
    for name in ("api", "worker"):
        assert production[name]["environment"]["ARTIFACTS_URL"] == "s3://bucket/prefix"
        assert production[name]["environment"]["SIMULATOR"] == "false"
    assert production["worker"]["deploy"]["replicas"] >= 2


# ---------------------------------------------------------------------------------------------- Temporal's own files


def test_temporal_is_told_what_the_embedded_server_is_told() -> None:
    path = ROOT / "docker/temporal/dynamicconfig.yaml"
    told = yaml.safe_load(path.read_text())
    assert set(told) == set(DYNAMIC_CONFIG)
    for name, entries in told.items():
        (entry,) = entries
        embedded = yaml.safe_load(DYNAMIC_CONFIG[name])
        assert type(entry["value"]) is type(embedded), name
        # The rates are lower, because a server that is shared has a database to protect.
        assert entry["value"] <= embedded if name.endswith("RPS") else entry["value"] == embedded, name
    environment = RAW["base"]["services"]["temporal"]["environment"]
    mounts = RAW["base"]["services"]["temporal"]["volumes"]
    assert f"./docker/temporal/dynamicconfig.yaml:{environment['DYNAMIC_CONFIG_FILE_PATH']}:ro" in mounts


def test_the_schema_script_makes_both_databases_and_stops_at_a_failure(tmp_path: Path) -> None:
    said = tmp_path / "said"
    tool = tmp_path / "temporal-sql-tool"
    tool.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(said))}\ncase "$*" in *"$FAIL"*) exit 1;; esac\n')
    tool.chmod(0o755)

    def run(fail: str) -> tuple[int, list[str]]:
        said.write_text("")
        service = RAW["base"]["services"]["temporal-schema"]
        (mounted,) = service["volumes"]
        source, target, mode = mounted.split(":")
        assert (service["command"], mode) == ([target], "ro")
        done = subprocess.run(
            [*service["entrypoint"], str(ROOT / source)],
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "FAIL": fail},
            capture_output=True,
            check=False,
        )
        return done.returncode, said.read_text().splitlines()

    code, calls = run(fail="nothing")
    assert code == 0
    assert calls == [
        "--db temporal create",
        "--db temporal setup-schema -v 0.0",
        "--db temporal update-schema -d /etc/temporal/schema/postgresql/v12/temporal/versioned",
        "--db temporal_visibility create",
        "--db temporal_visibility setup-schema -v 0.0",
        "--db temporal_visibility update-schema -d /etc/temporal/schema/postgresql/v12/visibility/versioned",
    ]
    code, calls = run(fail="update-schema")
    assert code != 0
    assert len(calls) == 3


# ---------------------------------------------------------------------------------------------- the image


def instructions() -> list[tuple[str, list[str]]]:
    """The Dockerfile's instructions and their words, continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [(words[0], words[1:]) for line in joined.splitlines() if (words := shlex.split(line))]


def final_stage() -> list[tuple[str, list[str]]]:
    """The instructions of the image itself."""
    every = instructions()
    last = max(index for index, (name, _) in enumerate(every) if name == "FROM")
    return every[last:]


def image_user() -> str:
    """Who the processes are."""
    (user,) = [words[0] for name, words in final_stage() if name == "USER"]
    return user


def copied() -> list[str]:
    """The folders of the repository that are in the image."""
    return [
        words[0] for name, words in final_stage() if name == "COPY" and not any(w.startswith("--from") for w in words)
    ]


def test_the_image_is_pinned_small_and_not_root() -> None:
    every = instructions()
    (base,) = [words[0] for name, words in every if name == "ARG"]
    assert re.fullmatch(r"PYTHON=python:3\.\d+-slim-\w+", base)
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f":{running}-" in base, "tested with another Python than the image has"
    assert {words[0] for name, words in every if name == "FROM"} == {"${PYTHON}"}
    user, group = map(int, image_user().split(":"))
    assert user > 0
    assert group > 0
    assert "ADD" not in {name for name, _ in every}
    assert not {"cli", "tests", "bench", "."} & set(copied())
    install = next(words for name, words in every if name == "RUN" and "--require-hashes" in words)
    assert {"--require-hashes", "--only-binary"} <= set(install)


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = [
        words[0] for name, words in instructions() if name == "COPY" and not any(w.startswith("--from") for w in words)
    ]
    assert set(sources) == kept
    for source in sources:
        assert (ROOT / source).exists(), source


def test_the_image_holds_all_that_its_processes_import(tmp_path: Path) -> None:
    """In an interpreter that sees only the copied folders and the installed packages, not the repository."""
    for folder in copied():
        # By links: what is not copied is not there.
        (tmp_path / folder).symlink_to(ROOT / folder, target_is_directory=True)
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    program = f"""
import importlib, pkgutil, sys
sys.path[:0] = [{str(tmp_path)!r}, {packages!r}]
for root in {copied()!r}:
    package = importlib.import_module(root)
    for module in pkgutil.walk_packages(package.__path__, root + "."):
        if module.name not in ("migrations.env",) and not module.name.startswith(("core.embedded", "migrations.v")):
            importlib.import_module(module.name)
print(sorted({{name.split(".")[0] for name in sys.modules}} & {{"cli", "tests", "bench", "pytest", "pgserver"}}))
"""
    # -S: without it the editable installation would put the repository on the path.
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
