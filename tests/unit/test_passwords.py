"""Passwords are hashed beside the requests, not too many at once, and the guessable ones are refused."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError
from argon2.low_level import Type
from pydantic import SecretStr

from api.passwords import NICENESS, WAITING_LIMIT, Passwords, refusal, standard_hasher
from core.contracts.errors import AtelierError, ErrorType
from tests.api.conftest import CHEAP

GULLS = SecretStr("herring gulls over the mill")


@contextmanager
def hashing(hasher: PasswordHasher = CHEAP, at_once: int = 1) -> Iterator[Passwords]:
    passwords = Passwords(at_once, hasher)
    yield passwords
    passwords.close()


class Slow(PasswordHasher):
    """Hashes when it is let."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.go = threading.Event()
        self.priorities: set[int] = set()
        self.threads: set[int] = set()

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.threads.add(threading.get_ident())
        self.priorities.add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
        assert self.go.wait(10)
        return super().verify(hash, password)


async def test_a_password_is_known_by_its_hash() -> None:
    with hashing() as passwords:
        stored = await passwords.hash(GULLS)
        assert stored.startswith("$argon2id$")
        assert stored != await passwords.hash(GULLS)
        assert await passwords.verify(stored, GULLS)
        for other in ("herring gulls over the mil", " herring gulls over the mill", "Herring gulls over the mill"):
            assert not await passwords.verify(stored, SecretStr(other))
        # Typed on another keyboard, the same letters come as other bytes.
        composed, apart = (
            SecretStr("Möwen \u00fcber der M\u00fchle"),
            SecretStr("Mo\u0308wen u\u0308ber der Mu\u0308hle"),
        )
        assert await passwords.verify(await passwords.hash(composed), apart)
        # What is stored is no hash: that is our mistake, and nobody's wrong password.
        with pytest.raises(InvalidHashError):
            await passwords.verify("plain", GULLS)


async def test_the_parameters_are_the_ones_of_today_and_old_hashes_are_known() -> None:
    today = extract_parameters(standard_hasher().hash("once is enough"))
    assert (today.type, today.memory_cost, today.time_cost, today.parallelism) == (Type.ID, 19_456, 2, 1)
    older = CHEAP.hash(GULLS.get_secret_value())
    with hashing(PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)) as passwords:
        assert passwords.is_outdated(older)
        assert await passwords.verify(older, GULLS)
        assert not passwords.is_outdated(await passwords.hash(GULLS))


async def test_without_a_stored_hash_the_work_is_the_same() -> None:
    class Watched(PasswordHasher):
        seen: list[Any]

        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            self.seen.append(extract_parameters(str(hash)))
            return super().verify(hash, password)

    hasher = Watched(time_cost=1, memory_cost=8, parallelism=1)
    hasher.seen = []
    with hashing(hasher) as passwords:
        stored = await passwords.hash(GULLS)
        assert await passwords.verify(stored, GULLS)
        assert not await passwords.verify(None, GULLS)
    real, nobodys = hasher.seen
    assert real == nobodys


async def test_not_too_many_wait_and_none_in_the_way_of_requests() -> None:
    slow = Slow()
    stored = CHEAP.hash(GULLS.get_secret_value())
    with hashing(slow, at_once=2) as passwords:
        waiting = [asyncio.create_task(passwords.verify(stored, GULLS)) for _ in range(WAITING_LIMIT + 2)]
        await asyncio.sleep(0)
        with pytest.raises(AtelierError) as refused:
            await passwords.verify(stored, GULLS)
        assert refused.value.type is ErrorType.TOO_MANY_REQUESTS
        assert refused.value.retry_after is not None
        slow.go.set()
        assert all(await asyncio.gather(*waiting))
        assert await passwords.verify(stored, GULLS)
    assert 1 <= len(slow.threads) <= 2
    assert threading.get_ident() not in slow.threads
    if sys.platform == "linux":
        own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        assert slow.priorities == {min(19, own + NICENESS) if own else NICENESS}


@pytest.mark.parametrize(
    "guessable", ["password123", "PASSWORD123", "qwertyuiop", "Ada.Example@example.com", "ada.example", "ADA EXAMPLE"]
)
def test_what_is_guessed_first_is_refused(guessable: str) -> None:
    assert refusal(SecretStr(guessable), email="ada.example@example.com", name="Ada Example") is not None


def test_others_need_no_digits_and_no_signs() -> None:
    for good in ("herring gulls", "passwort über dem fluss", "ada example the second", "       a  b       "):
        assert refusal(SecretStr(good), email="ada.example@example.com", name="Ada Example") is None
    assert refusal(GULLS, email=None, name="Ada Example") is None
