"""What a session is expected to ask of models: from its questions, as nobody has answered yet.

The figures are rules of thumb for sponsors who answer a stage at once, in a few sentences a question.
"""

import math
from collections.abc import Iterator

from core.contracts.estimates import CHARACTERS_A_TOKEN, EstimatedCall
from core.contracts.scoping import ScopingInput
from core.contracts.scoping_charter import CHARTER
from core.contracts.scoping_questions import QUESTIONNAIRE, Stage

NOTES = ("Tokens are guessed from the number of questions; one answer in three is asked about again, once.",)
VAGUE = 3
"""One answer of so many is asked about again, once."""
BESIDE_TOKENS = 10_000
"""At most so much of other answers stands beside those that are judged."""

_FORM = 250
"""The form of the answer, which providers count as input."""
_INSTRUCTIONS = {"judge_answers": 1_400, "close_stage": 1_250, "check_consistency": 1_200, "draft_section": 1_700}
"""What each prompt says before anything of the session stands in it."""
_ANSWERED, _GUIDED = 130, 110
"""A question with its answer in a prompt, and what its judge is told of it besides."""
_FOUND = 90
"""A finding with its title in a prompt, or in an answer."""
_VERDICT, _CONTRADICTIONS, _SECTION = 70, 150, 500
"""What the other answers take."""


def estimate(given: ScopingInput) -> tuple[EstimatedCall, ...]:
    """The calls for a session that is answered to its end, in their order."""
    return tuple(_calls(given))


def _calls(given: ScopingInput) -> Iterator[EstimatedCall]:
    project = math.ceil(len(given.name + given.description) / CHARACTERS_A_TOKEN)

    def call(prompt: str, path: int, more: int, answer: int) -> EstimatedCall:
        asked = _INSTRUCTIONS[prompt] + _FORM + project + more
        return EstimatedCall(prompt=f"scoping/{prompt}", input_tokens=asked, output_tokens=answer, path=path)

    said, path = 0, 0
    for stage in QUESTIONNAIRE.stages:
        # The whole stage, then the answers to its follow-ups with the rest of it beside them.
        questions = len(stage.questions)
        again = math.ceil(sum(question.follow_up.at_most > 0 for question in stage.questions) / VAGUE)
        for judged in (questions, again):
            beside = min(BESIDE_TOKENS, (said + (questions - judged)) * _ANSWERED)
            if judged:
                yield call("judge_answers", path, judged * (_ANSWERED + _GUIDED) + beside, judged * _VERDICT)
                path += 1
        found = len(stage.findings) * _FOUND
        yield call("close_stage", path, questions * _ANSWERED + found, found)
        said, path = said + questions, path + 1
    yield call("check_consistency", path, said * _ANSWERED, _CONTRADICTIONS)
    for section in CHARTER.values():
        told = sum(_told(stage) for stage in QUESTIONNAIRE.stages if stage.number in section.stages)
        yield call("draft_section", path + 1, told, _SECTION)


def _told(stage: Stage) -> int:
    """What a charter's writer is told of a stage."""
    return len(stage.findings) * _FOUND + len(stage.questions) * _ANSWERED
