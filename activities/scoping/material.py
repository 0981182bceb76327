"""What a session has gathered, as the prompts and the charter see it. No I/O."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from core.contracts.base import Json
from core.contracts.scoping import Finding, FindingId, QuestionId, StageNumber
from core.contracts.scoping_charter import OpenRisk
from core.contracts.scoping_entries import Said, Turn
from core.contracts.scoping_questions import FindingPlan, Question, Questionnaire, Stage
from core.contracts.scoping_state import QuestionStatus, SessionState

SESSION_CHARACTERS, OTHERS_CHARACTERS = 200_000, 40_000
"""Of all answers together in one prompt, and of those that only stand beside the answers to be judged: about 50,000 and
10,000 tokens. Long ones are cut first."""
_CUT = " […]"

Standing = Literal["answered", "left vague", "skipped"]


@dataclass(frozen=True)
class Material:
    """A session at one moment: its questions, where each stands, what was said to it, and the newest findings."""

    name: str
    description: str
    language: str
    questionnaire: Questionnaire
    state: SessionState
    said: Mapping[QuestionId, Said]
    findings: Mapping[FindingId, Finding]

    def stages(self, numbers: Iterable[StageNumber]) -> list[Stage]:
        """The stages of these numbers, in their order."""
        wanted = set(numbers)
        return [stage for stage in self.questionnaire.stages if stage.number in wanted]

    def standing(self, question: QuestionId) -> Standing:
        """Whether there is an answer, and whether it can be relied on."""
        state = self.state.questions[question]
        if state.status is QuestionStatus.SKIPPED or not self._turns(question):
            return "skipped"
        return "left vague" if state.vague else "answered"

    def assumed(self, questions: Iterable[QuestionId]) -> bool:
        """Whether nobody said what rests on these questions: each was skipped, or left vague."""
        return all(self.standing(question) != "answered" for question in questions)

    def project_inputs(self) -> Json:
        """What every prompt says of the project."""
        return {"name": self.name, "description": self.description, "language": self.language}

    def judged_inputs(self, number: StageNumber, questions: Sequence[QuestionId]) -> Json:
        """What the judge of answers is told: the questions with all that was said, and what was said beside them."""
        stage, fitted = self.questionnaire.stage(number), self._fitted(SESSION_CHARACTERS, questions)
        others = [
            question.id
            for stage in self.stages(range(1, number + 1))
            for question in stage.questions
            if question.id not in questions and self._turns(question.id) and not self._asked(question.id)
        ]
        beside = self._fitted(OTHERS_CHARACTERS, others)
        return {
            **self.project_inputs(),
            "stage": _stage_inputs(stage),
            "questions": [
                {
                    "id": question.id,
                    "question": question.text,
                    "help": question.help,
                    "wants": list(question.follow_up.wants),
                    "min_words": question.follow_up.min_words,
                    "follow_ups_left": self.follow_ups_left(question),
                    **fitted._answer_inputs(question.id),
                }
                for question in stage.questions
                if question.id in questions
            ],
            "others": [
                {"id": question.id, "question": question.text, **beside._answer_inputs(question.id)}
                for stage in self.questionnaire.stages
                for question in stage.questions
                if question.id in others
            ],
        }

    def follow_ups_left(self, question: Question) -> int:
        """How often the question may still be asked about."""
        return max(0, question.follow_up.at_most - self.state.questions[question.id].follow_ups)

    def asked_before(self, questions: Iterable[QuestionId]) -> dict[QuestionId, list[str]]:
        """The follow-ups that were asked about each of the questions."""
        return {question: [turn.asked for turn in self._turns(question)[1:]] for question in questions}

    def answered(self) -> dict[QuestionId, StageNumber]:
        """The questions that have an answer, clear or not, and their stages."""
        return {
            question.id: stage.number
            for stage in self.questionnaire.stages
            for question in stage.questions
            if self.standing(question.id) != "skipped"
        }

    def closing_inputs(self, number: StageNumber, findings: Sequence[FindingId]) -> Json:
        """What is told for the findings of a stage: their questions only, and the earlier findings they rest on."""
        stage = self.questionnaire.stage(number)
        wanted = [finding for finding in stage.findings if finding.id in findings]
        below = {earlier for finding in wanted for earlier in finding.rests_on}
        return {
            **self.project_inputs(),
            "stage": _stage_inputs(stage),
            "findings": [
                {"id": finding.id, "title": finding.title, "made_from": list(feeding(stage, finding.id))}
                for finding in wanted
            ],
            "questions": self._question_inputs(
                [question for question in stage.questions if question.finding in findings]
            ),
            "earlier": [
                {"title": plan.title, "statement": found.statement, "assumption": found.assumption}
                for plan, found in self._found(self.stages(range(1, number)))
                if plan.id in below
            ],
        }

    def checking_inputs(self) -> Json:
        """What is told for the comparison of all stages."""
        fitted = self._fitted(SESSION_CHARACTERS)
        return {
            **self.project_inputs(),
            "stages": [
                {
                    "number": stage.number,
                    "title": stage.title,
                    "questions": fitted._question_inputs(stage.questions),
                }
                for stage in self.questionnaire.stages
            ],
            "settled": [
                {"first": pair.first, "second": pair.second, "why": pair.why}
                for pair in self.state.contradictions
                if pair.settled or pair.accepted
            ],
        }

    def stage_inputs(self, numbers: Iterable[StageNumber]) -> list[Json]:
        """What is told of stages for a section of the charter: their findings, and the answers below them."""
        stages = self.stages(numbers)
        ids = [question.id for stage in stages for question in stage.questions]
        fitted = self._fitted(SESSION_CHARACTERS, ids)
        return [
            {
                "number": stage.number,
                "title": stage.title,
                "findings": [
                    {
                        "title": plan.title,
                        "statement": found.statement,
                        "rests_on": list(found.rests_on),
                        "assumption": found.assumption,
                    }
                    for plan, found in self._found([stage])
                ],
                "questions": fitted._question_inputs(stage.questions),
            }
            for stage in stages
        ]

    def open_risks(self, numbers: Iterable[StageNumber]) -> list[OpenRisk]:
        """What nobody knows or does not fit in these stages: assumed findings, then questions that were skipped or left
        vague and stand below no such finding, then contradictions that were accepted."""
        stages = self.stages(numbers)
        assumed = [found for _, found in self._found(stages) if found.assumption]
        told = {question for found in assumed for question in found.rests_on}
        risks = [OpenRisk(kind="assumption", text=found.statement, rests_on=found.rests_on) for found in assumed]
        known = {question.id for stage in stages for question in stage.questions}
        for question in (question for stage in stages for question in stage.questions if question.id not in told):
            if (standing := self.standing(question.id)) != "answered":
                kind = "assumption" if standing == "skipped" else "vague"
                said = self.said.get(question.id)
                text = f"{question.text} {said.because if said else ''}".strip()
                risks.append(OpenRisk(kind=kind, text=text, rests_on=(question.id,)))
        risks += [
            OpenRisk(kind="contradiction", text=pair.why, rests_on=(pair.first, pair.second))
            for pair in self.state.contradictions
            if pair.accepted and {pair.first, pair.second} <= known
        ]
        return risks

    def _found(self, stages: Iterable[Stage]) -> list[tuple[FindingPlan, Finding]]:
        return [
            (plan, self.findings[plan.id]) for stage in stages for plan in stage.findings if plan.id in self.findings
        ]

    def _question_inputs(self, questions: Iterable[Question]) -> list[Json]:
        return [
            {
                "id": question.id,
                "question": question.text,
                "standing": self.standing(question.id),
                **self._answer_inputs(question.id),
                "because": said.because if (said := self.said.get(question.id)) and said.skipped else "",
                "resolutions": self._settled_inputs(question.id),
            }
            for question in questions
        ]

    def _settled_inputs(self, question: QuestionId) -> list[Json]:
        """How a person settled what contradicted the answer; with the other one where that holds in its place, as it
        belongs to another stage, which the model may not be told of."""
        said = self.said.get(question)
        return [
            {
                "other": word.other,
                "holds": word.holds,
                "text": word.text,
                "instead": "\n\n".join(turn.said for turn in self._turns(word.other)) if word.holds == "other" else "",
            }
            for word in (said.resolutions if said else ())
        ]

    def _asked(self, question: QuestionId) -> bool:
        """Whether it is asked (again), so that what was said to it before does not hold."""
        return self.state.questions[question].status is QuestionStatus.OPEN

    def _turns(self, question: QuestionId) -> tuple[Turn, ...]:
        said = self.said.get(question)
        return said.turns if said else ()

    def _answer_inputs(self, question: QuestionId) -> Json:
        turns = self._turns(question)
        return {
            "answer": turns[0].said if turns else "",
            "follow_ups": [{"asked": turn.asked, "said": turn.said} for turn in turns[1:]],
        }

    def _fitted(self, limit: int, questions: Sequence[QuestionId] | None = None) -> "Material":
        """The same with the longest answers to these questions (all of them by default) cut until all fit."""
        ids = list(self.said) if questions is None else [id for id in questions if id in self.said]
        most = longest([len(turn.said) for id in ids for turn in self.said[id].turns], limit)
        cut = {
            id: self.said[id].model_copy(
                update={
                    "turns": tuple(
                        turn
                        if len(turn.said) <= most
                        else turn.model_copy(update={"said": turn.said[:most].rstrip() + _CUT})
                        for turn in self.said[id].turns
                    )
                }
            )
            for id in ids
        }
        return replace(self, said={**self.said, **cut})


def feeding(stage: Stage, finding: FindingId) -> tuple[QuestionId, ...]:
    """The questions that a finding is made from."""
    return tuple(question.id for question in stage.questions if question.finding == finding)


def longest(lengths: Sequence[int], limit: int) -> int:
    """How long each of these texts may be so that all together have at most `limit` characters."""
    room = limit
    for at, length in enumerate(sorted(lengths)):
        share = room // (len(lengths) - at)
        if length > share:
            return share
        room -= length
    return max(lengths, default=0)


def _stage_inputs(stage: Stage) -> Json:
    return {"number": stage.number, "title": stage.title, "purpose": stage.purpose}
