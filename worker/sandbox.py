"""The one sandbox that workflows run in: workers, tests and the replayer all use it."""

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

# Passed through: imported once and shared, as loading them anew for each workflow costs half the worker's time.
# They are pure; `tests/test_architecture.py` walks the contracts for defaults that would differ on replay.
PASSED_THROUGH = ("core.contracts", "pydantic", "pydantic_core", "annotated_types")


def runner() -> SandboxedWorkflowRunner:
    """A sandboxed runner. Never use another."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*PASSED_THROUGH))
