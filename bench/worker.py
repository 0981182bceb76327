"""`python -m bench.worker`: `python -m worker`, knowing the benchmarks' pipeline too."""

import runpy
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

from bench.activities import Bench
from bench.pipeline import BenchSteps
from core.contracts.names import Queue
from worker import registry
from worker.deps import Deps

_activities = registry.activities


def activities(deps: Deps) -> dict[Queue, list[Callable[..., Any]]]:
    """The product's activities, and the benchmarks' one."""
    all_queues = _activities(deps)
    all_queues[Queue.LLM].append(Bench.build(deps).take_step)
    return all_queues


if __name__ == "__main__":
    with (
        patch.object(registry, "WORKFLOWS", [*registry.WORKFLOWS, BenchSteps]),
        patch.object(registry, "activities", activities),
    ):
        runpy.run_module("worker", run_name="__main__", alter_sys=True)
