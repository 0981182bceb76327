"""The prompt caches of the fake far end: true prefixes, per model, of a minimum size, kept for as long as it runs.

A prefix can be read from the moment on at which the first reply to a request with it begins, not before: calls sent
side by side do not help each other. https://platform.claude.com/docs/en/build-with-claude/prompt-caching and
https://ai.google.dev/gemini-api/docs/caching
"""

import hashlib
from collections.abc import Iterator
from itertools import pairwise

from tests.support.wire_messages import WireRequest

CACHE_MINIMUM = 1_024
"""Tokens of the shortest prefix that is cached."""
_LOOKBACK = 20
"""So many blocks before a breakpoint Anthropic looks for a prefix that it knows."""
_STEP = 512
"""Characters from one length at which an implicit prefix is compared to the next."""


class PromptCache:
    """What a provider remembers of the requests that it has begun to answer."""

    def __init__(self, minimum: int = CACHE_MINIMUM) -> None:
        self.minimum = minimum
        self._known: set[bytes] = set()
        self._coming: dict[int, list[bytes]] = {}

    def look_up(self, request: WireRequest) -> None:
        """Set what the request reads from the cache and what it adds to it."""
        if request.input_tokens < self.minimum:
            return
        if request.provider == "anthropic":
            self._explicit(request)
        elif request.provider == "google":
            self._implicit(request)

    def begin(self, request: WireRequest) -> None:
        """The first byte of a good answer is on its way: from now on others find the prefix."""
        self._known.update(self._coming.pop(request.index, ()))

    def _explicit(self, request: WireRequest) -> None:
        """Prefixes up to a breakpoint are stored; they are found again up to 20 blocks before one."""
        prefixes = list(_prefixes(request))
        marks = [at for at, block in enumerate(request.blocks) if block.breakpoint]
        stored = [at for at in marks if prefixes[at][1] // 4 >= self.minimum]
        for at, (key, characters) in enumerate(prefixes):
            near = any(0 <= mark - at <= _LOOKBACK for mark in marks)
            if near and key in self._known:
                request.cached_tokens = characters // 4
        if stored:
            request.cache_write_tokens = max(0, prefixes[stored[-1]][1] // 4 - request.cached_tokens)
            self._coming[request.index] = [prefixes[at][0] for at in stored]

    def _implicit(self, request: WireRequest) -> None:
        """Any prefix is stored, and found again in steps."""
        keys = []
        running = hashlib.sha256(f"{request.provider}:{request.model}".encode())
        text = "\0".join(f"{block.place}\0{block.text}" for block in request.blocks if block.cacheable)
        steps = range(0, len(text) + 1, _STEP)
        reading = True
        for start, end in pairwise(steps):
            running.update(text[start:end].encode())
            keys.append(running.digest())
            reading = reading and keys[-1] in self._known
            if reading and end // 4 >= self.minimum:
                request.cached_tokens = min(end // 4, request.input_tokens)
        self._coming[request.index] = keys


def _prefixes(request: WireRequest) -> Iterator[tuple[bytes, int]]:
    """Of each block, a key of everything up to its end, and how many characters that is."""
    running = hashlib.sha256(f"{request.provider}:{request.model}".encode())
    characters = 0
    for block in request.blocks:
        running.update(f"\0{block.place}\0{block.text}".encode())
        characters += len(block.text)
        yield running.digest(), characters
