"""`python -m bench.api`: `python -m api`, knowing the benchmarks' pipeline too."""

import runpy

from bench.contracts import PIPELINE, BenchInput
from bench.pipeline import BenchSteps
from workflows.registry import PIPELINES, Pipeline

if __name__ == "__main__":
    PIPELINES[PIPELINE] = Pipeline(PIPELINE, BenchSteps, BenchInput, lambda _: "A benchmark")
    runpy.run_module("api", run_name="__main__", alter_sys=True)
