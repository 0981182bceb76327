"""The prompt library: Markdown files with front matter, checked once at start-up, filled in strictly."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import yaml
from jinja2 import Environment, StrictUndefined, Template, TemplateError, meta
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from core.contracts.errors import AtelierError, ErrorType
from core.llm.provider import Prompt

PROMPTS = Path(__file__).parent

_NAME = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*")
_FRONT_MATTER = re.compile(r"\A---\n(?P<meta>.*?\n)---\n(?P<body>.*)\Z", re.DOTALL)
_PARTS = re.compile(r"\A\s*# System\n(?P<system>.*?)\n(?:# Shared\n(?P<shared>.*)\n)?# User\n(?P<user>.*)\Z", re.DOTALL)
_HEADING = re.compile(r"^# (?:System|Shared|User)$", re.MULTILINE)


class PromptError(AtelierError):
    """A prompt file that cannot be used, or a prompt filled in wrongly: a mistake of ours, so the code is `internal`.

    The message names the file or the prompt.
    """

    def __init__(self, where: Path | str, reason: str) -> None:
        super().__init__(ErrorType.INTERNAL, f"prompt {where}: {reason}", details={"prompt": str(where)})
        self.reason = reason


class _FrontMatter(BaseModel):
    """What stands between the two `---` lines."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    version: int = Field(ge=1)
    description: Annotated[str, StringConstraints(min_length=1)]
    inputs: list[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]]


class _UniqueKeys(yaml.SafeLoader):
    """YAML keeps the last of two equal keys without a word; here the second is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping, or `ConstructorError` if a key stands twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [str(key) for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


@dataclass(frozen=True)
class PromptTemplate:
    """One prompt file: its front matter and its compiled parts.

    `shared` is what the calls of a job have in common: with the system part a beginning that providers can keep, so it
    must not use what differs from one call to the next.
    """

    name: str
    version: int
    description: str
    inputs: frozenset[str]
    system: Template
    user: Template
    shared: Template | None = None

    def render(self, inputs: Mapping[str, Any]) -> Prompt:
        """Fill in. Raises `PromptError` for a missing or an extra input, or a missing field of one."""
        if missing := sorted(self.inputs - inputs.keys()):
            raise PromptError(self.name, f"missing input: {', '.join(missing)}")
        if extra := sorted(inputs.keys() - self.inputs):
            raise PromptError(self.name, f"undeclared input: {', '.join(extra)}")
        try:
            system, user = self.system.render(inputs), self.user.render(inputs)
            shared = self.shared.render(inputs) if self.shared else ""
        except (TemplateError, TypeError, ValueError) as error:
            raise PromptError(self.name, str(error)) from error
        return Prompt(self.name, self.version, system.strip(), user.strip(), dict(inputs), shared.strip())


class PromptLibrary:
    """All prompts by name. Build it with `load`, once, in an entry point."""

    def __init__(self, templates: Mapping[str, PromptTemplate]) -> None:
        self._templates = dict(templates)

    @classmethod
    def load(cls, root: Path = PROMPTS) -> "PromptLibrary":
        """Read and check every `<pipeline>/<name>.md` below `root`. Raises `PromptError` naming the first bad file."""
        environment = _environment()
        files = sorted(root.rglob("*.md"))
        return cls({(template := _read(environment, root, path)).name: template for path in files})

    def render(self, prompt: str, /, **inputs: Any) -> Prompt:
        """Fill in one prompt. Raises `PromptError` if it does not exist or its inputs do not fit.

        Inputs are values and never templates: `{{ }}` in a user's text stays as it is.
        """
        return self[prompt].render(inputs)

    def __getitem__(self, name: str) -> PromptTemplate:
        try:
            return self._templates[name]
        except KeyError:
            raise PromptError(name, "there is no such prompt") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._templates)

    def __len__(self) -> int:
        return len(self._templates)

    def __contains__(self, name: object) -> bool:
        return name in self._templates


def tagged(text: object, tag: str) -> str:
    """A user's text between `<tag>` and `</tag>`. A closing tag inside is broken, so the text cannot end itself."""
    inside = re.sub(rf"<(?=\s*/\s*{re.escape(tag)}\b)", "<\\\\", str(text), flags=re.IGNORECASE)
    return f"<{tag}>\n{inside}\n</{tag}>"


def _environment() -> Environment:
    # No autoescape: what is filled in is plain text for a model, not HTML.
    environment = Environment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)  # noqa: S701
    environment.filters["tagged"] = tagged
    # `range`, `dict` and the like would count as inputs; a prompt needs none of them.
    environment.globals.clear()
    return environment


def _read(environment: Environment, root: Path, path: Path) -> PromptTemplate:
    relative = path.relative_to(root)
    name = relative.with_suffix("").as_posix()
    if not _NAME.fullmatch(name):
        raise PromptError(relative, "a prompt's path is <pipeline>/<name>.md, in lower snake case")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(relative, f"cannot be read: {error}") from error
    document = _FRONT_MATTER.match(text)
    if document is None:
        raise PromptError(relative, "does not begin with front matter between two lines of ---")
    front = _front_matter(relative, document["meta"])
    if front.name != name:
        raise PromptError(relative, f"its name is {front.name!r}, its path says {name!r}")
    parts = _PARTS.match(document["body"])
    if parts is None or len(_HEADING.findall(document["body"])) != (2 if parts["shared"] is None else 3):
        raise PromptError(relative, "the body is a part under `# System`, perhaps one under `# Shared`, and `# User`")
    if not all(part.strip() for part in parts.groups() if part is not None):
        raise PromptError(relative, "a part is empty")
    _check_variables(environment, relative, document["body"], frozenset(front.inputs))
    return PromptTemplate(
        name=name,
        version=front.version,
        description=front.description,
        inputs=frozenset(front.inputs),
        system=environment.from_string(parts["system"]),
        user=environment.from_string(parts["user"]),
        shared=None if parts["shared"] is None else environment.from_string(parts["shared"]),
    )


def _front_matter(relative: Path, text: str) -> _FrontMatter:
    try:
        front = _FrontMatter.model_validate(yaml.load(text, _UniqueKeys))  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise PromptError(relative, f"the front matter is not YAML: {error}") from error
    except ValidationError as error:
        fields = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'all'}: {e['msg']}" for e in error.errors())
        raise PromptError(relative, f"the front matter is not valid: {fields}") from error
    if len(set(front.inputs)) != len(front.inputs):
        raise PromptError(relative, "an input is declared twice")
    return front


def _check_variables(environment: Environment, relative: Path, body: str, declared: frozenset[str]) -> None:
    """Every variable is declared, every declared one is used, and no other template is reached."""
    try:
        tree = environment.parse(body)
        used = meta.find_undeclared_variables(tree)
    except TemplateError as error:
        raise PromptError(relative, f"not a template: {error}") from error
    if any(True for _ in meta.find_referenced_templates(tree)):
        raise PromptError(relative, "a prompt cannot include or extend another")
    if undeclared := sorted(used - declared):
        raise PromptError(relative, f"used but not declared as input: {', '.join(undeclared)}")
    if unused := sorted(declared - used):
        raise PromptError(relative, f"declared as input but not used: {', '.join(unused)}")
