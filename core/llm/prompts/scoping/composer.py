"""What the simulator answers to the prompts of `scoping`, made of the answers' own words."""

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from core.llm.prompts.scoping.consistency import compose_consistency
from core.llm.prompts.scoping.judging import compose_findings, compose_verdicts
from core.llm.prompts.scoping.section import compose_section

COMPOSERS: dict[str, Callable[[Mapping[str, Any], str], BaseModel]] = {
    "judge_answers": compose_verdicts,
    "close_stage": compose_findings,
    "check_consistency": compose_consistency,
    "draft_section": compose_section,
}
"""A prompt's name within this pipeline, to the function that answers it from inputs and a seed."""
