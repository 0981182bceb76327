"""Fill any pydantic model with valid values made of given words: what the simulator answers without a composer."""

import base64
import importlib
import json
import math
import random
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

T = TypeVar("T", bound=BaseModel)
Schema = Mapping[str, Any]

ATTEMPTS = 24
"""Tries at a model whose own validators ask for more than its JSON schema says."""
_DEEP = 6
"""Levels of nesting after which optional parts stay empty, so that recursive models end."""
_ANY_CHARACTER = "abcdefghijklmnopqrstuvwxyz0123456789"
_UNBOUNDED_REPEATS = 8
# The standard library's own parser of regular expressions; it has had this name since 3.11.
_regex: Any = importlib.import_module("re._parser")


class Unfillable(ValueError):
    """No valid value was found for a model."""


def fill(model: type[T], words: Sequence[str], seed: str) -> T:
    """An instance of a model, the same for the same words and seed. Raises `Unfillable`."""
    failure: ValidationError | None = None
    for attempt in range(ATTEMPTS):
        filler = _Filler(_schema(model), words, random.Random(f"{seed}/{attempt}"), attempt)
        try:
            # From JSON, so that strict models still take a date or an enum from its text.
            return model.model_validate_json(json.dumps(filler.root()))
        except ValidationError as error:
            failure = error
    raise Unfillable(f"no valid {model.__name__} in {ATTEMPTS} attempts: {failure}")


@lru_cache(maxsize=256)
def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(by_alias=True, mode="validation")


class _Filler:
    """One attempt at one model. Later attempts choose other lengths, dates and branches."""

    def __init__(self, schema: Schema, words: Sequence[str], rng: random.Random, attempt: int) -> None:
        self._root = schema
        self._words = list(words) or ["text"]
        self._rng = rng
        self._attempt = attempt
        self._makers: dict[str, Callable[[Schema, int], Any]] = {
            "string": lambda schema, _: self._string(schema),
            "integer": lambda schema, _: int(self._number(schema, whole=True)),
            "number": lambda schema, _: self._number(schema, whole=False),
            "boolean": lambda *_: self._rng.random() < 0.5,
            "null": lambda *_: None,
            "array": self._array,
            "object": self._object,
        }

    def root(self) -> Any:
        """The model's value as JSON."""
        return self._value(self._root, 0)

    def _value(self, schema: Schema, depth: int) -> Any:
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._rng.choice(schema["enum"])
        if "$ref" in schema:
            target = self._root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
            # What stands beside a reference narrows it, except for what only describes.
            return self._value({**target, **{k: v for k, v in schema.items() if k != "$ref"}}, depth)
        if "allOf" in schema:
            merged = {k: v for part in schema["allOf"] for k, v in part.items()}
            return self._value({**{k: v for k, v in schema.items() if k != "allOf"}, **merged}, depth)
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return self._value(self._option(options, depth), depth)
        kind = schema.get("type")
        if kind is None:
            return self._phrase(3)
        return self._makers[self._rng.choice(kind) if isinstance(kind, list) else kind](schema, depth)

    def _option(self, options: Sequence[Schema], depth: int) -> Schema:
        """A branch: something rather than nothing, but nothing where it is deep; the simplest one first."""
        empty = [option for option in options if option.get("type") == "null"]
        if depth >= _DEEP and empty:
            return empty[0]
        full = [option for option in options if option.get("type") != "null"] or list(options)
        flat = [option for option in full if "$ref" not in option and option.get("type") not in ("array", "object")]
        return self._rng.choice(flat if depth >= _DEEP and flat else full)

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        value = {
            name: self._value(field, depth + 1)
            for name, field in schema.get("properties", {}).items()
            if name in required or depth < _DEEP
        }
        extra = schema.get("additionalProperties")
        if isinstance(extra, Mapping) or (extra and "properties" not in schema):
            entries = extra if isinstance(extra, Mapping) else {}
            names = schema.get("propertyNames", {"type": "string", "maxLength": 24})
            wanted = max(schema.get("minProperties", 0), 0 if depth >= _DEEP else 1)
            for _ in range(wanted * 4):
                if len(value) >= min(wanted, schema.get("maxProperties", wanted)):
                    break
                value[str(self._value(names, depth + 1))] = self._value(entries, depth + 1)
        return value

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        prefix = [self._value(item, depth + 1) for item in schema.get("prefixItems", ())]
        least = schema.get("minItems", 0)
        most = schema.get("maxItems", max(least, 3))
        items = schema.get("items")
        if not isinstance(items, Mapping) and items is not None:
            return prefix
        wanted = least if depth >= _DEEP else min(most, max(least, self._rng.randint(1, 3)))
        values = prefix
        for _ in range(wanted * 8):
            if len(values) >= wanted:
                break
            value = self._value(items or {}, depth + 1)
            if not schema.get("uniqueItems") or value not in values:
                values.append(value)
        return values

    def _number(self, schema: Schema, *, whole: bool) -> float:
        step = schema.get("multipleOf")
        nudge = step or (1 if whole else 1e-6)
        low = schema.get("minimum", -math.inf)
        high = schema.get("maximum", math.inf)
        if "exclusiveMinimum" in schema:
            low = max(low, schema["exclusiveMinimum"] + nudge)
        if "exclusiveMaximum" in schema:
            high = min(high, schema["exclusiveMaximum"] - nudge)
        if math.isinf(low):
            low = min(0, high) if math.isinf(high) or high >= 0 else high - 10 * nudge
        high = min(high, low + (10 * step if step else 10))
        if step:
            first = math.ceil(low / step)
            return float(step * self._rng.randint(first, max(first, math.floor(high / step))))
        if whole:
            return self._rng.randint(math.ceil(low), max(math.ceil(low), math.floor(high)))
        # Two decimals read well, as long as they stay inside the bounds.
        value = self._rng.uniform(low, high)
        return round(value, 2) if low <= round(value, 2) <= high else value

    def _string(self, schema: Schema) -> str:
        low, high = schema.get("minLength", 0), schema.get("maxLength", 10_000)
        if pattern := schema.get("pattern"):
            return self._matching(pattern, low, high)
        if made := self._formatted(schema.get("format") or schema.get("contentEncoding", "")):
            return made
        text = self._phrase(self._rng.randint(5, 14))
        text = text[:1].upper() + text[1:]
        while len(text) < low:
            text = f"{text} {self._phrase(8)}"
        if len(text) > high:
            # Whole words where they fit, part of one where not even one does.
            cut = text[:high].rsplit(" ", 1)[0] if " " in text[:high] else text[:high]
            text = cut if len(cut) >= low else text[:high]
        # Models that strip white space count after it.
        return text.strip().ljust(low, ".")

    def _formatted(self, form: str) -> str | None:
        rng = self._rng
        # The past first; a field that asks for the future gets it in the next attempt.
        year = 2024 - rng.randrange(8) if self._attempt % 2 == 0 else 2090 + rng.randrange(8)
        day = f"{year}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
        clock = f"{rng.randrange(24):02}:{rng.randrange(60):02}:00"
        slug = re.sub(r"[^a-z0-9]+", "", self._rng.choice(self._words).lower()) or "text"
        made = {
            "date": day,
            "time": clock,
            "date-time": f"{day}T{clock}" + ("Z" if self._attempt % 4 < 2 else ""),
            "duration": f"PT{rng.randint(1, 59)}M",
            "uuid": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "uuid4": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            "email": f"{slug}@example.com",
            "uri": f"https://example.com/{slug}",
            "ipv4": f"192.0.2.{rng.randint(1, 254)}",
            "ipv6": f"2001:db8::{rng.randint(1, 9999)}",
            "json-string": json.dumps(self._phrase(3)),
            "binary": base64.b64encode(slug.encode()).decode(),
            "base64": base64.b64encode(slug.encode()).decode(),
            "base64url": base64.urlsafe_b64encode(slug.encode()).decode(),
        }
        return made.get(form)

    def _phrase(self, count: int) -> str:
        """Words in the order in which they stand in the request, from a place of their own."""
        start = self._rng.randrange(len(self._words))
        return " ".join(self._words[(start + offset) % len(self._words)] for offset in range(count))

    def _matching(self, pattern: str, low: int, high: int) -> str:
        """A text that matches, of a fitting length if one is found; validation tells about the rest."""
        tree = _regex.parse(pattern)
        text = ""
        for _ in range(40):
            text = self._expand(tree, {})
            if low <= len(text) <= high:
                break
        return text

    def _expand(self, tree: Any, groups: dict[int, str]) -> str:
        return "".join(self._node(str(operation), argument, groups) for operation, argument in tree)

    def _node(self, operation: str, argument: Any, groups: dict[int, str]) -> str:
        match operation:
            case "LITERAL":
                return chr(argument)
            case "NOT_LITERAL":
                return next(c for c in _ANY_CHARACTER if ord(c) != argument)
            case "ANY":
                return self._rng.choice(_ANY_CHARACTER)
            case "IN":
                return self._from_set(argument)
            case "BRANCH":
                return self._expand(self._rng.choice(argument[1]), groups)
            case "SUBPATTERN":
                groups[argument[0]] = made = self._expand(argument[3], groups)
                return made
            case "GROUPREF":
                return groups.get(argument, "")
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, tree = argument
                count = self._rng.randint(least, min(int(most), max(int(least), _UNBOUNDED_REPEATS)))
                return "".join(self._expand(tree, groups) for _ in range(count))
        # Anchors and look-arounds match between characters.
        return ""

    def _from_set(self, members: Sequence[tuple[Any, Any]]) -> str:
        names = [str(operation) for operation, _ in members]
        if names[0] == "NEGATE":
            refused = re.compile(f"[{''.join(self._member(member) for member in members[1:])}]")
            usable = [c for c in _ANY_CHARACTER + " -_." if not refused.match(c)]
            return self._rng.choice(usable or ["~"])
        chosen = self._rng.choice(members)
        if str(chosen[0]) == "RANGE":
            return chr(self._rng.randint(*chosen[1]))
        accepted = re.compile(f"[{self._member(chosen)}]")
        if str(chosen[0]) == "LITERAL":
            return chr(chosen[1])
        return self._rng.choice([c for c in _ANY_CHARACTER + " -_." if accepted.match(c)])

    @staticmethod
    def _member(member: tuple[Any, Any]) -> str:
        operation, argument = str(member[0]), member[1]
        if operation == "LITERAL":
            return re.escape(chr(argument))
        if operation == "RANGE":
            return f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
        classes = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
        name = str(argument).removeprefix("CATEGORY_")
        code = classes[name.removeprefix("NOT_")]
        return code.upper() if name.startswith("NOT_") else code
