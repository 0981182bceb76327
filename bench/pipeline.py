"""The benchmarks' own pipeline: a job of N paid steps in a row, each with the smallest prompt and answer."""

from temporalio import workflow

from core.contracts.jobs import JobRequest, JobResult
from core.contracts.options import LLM
from workflows._job import JobWorkflow

with workflow.unsafe.imports_passed_through():  # as the workers do with the contracts of real pipelines
    from bench.contracts import BenchActivities, BenchInput, TakeStep


@workflow.defn(name="BenchSteps")
class BenchSteps(JobWorkflow):
    """Paid steps in a row, in all that every pipeline's workflow does."""

    @workflow.run
    async def run(self, request: JobRequest) -> JobResult:
        """One step after the other."""
        async with self.job(request):
            steps = BenchInput.model_validate(request.input).steps
            self.plan(steps)
            for number in range(1, steps + 1):
                step = TakeStep(key=self.key("steps", f"step {number}"), number=number)
                await self.paid_step(BenchActivities.take_step, step, LLM)
            self.result = JobResult(summary={"steps": steps}, simulated=True)
        return self.result
