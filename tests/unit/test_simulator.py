"""The simulator: deterministic, valid for any schema, and waiting as long as a model would take."""

import re
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import pytest
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    FutureDate,
    HttpUrl,
    StringConstraints,
    model_validator,
)

from core.contracts.errors import ErrorType
from core.contracts.llm import ModelName
from core.contracts.longform import JudgeAnswer, Outline, OutlineAnswer, SectionAnswer
from core.llm.provider import Call, ModelFailure, Prompt, T
from core.llm.simulator import SimulatorProvider, composer_for, seed_of

simulator = SimulatorProvider()


async def test_the_same_request_gets_the_same_answer_and_usage() -> None:
    prompt = Prompt("longform/decompose_topic", 1, "s" * 100, "u" * 300, _asked())
    call = Call(model="composer", prompt=prompt, output=OutlineAnswer)
    first, second = await simulator.ask(call), await SimulatorProvider().ask(call)
    assert first == second
    assert first.simulated
    assert (simulator.name, simulator.simulated) == ("simulator", True)
    assert first.usage.input_tokens == 100
    assert first.usage.output_tokens == round(len(first.output.model_dump_json()) / 4)
    assert first.first_token is None
    other = Prompt(prompt.name, 1, "", "", {**prompt.inputs, "topic": "Coffee"})
    assert seed_of(other) != seed_of(prompt)
    await simulator.aclose()


def _asked() -> dict[str, Any]:
    brief = {"topic": "Tea", "audience": "a", "tone": "t", "language": "en", "style_guide": ""}
    return {**brief, "words": 900, "section_count": 3, "sources": [], "previous": [], "instructions": ""}


async def test_latency_is_waited_for() -> None:
    slow = SimulatorProvider(latency=timedelta(milliseconds=60))
    started = time.perf_counter()
    await slow.ask(Call(model="composer", prompt=Prompt("x/y", 1, "", "", {}), output=SectionAnswer))
    assert time.perf_counter() - started >= 0.059


def test_composers_are_found_by_name() -> None:
    assert composer_for("longform/draft_section") is not None
    assert composer_for("longform/other") is None
    assert composer_for("nowhere/other") is None
    assert composer_for("draft_section") is None
    assert composer_for("../x/y") is None


# The generic composer.


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Leaf(BaseModel):
    kind: Literal["leaf"] = "leaf"
    text: Annotated[str, StringConstraints(min_length=20, max_length=40)]


class Tree(BaseModel):
    kind: Literal["tree"]
    branches: tuple["Tree | Leaf", ...] = Field(max_length=3)
    parent: "Tree | None" = None


class Everything(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, StringConstraints(min_length=1, max_length=5)]
    exact: Annotated[str, StringConstraints(min_length=300, max_length=300, strip_whitespace=True)]
    code: Annotated[str, StringConstraints(pattern=r"^s[0-9]{1,3}$")]
    model: ModelName
    phone: Annotated[str, StringConstraints(pattern=r"^(?:\+49|0)[1-9]\d{4,8}$")]
    slug: Annotated[str, StringConstraints(pattern=r"^[^\W_]+(?:-\w+)*$", max_length=40)]
    score: float = Field(ge=0, le=1)
    ratio: float = Field(gt=0, lt=0.001)
    count: int = Field(ge=3, le=7)
    negative: int = Field(lt=-10)
    step: int = Field(multiple_of=5, gt=5, le=100)
    price: Decimal = Field(ge=0, max_digits=6, decimal_places=2)
    colour: Colour
    choice: Literal["a", 2, True]
    flag: bool
    maybe: str | None
    either: int | Leaf
    pair: tuple[int, str]
    leaves: tuple[Leaf, ...] = Field(min_length=2, max_length=2)
    many: list[str] = Field(min_length=4)
    unique: set[int] = Field(min_length=3)
    table: dict[str, int] = Field(min_length=2)
    anything: dict[str, Any]
    day: date
    moment: AwareDatetime
    later: FutureDate
    span: timedelta
    identity: UUID
    url: HttpUrl
    tree: Tree
    tagged: Annotated[Tree | Leaf, Field(discriminator="kind")]
    aliased: str = Field(alias="AliasedName")


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    colour: Colour
    moment: datetime
    parts: tuple[int, ...] = Field(min_length=1)


class Ordered(BaseModel):
    low: int = Field(ge=0, le=10)
    high: int = Field(ge=0, le=10)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError("low is not below high")
        return self


class Impossible(BaseModel):
    value: int

    @model_validator(mode="after")
    def _never(self) -> Self:
        raise ValueError("never")


async def generic(model: type[T], number: int = 0) -> T:
    inputs = {"topic": "Harbours, bridges and the people who build them", "n": number, "more": [{"x": "lanterns"}]}
    return (await simulator.ask(Call(model="m", prompt=Prompt("demo/any", 1, "", "", inputs), output=model))).output


@pytest.mark.parametrize("number", range(15))
async def test_any_schema_is_filled(number: int) -> None:
    made = await generic(Everything, number)
    assert made == await generic(Everything, number)
    assert made.later > datetime.now(UTC).date()


@pytest.mark.parametrize("model", [Strict, Ordered, Tree, OutlineAnswer, Outline, JudgeAnswer])
async def test_strict_validated_and_recursive_models(model: type[BaseModel]) -> None:
    for number in range(5):
        assert await generic(model, number)


async def test_texts_are_made_of_the_requests_words() -> None:
    words = {"harbours", "bridges", "and", "the", "people", "who", "build", "them", "lanterns"}
    text = (await generic(SectionAnswer)).markdown
    assert set(re.findall(r"[a-z]+", text.lower())) <= words


async def test_a_model_that_nothing_satisfies_is_a_typed_failure() -> None:
    with pytest.raises(ModelFailure) as caught:
        await generic(Impossible)
    assert caught.value.type is ErrorType.OUTPUT_INVALID
    assert caught.value.answered
