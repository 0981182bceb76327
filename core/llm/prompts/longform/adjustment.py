"""What the simulator answers when a section is to be brought to its length."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from core.contracts.longform import MAX_SECTIONS, SectionAnswer
from core.llm.prompts.longform.blocks import Block, read_blocks
from core.llm.prompts.longform.citations import cite, cited_ids
from core.llm.prompts.longform.filling import REFLECTIONS, Filler
from core.llm.prompts.longform.phrases import bank_for
from core.llm.prompts.longform.sentences import Sentences, count_words

_ADDED_TO_A_PARAGRAPH, _SENTENCES_OF_A_NEW_ONE = 3, 5
_NEAR_ENOUGH = 0.02
_ROOM = 10
"""Words that a sentence needs."""


def compose_adjustment(inputs: Mapping[str, Any], seed: str) -> SectionAnswer:
    """The section cut, or filled up with sentences that no other section has, to about the words that are asked for."""
    section, markdown = inputs["section"], str(inputs["markdown"]).strip()
    words, bank = int(section["words"]), bank_for(str(inputs["language"]))
    allowed = {str(id_) for id_ in inputs["sources"]}
    ids = [id_ for id_ in dict.fromkeys(cited_ids(markdown)) if id_ in allowed]
    blocks = read_blocks(markdown)
    _cut(blocks, words)
    ends = [block for block in blocks if len(block.parts) > block.least and not cited_ids(block.parts[-1])]
    if ends and _NEAR_ENOUGH * words < words - _length(blocks) < _ROOM:
        # Too little for a sentence more: one makes room for it.
        min(ends, key=lambda block: count_words(block.parts[-1])).parts.pop()
    missing = words - _length(blocks)
    if missing > max(1, _NEAR_ENOUGH * words):
        rank = int(inputs["number"]) - 1
        sentences = Sentences(bank, seed="aside", rank=rank, count=MAX_SECTIONS, slots={}, avoid=markdown, asides=True)
        _deepen(blocks, Filler(sentences, random.Random(seed), REFLECTIONS).fill(missing, set()))
    _cite_again(blocks, ids)
    return SectionAnswer(markdown="\n\n".join(block.text for block in blocks) + "\n")


def _length(blocks: Sequence[Block]) -> int:
    return sum(count_words(block.text) for block in blocks)


def _cut(blocks: list[Block], words: int) -> None:
    """Take out ends of blocks, then whole blocks, as long as that brings the text nearer to its words; at the end a
    sentence too many, if there is room for another one in its place. What cites nothing goes first."""
    while (over := _length(blocks) - words) > max(1, _NEAR_ENOUGH * words):
        ends = [(block.parts[-1], block) for block in blocks if len(block.parts) > block.least]
        whole = [(block.text, block) for block in blocks[1:]]
        uncited = [[choice for choice in choices if not cited_ids(choice[0])] for choices in (ends, whole)]
        for choices, least, most in (
            *((choices, 1, 2 * over - 1) for choices in (*uncited, ends, whole)),
            *((choices, over + _ROOM, 10 * over + _ROOM) for choices in (uncited[0], ends)),
        ):
            near = [(abs(over - n), choice) for choice in choices if least <= (n := count_words(choice[0])) <= most]
            if near:
                break
        else:
            return
        text, block = min(near, key=lambda choice: choice[0])[1]
        if text == block.text:
            at = next(n for n, one in enumerate(blocks) if one is block)
            # A list or a table goes with the line that leads to it.
            del blocks[at - (at > 1 and blocks[at - 1].leads_on) : at + 1]
        else:
            block.parts.pop()


def _deepen(blocks: list[Block], sentences: Sequence[str]) -> None:
    """Put sentences at the ends of the paragraphs, and what they cannot take into paragraphs of their own."""
    prose = [block for block in blocks if block.prose and not block.leads_on]
    room = _ADDED_TO_A_PARAGRAPH * len(prose)
    for at, sentence in enumerate(sentences[:room]):
        prose[at % len(prose)].parts.append(sentence)
    rest = sentences[room:]
    new = range(0, len(rest), _SENTENCES_OF_A_NEW_ONE)
    blocks += [Block(list(rest[at : at + _SENTENCES_OF_A_NEW_ONE]), " ") for at in new]


def _cite_again(blocks: Sequence[Block], ids: Sequence[str]) -> None:
    """Cite what was cut out with its sentence behind the last sentence that is left."""
    lost = [id_ for id_ in ids if all(id_ not in cited_ids(block.text) for block in blocks)]
    places = [block for block in blocks if block.prose and not block.leads_on]
    if lost and places:
        places[-1].parts[-1] = cite(places[-1].parts[-1], lost)
