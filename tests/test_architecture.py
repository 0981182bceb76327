"""The rules of the house that an import checker cannot see."""

import importlib
import inspect
import pkgutil
import re
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity, workflow

import core.contracts
import core.db.repositories
from activities.jobs import Jobs
from activities.longform import Longform
from activities.scoping import Scoping
from activities.webhooks import Webhooks
from api.deps import Session
from core.contracts.base import Contract, implements
from core.contracts.errors import ERRORS, ErrorType
from core.contracts.jobs import ENDED, REACHED_FROM, JobActivities, JobStatus
from core.settings import Settings
from worker import registry
from worker.deps import Deps
from worker.sandbox import PASSED_THROUGH
from workflows.registry import PIPELINES
from workflows.webhooks import DeliveryWorkflow

ROOT = Path(__file__).parents[1]


def contract_modules() -> list[Any]:
    return [
        importlib.import_module(f"core.contracts.{module.name}")
        for module in pkgutil.iter_modules(core.contracts.__path__)
    ]


def contract_classes() -> Iterator[type[Any]]:
    for module in contract_modules():
        yield from (
            value
            for _, value in inspect.getmembers(module, inspect.isclass)
            if value.__module__.startswith("core.contracts")
        )


def declared_activities() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for owner in contract_classes():
        for _, member in inspect.getmembers(owner, inspect.isfunction):
            definition = activity._Definition.from_callable(member)
            if definition is not None and definition.name:
                found[definition.name] = member
    return found


def registered() -> dict[str, list[str]]:
    nothing: Any = None
    deps = Deps(database=nothing, store=nothing, gateway=nothing, steps=nothing, web=nothing, receivers=nothing)
    names: dict[str, list[str]] = {}
    for queue, methods in registry.activities(deps).items():
        for method in methods:
            name = activity._Definition.must_from_callable(method).name
            assert name is not None
            names.setdefault(name, []).append(queue.value)
    return names


def test_every_declared_activity_has_one_implementation_on_a_queue() -> None:
    implemented = registered()
    assert set(implemented) == set(declared_activities())
    assert all(len(queues) == 1 for queues in implemented.values()), implemented


def test_every_workflow_of_a_pipeline_is_registered() -> None:
    assert {pipeline.workflow for pipeline in PIPELINES.values()} | {DeliveryWorkflow} == set(registry.WORKFLOWS)
    for pipeline in PIPELINES.values():
        assert workflow._Definition.must_from_class(pipeline.workflow).name == pipeline.workflow.__name__.removesuffix(
            "Workflow"
        )


@pytest.mark.parametrize("implementation", [Jobs, Longform, Scoping, Webhooks])
def test_implementations_take_their_names_from_the_declaration(implementation: type[Any]) -> None:
    declared = declared_activities()
    for name, member in inspect.getmembers(implementation, inspect.isfunction):
        definition = activity._Definition.from_callable(member)
        if definition is not None and not name.startswith("_"):
            assert definition.name is not None
            assert declared[definition.name].__name__ == name


def test_an_override_without_the_mark_has_no_definition() -> None:
    class Forgotten(JobActivities):
        async def begin(self, request: Any) -> Any: ...
        async def set_status(self, request: Any) -> Any: ...

        @implements(JobActivities.finish)
        async def finish(self, request: Any) -> Any: ...

    assert activity._Definition.from_callable(Forgotten.begin) is None
    assert activity._Definition.must_from_callable(Forgotten.finish).name == "jobs.finish"


def test_activities_take_one_frozen_model_and_return_one() -> None:
    for name, method in declared_activities().items():
        hints = typing.get_type_hints(method)
        result = hints.pop("return")
        assert result is type(None) or issubclass(result, Contract), name
        assert len(hints) == 1, name
        assert all(issubclass(hint, Contract) for hint in hints.values()), name


def test_no_contract_has_a_default_that_reads_clock_or_randomness() -> None:
    """Passed-through code is not watched by the sandbox: such a default would give another value on replay."""
    harmless = {dict, list, tuple, frozenset}
    for model in contract_classes():
        if issubclass(model, BaseModel):
            for name, field in model.model_fields.items():
                factory = field.default_factory
                assert factory is None or factory in harmless, f"{model.__name__}.{name}"
            assert model.model_config.get("frozen"), f"{model.__name__} is not frozen"


def test_no_contract_reads_clock_randomness_or_files() -> None:
    reading = re.compile(r"datetime\.now|time\.time|time\.monotonic|uuid[14]\(|random\.|secrets\.|os\.environ|open\(")
    for module in contract_modules():
        assert not reading.search(inspect.getsource(module)), module.__name__


def test_only_the_contracts_of_ours_pass_through_the_sandbox() -> None:
    ours = {"core", "workflows", "activities", "api", "worker", "cli"}
    assert {name for name in PASSED_THROUGH if name.split(".")[0] in ours} == {"core.contracts"}


def test_the_names_of_activities_and_queues() -> None:
    for name in declared_activities():
        assert re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", name), name


def test_every_error_code_is_in_the_table_and_every_status_in_its() -> None:
    assert set(ERRORS) == set(ErrorType)
    assert set(REACHED_FROM) == set(JobStatus)
    for status, sources in REACHED_FROM.items():
        allowed = {JobStatus.FAILED} if status is JobStatus.PENDING else set()
        assert sources & ENDED == allowed, f"{status} is reached from an end"


def test_a_run_reads_like_its_specification() -> None:
    for pipeline in PIPELINES.values():
        lines = inspect.getsource(pipeline.workflow.run).splitlines()
        assert len(lines) <= 40, pipeline.name


def test_all_sql_lives_in_the_repositories() -> None:
    statement = re.compile(r"\b(SELECT\s.+\sFROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM)\b")
    for package in ("core", "workflows", "activities", "api", "worker", "cli"):
        for path in (ROOT / package).rglob("*.py"):
            if "repositories" not in path.parts:
                assert not statement.search(path.read_text()), path


def repositories() -> Iterator[type[Any]]:
    for found in pkgutil.iter_modules(core.db.repositories.__path__):
        module = importlib.import_module(f"core.db.repositories.{found.name}")
        yield from (
            value
            for name, value in inspect.getmembers(module, inspect.isclass)
            if name.endswith("Repository") and value.__module__ == module.__name__
        )


def bound_repositories() -> set[type[Any]]:
    """Those that are made for one owner."""
    return {made for made in repositories() if "owner_id" in inspect.signature(made).parameters}


def test_a_repository_that_is_bound_to_an_owner_is_told_of_none_again() -> None:
    bound = bound_repositories()
    assert {made.__name__ for made in bound} >= {
        "AnswersRepository",
        "ArtifactRepository",
        "BudgetRepository",
        "DocumentRepository",
        "JobEventsRepository",
        "JobRepository",
        "UsageRepository",
    }
    for made in bound:
        for name, method in inspect.getmembers(made, inspect.isfunction):
            if name != "__init__":
                assert "owner_id" not in inspect.signature(method).parameters, f"{made.__name__}.{name}"


def test_a_session_reads_jobs_and_what_they_made_as_its_owner() -> None:
    """What a route gets at is bound: it cannot forget the owner, and cannot name another."""
    bound, handed = bound_repositories(), {}
    for name, member in inspect.getmembers(Session, lambda member: isinstance(member, property)):
        handed[name] = typing.get_type_hints(member.fget)["return"]
    assert {"jobs", "documents", "artifacts", "usage", "budgets", "events", "answers"} <= set(handed)
    for name, made in handed.items():
        assert made in bound or made not in set(repositories()), name


def test_routes_reach_the_database_through_their_session_only() -> None:
    around = re.compile(r"\w+Repository\b|\btext\(|\bsqlalchemy\b|session\.connection\b")
    for path in (ROOT / "api" / "routers").rglob("*.py"):
        found = around.search(path.read_text())
        assert found is None, f"{path}: {found and found.group()}"


def test_the_example_environment_lists_every_setting() -> None:
    example = (ROOT / ".env.example").read_text()
    named = re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=(.*)$", example, re.MULTILINE)
    assert sorted(name for name, _ in named) == sorted(name.upper() for name in Settings.model_fields)
    values = {name.lower(): value for name, value in named if value}
    chosen = Settings(_env_file=None, **values)
    default = Settings(_env_file=None)
    for name in values:
        assert getattr(chosen, name) == getattr(default, name), f"{name}: the example does not show the default"
