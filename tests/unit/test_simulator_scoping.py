"""What the simulator says in a scoping session: fairly, in the answers' own words, and never the same thing twice."""

from typing import Any

import pytest

from core.contracts.scoping import Verdict
from core.contracts.scoping_charter import (
    ConsistencyAnswer,
    Decision,
    FindingsAnswer,
    FoundContradiction,
    FoundStatement,
    JudgeAnswer,
    SectionAnswer,
    SectionId,
)
from core.contracts.scoping_questions import QUESTIONNAIRE
from core.llm.prompts.library import PromptLibrary
from core.llm.prompts.longform.phrases import LANGUAGES
from core.llm.prompts.scoping.phrases import phrases_for
from core.llm.provider import Call, T
from core.llm.simulator import SimulatorProvider
from tests.support.asked import SCOPING, question

library, simulator = PromptLibrary.load(), SimulatorProvider()
CLEAR = "The service desk sorts 400 tickets a week by hand, counted by its head in March."


async def ask(name: str, output: type[T], **inputs: Any) -> T:
    prompt = library.render(f"scoping/{name}", **{**SCOPING[name], **inputs})
    call = Call(model="composer", prompt=prompt, output=output)
    answer = (await simulator.ask(call)).output
    assert answer == (await simulator.ask(call)).output
    return answer


async def verdict(answer: str, *turns: tuple[str, str], language: str = "en", left: int = 2, **rule: Any) -> Verdict:
    asked = {
        "id": "size",
        "question": "How many?",
        "help": "",
        "wants": [],
        "min_words": 6,
        "follow_ups_left": left,
        "answer": answer,
        "follow_ups": [{"asked": asked, "said": said} for asked, said in turns],
        **rule,
    }
    (found,) = (await ask("judge_answers", JudgeAnswer, language=language, questions=[asked])).verdicts
    return found


@pytest.mark.parametrize(
    ("answer", "rule", "vague"),
    [
        (CLEAR, {}, False),
        (CLEAR, {"wants": ["a figure with a unit", "where the number comes from"]}, False),
        ("Quite many of them.", {}, True),
        ("12 %, says Ms Okoro.", {"min_words": 4}, False),
        ("The service desk sorts rather many tickets every week by hand.", {"wants": ["a figure with a unit"]}, True),
        ("The service desk sorts them every single week by hand.", {"wants": ["a role"]}, False),
        ("We are not sure yet how many tickets there are.", {}, True),
        ("Maybe 400 a week, by the count of the desk.", {}, False),
        ("It depends, and we will see when the time has come.", {}, True),
        ("Maybe not all. " + "The head of the desk counts them by hand in a list that we all read. " * 3, {}, False),
        ("?!", {}, True),
        ("", {}, True),
    ],
)
async def test_what_is_vague(answer: str, rule: dict[str, Any], vague: bool) -> None:
    found = await verdict(answer, **rule)
    assert (found.vague, bool(found.follow_up)) == (vague, vague)
    assert found.reason


@pytest.mark.parametrize("language", [*LANGUAGES, "ja"])
async def test_follow_ups_go_on_from_what_was_said_and_never_repeat(language: str) -> None:
    rule: dict[str, Any] = {"wants": ["a figure with a unit"], "language": language}
    first = await verdict("Rather many of them, all through the year.", **rule)
    assert "a figure with a unit" in first.follow_up
    assert "Rather many of them" in first.follow_up
    second = await verdict("Rather many of them.", (first.follow_up, "Really very many, as I said."), left=1, **rule)
    assert second.follow_up not in ("", first.follow_up)
    turns = ((first.follow_up, "Really very many."), (second.follow_up, "I would have to guess."))
    last = await verdict("Rather many of them.", *turns, left=0, **rule)
    assert (last.vague, last.follow_up) == (True, "")


async def test_an_answer_to_a_follow_up_makes_the_whole_clear() -> None:
    rule: dict[str, Any] = {"wants": ["a figure with a unit"]}
    assert not (await verdict("Perhaps rather many of them, who knows.", ("How many?", "400 a week"), **rule)).vague
    assert not (await verdict("Many.", ("How many?", "In March it was 412."), **rule)).vague


async def test_words_that_hedge_in_the_sessions_language_and_in_english() -> None:
    assert (await verdict("Das wissen wir noch nicht so genau, leider.", language="de")).vague
    assert (await verdict("Perhaps it goes that way, perhaps another.", language="de")).vague
    assert not (await verdict("Das wissen wir noch nicht so genau, leider.", language="en")).vague


async def test_every_language_has_every_phrase() -> None:
    english = phrases_for("en").lines
    for language in LANGUAGES:
        lines = phrases_for(language).lines
        assert lines.keys() == english.keys()
        for name, line in lines.items():
            assert {slot for slot in "nmtwxy" if f"{{{slot}}}" in line} == {
                slot for slot in "nmtwxy" if f"{{{slot}}}" in english[name]
            }, f"{language}: {name}"


async def test_what_is_filled_in_is_no_slot() -> None:
    assert "{w}" in (await verdict("All {w} of {x} for {n}.", min_words=20)).follow_up


async def test_no_follow_up_is_longer_than_it_may_be() -> None:
    long = "Donaudampfschifffahrtsgesellschaft" * 20
    for language in LANGUAGES:
        found = await verdict(" ".join([long] * 5), language=language, wants=["w" * 120], min_words=99)
        assert 0 < len(found.follow_up) <= 400


# Findings.


def wanted(*findings: str) -> list[dict[str, Any]]:
    return [{"id": id, "title": id.title(), "made_from": [f"{id}_one", f"{id}_two"]} for id in findings]


async def found(questions: list[dict[str, Any]], *findings: str, language: str = "en") -> tuple[FoundStatement, ...]:
    inputs = {"findings": wanted(*findings), "questions": questions, "language": language}
    return (await ask("close_stage", FindingsAnswer, **inputs)).findings


async def test_a_finding_says_what_was_said_and_rests_on_it() -> None:
    one = question("scale_one", "they sort 400 tickets a week", follow_ups=[{"asked": "Since?", "said": "Since May."}])
    (made,) = await found([one, question("scale_two", "It takes two hours.")], "scale")
    assert made.statement == "Since May. It takes two hours. They sort 400 tickets a week."
    assert made.rests_on == ("scale_one", "scale_two")


async def test_what_was_skipped_is_assumed_unless_something_else_is_known() -> None:
    skipped = question("scale_one", "", standing="skipped", because="nobody counts them")
    (made,) = await found([skipped, question("scale_two", "It takes two hours.")], "scale")
    assert (made.statement, made.rests_on) == ("It takes two hours.", ("scale_two",))
    both = [skipped, question("scale_two", "Left half said", standing="skipped")]
    (made,) = await found(both, "scale")
    assert made.rests_on == ("scale_one", "scale_two")
    assert "“What about scale one?”".replace("?", "") in made.statement
    assert "Nobody counts them." in made.statement
    assert "Left half said" not in made.statement


async def test_no_sentence_stands_in_two_findings() -> None:
    same = [question(f"{id}_{part}", "No idea. N/A.") for id in ("scale", "aim") for part in ("one", "two")]
    scale, aim = await found(same, "scale", "aim")
    assert scale.statement == "No idea. N/A."
    assert aim.statement == "Aim: No idea."


@pytest.mark.parametrize(
    ("holds", "text", "stated"),
    [
        ("this", "", "400 a week."),
        ("this", "By the list.", "400 a week. By the list."),
        ("other", "By the list.", "On this point this holds: “900 a week, as the desk counted”."),
        ("neither", "It is 650.", "It is 650."),
        ("neither", "?!", "What holds in place of “400 a week” is open."),
    ],
)
async def test_of_a_settled_contradiction_only_what_holds_is_stated(holds: str, text: str, stated: str) -> None:
    word = {"other": "count", "holds": holds, "text": text, "instead": "900 a week, as the desk counted."}
    one = question("scale_one", "400 a week.", resolutions=[word])
    (made,) = await found([one, question("scale_two", "")], "scale")
    assert made.statement == stated


async def test_what_was_skipped_reads_well_where_it_is_quoted() -> None:
    (made,) = await found([question("scale_one", "", standing="skipped"), question("scale_two", "")], "scale")
    point = {"kind": "assumption", "text": made.statement, "rests_on": ["scale_one"]}
    section = {"id": "decision", "title": "Go or no go"}
    drafted = await ask("draft_section", SectionAnswer, section=section, open_points=[point])
    assert "“What about scale one: nobody could say" in drafted.conditions[0].text


async def test_a_hedge_that_was_asked_about_is_not_stated() -> None:
    asked = [{"asked": "How much?", "said": "It is 40,000 crowns."}]
    one = question("scale_one", "That still depends. Maybe 30 more. The board pays.", follow_ups=asked)
    (made,) = await found([one, question("scale_two", "")], "scale")
    assert made.statement == "It is 40,000 crowns. Maybe 30 more. The board pays."


async def test_an_answer_without_a_word_is_nobody_s_answer() -> None:
    (made,) = await found([question("scale_one", "?!", standing="left vague"), question("scale_two", "")], "scale")
    assert "“What about scale one”" in made.statement


@pytest.mark.parametrize("text", ["x" * 8_000, "word " * 1_600, "🙂" * 700, "- a\n- b\n\n```\ncode\n```\n| a |\n| - |"])
async def test_a_finding_of_any_text_fits(text: str) -> None:
    (made,) = await found([question("scale_one", text), question("scale_two", "It is so.")], "scale")
    assert 0 < len(made.statement) <= 700


# Contradictions.


async def contradictions(first: str, second: str, *, same_stage: bool = False, **more: Any) -> list[FoundContradiction]:
    stages = [
        {"number": 1, "title": "One", "questions": [question("size", first)]},
        {"number": 3, "title": "Three", "questions": [question("amount", second)]},
    ]
    if same_stage:
        stages[0]["questions"] = [question("size", first), question("amount", second)]
        del stages[1]
    inputs = {"stages": stages, "settled": [], **more}
    return list((await ask("check_consistency", ConsistencyAnswer, **inputs)).contradictions)


@pytest.mark.parametrize(
    ("first", "second", "contradict"),
    [
        ("We sort 400 tickets a week.", "There are 900 tickets a week.", True),
        ("We sort 1,200 tickets.", "The desk has 1200 tickets.", False),
        ("We sort 1.200 Tickets.", "The desk has 12 tickets.", True),
        ("We sort 400 tickets a week.", "There are 48,000 tickets since 2021.", False),
        ("It takes 20 minutes.", "It takes 30 minutes.", False),
        ("Since 2021 orders are kept.", "Since 2019 orders are kept.", False),
        ("There are no personal data.", "Names of customers are personal data.", True),
        ("There are no personal data.", "It has no personal data at all.", False),
        ("There are no personal data.", "Personal data are not in it.", False),
        ("Names of customers are personal data.", "It works without personal data.", True),
        ("Es gibt keine personenbezogenen Daten.", "Namen sind personenbezogenen Daten gleich.", True),
        ("There is no other way.", "We know an other way.", False),
        ("We sort them.", "We sort them.", False),
    ],
)
async def test_what_contradicts(first: str, second: str, contradict: bool) -> None:
    made = await contradictions(first, second)
    assert bool(made) == contradict
    for one in made:
        assert (one.first, one.second) == ("size", "amount")
        assert one.why.index(first[:12].rstrip(".")) < one.why.index(second[:12].rstrip("."))
        assert len(one.question) <= 400


async def test_what_does_not_contradict_whatever_it_says() -> None:
    pair = ("We sort 400 tickets a week.", "There are 900 tickets a week.")
    assert await contradictions(*pair)
    assert not await contradictions(*pair, same_stage=True)
    assert not await contradictions(*pair, settled=[{"first": "amount", "second": "size", "why": "Told."}])
    skipped = question("amount", pair[1], standing="skipped")
    stages = [
        {"number": 1, "title": "One", "questions": [question("size", pair[0])]},
        {"number": 3, "title": "Three", "questions": [skipped]},
    ]
    assert not await contradictions(*pair, stages=stages)


async def test_the_answer_to_a_follow_up_holds() -> None:
    later = question(
        "amount", "There are 900 tickets a week.", follow_ups=[{"asked": "Sure?", "said": "400 tickets a week."}]
    )
    stages = [
        {"number": 1, "title": "One", "questions": [question("size", "We sort 400 tickets a week.")]},
        {"number": 3, "title": "Three", "questions": [later]},
    ]
    assert not await contradictions("", "", stages=stages)


# Sections.


def stages(assumed: int = 0, each: int = 2) -> list[dict[str, Any]]:
    made = []
    for number in range(1, 6):
        findings = [
            {
                "title": f"Matter {number}.{n}",
                "statement": f"Stage {number} found the {n}th thing.",
                "rests_on": [f"q{number}_{n}"],
                "assumption": number <= assumed,
            }
            for n in range(each)
        ]
        made.append({"number": number, "title": f"Stage {number}", "findings": findings, "questions": []})
    return made


async def section(id: SectionId, given: list[dict[str, Any]], points: int = 0, language: str = "en") -> SectionAnswer:
    told = [{"kind": "vague", "text": f"How {n}?", "rests_on": ["q1_0"]} for n in range(points)]
    inputs = {"section": {"id": id.value, "title": "Title"}, "stages": given, "open_points": told, "language": language}
    return await ask("draft_section", SectionAnswer, **inputs)


@pytest.mark.parametrize("id", SectionId)
@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_statement_rests_on_its_finding_and_none_comes_twice(id: SectionId, language: str) -> None:
    made = await section(id, stages(assumed=1, each=12), points=30, language=language)
    texts = [statement.text for statement in (*made.statements, *made.conditions)]
    assert len(set(texts)) == len(texts)
    assert all(statement.rests_on for statement in made.statements)
    assert (made.decision is not None) == (id is SectionId.DECISION)


async def test_findings_become_statements_word_for_word() -> None:
    made = await section(SectionId.DATA, stages()[2:3])
    assert [statement.text for statement in made.statements] == [
        "Stage 3 found the 0th thing.",
        "Stage 3 found the 1th thing.",
    ]
    assert made.statements[1].rests_on == ("q3_1",)


async def test_a_plan_begins_with_what_nobody_knows() -> None:
    made = await section(SectionId.PLAN, [*stages()[:1], *stages(assumed=5)[3:4]])
    assert "Matter 4.0" in made.statements[0].text
    assert "Matter 1.0" in made.statements[2].text


@pytest.mark.parametrize(
    ("assumed", "points", "decision"),
    [
        (0, 0, Decision.GO),
        (0, 2, Decision.GO_WITH_CONDITIONS),
        (2, 4, Decision.GO_WITH_CONDITIONS),
        (3, 6, Decision.NO_GO),
    ],
)
async def test_the_decision_counts_what_is_known(assumed: int, points: int, decision: Decision) -> None:
    made = await section(SectionId.DECISION, stages(assumed), points)
    assert made.decision is decision
    assert len(made.conditions) == points
    assert len(made.statements) == 5
    assert "0 of 2" in made.statements[0].text or not assumed


async def test_the_real_questions_get_a_clear_verdict_for_an_answer_like_that_of_their_help() -> None:
    """What the help shows as an example is clear by the question's own rule."""
    shown = [
        (question, question.help.split("Example: ", 1)[1])
        for stage in QUESTIONNAIRE.stages
        for question in stage.questions
        if "Example: " in question.help
    ]
    assert len(shown) > 5
    for asked, example in shown:
        rule: dict[str, Any] = {"wants": list(asked.follow_up.wants), "min_words": asked.follow_up.min_words}
        assert not (await verdict(example, **rule)).vague, asked.id
