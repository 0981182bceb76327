"""Passwords: what is refused, and how they are hashed. Hashing is slow on purpose, so it runs beside the requests."""

import asyncio
import base64
import os
import secrets
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from pydantic import SecretStr

from core.contracts.errors import AtelierError, ErrorType

Result = TypeVar("Result")

SHORTEST, LONGEST = 10, 200
"""Characters."""
WAITING_LIMIT = 20
"""Passwords that wait to be hashed in one process. At 30 ms each nobody waits for a second."""
RETRY_AFTER = timedelta(seconds=2)
NICENESS = 19
"""How far the threads that hash stand behind all others: guesses take what is left of the processors."""

# Those that are long enough and still on every guesser's first page, as in
# https://github.com/danielmiessler/SecLists/tree/master/Passwords/Common-Credentials.
_COMMON = frozenset(
    [
        "0000000000",
        "0123456789",
        "0987654321",
        "1111111111",
        "1122334455",
        "1212121212",
        "123123123123",
        "1231231234",
        "1234512345",
        "123456123456",
        "123456654321",
        "1234567890",
        "12345678900",
        "12345678901",
        "123456789012",
        "12345678910",
        "1234567891",
        "123456789a",
        "123456789q",
        "123456789z",
        "1234567899",
        "123454321",
        "123qweasdzxc",
        "1357924680",
        "147258369a",
        "1q2w3e4r5t",
        "1q2w3e4r5t6y",
        "1qaz2wsx3edc",
        "1qazxsw23edc",
        "2222222222",
        "5555555555",
        "7777777777",
        "9876543210",
        "9999999999",
        "a123456789",
        "a1b2c3d4e5",
        "aa123456789",
        "aaaaaaaaaa",
        "abc123456789",
        "abcd123456",
        "abcdefghij",
        "abcdefghijk",
        "administrator",
        "administrator1",
        "admin12345",
        "admin123456",
        "asdasdasdasd",
        "asdf123456",
        "asdfasdfasdf",
        "asdfghjkl1",
        "asdfghjkl123",
        "baseball123",
        "basketball",
        "basketball1",
        "butterfly1",
        "changeme123",
        "charlie123",
        "chocolate1",
        "computer123",
        "correcthorsebatterystaple",
        "football123",
        "footballer",
        "helloworld",
        "helloworld1",
        "iloveyou12",
        "iloveyou123",
        "iloveyou1234",
        "internet123",
        "jennifer123",
        "letmein123",
        "letmein1234",
        "liverpool1",
        "manchester",
        "manchester1",
        "michael123",
        "monkey12345",
        "mypassword",
        "mypassword1",
        "p@ssw0rd12",
        "p@ssw0rd123",
        "passw0rd12",
        "passw0rd123",
        "password00",
        "password01",
        "password10",
        "password11",
        "password12",
        "password123",
        "password123!",
        "password1234",
        "password12345",
        "password123456",
        "password21",
        "password22",
        "password99",
        "passwordpassword",
        "pokemon123",
        "princess12",
        "princess123",
        "q1w2e3r4t5",
        "q1w2e3r4t5y6",
        "qazwsx1234",
        "qazwsxedc1",
        "qazwsxedcrfv",
        "qweasdzxc123",
        "qwer123456",
        "qwerasdfzxcv",
        "qwerty1234",
        "qwerty12345",
        "qwerty123456",
        "qwertyqwerty",
        "qwertyuiop",
        "qwertyuiop1",
        "qwertyuiop123",
        "qwertyuiop[]",
        "qwertyuiopasdfghjkl",
        "secret12345",
        "security123",
        "starwars123",
        "sunshine12",
        "sunshine123",
        "superman123",
        "test123456",
        "testtest123",
        "unbelievable",
        "welcome123",
        "welcome1234",
        "welcome12345",
        "zaq12wsxcde3",
        "zaq1zaq1zaq1",
        "zxcvbnm123",
        "zxcvbnm1234",
        "zxcvbnm123456",
    ]
)


def standard_hasher() -> PasswordHasher:
    """Argon2id with the parameters that OWASP names first for machines that are not built for it, 19 MiB and two
    passes on one thread: about 30 ms here. One thread, because a guess must not keep two processors busy.

    https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id
    """
    return PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)


def refusal(password: SecretStr, *, email: str | None, name: str) -> str | None:
    """Why a new password is refused, in a sentence; None when it is good. Its length was checked before."""
    folded = _normal(password.get_secret_value()).casefold()
    own = {name, *((email, email.partition("@")[0]) if email else ())}
    if folded in _COMMON:
        return "It is one of the most common passwords, which are guessed first: take another"
    if folded in {_normal(text).casefold() for text in own}:
        return "It is your email or your name, which are guessed first: take another"
    return None


def _normal(password: str) -> str:
    """The same bytes for the same password, whatever keyboard composed its letters (RFC 8265, 4.2.2)."""
    return unicodedata.normalize("NFC", password)


class Passwords:
    """Hashes and verifies, a few at a time, in threads of its own."""

    def __init__(self, at_once: int, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or standard_hasher()
        self._nobodys = _nobodys(self._hasher)
        self._most = at_once + WAITING_LIMIT
        self._under_way = 0
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="passwords", initializer=_stand_back)

    async def hash(self, password: SecretStr) -> str:
        """What is stored of a password. Raises `TOO_MANY_REQUESTS` when too many wait."""
        return await self._run(lambda: self._hasher.hash(_normal(password.get_secret_value())))

    async def verify(self, stored: str | None, password: SecretStr) -> bool:
        """Whether it is the password that `stored` was made of. Without one it is not, after the same work.

        Raises `TOO_MANY_REQUESTS` when too many wait.
        """

        def verify() -> bool:
            try:
                return self._hasher.verify(stored or self._nobodys, _normal(password.get_secret_value()))
            except VerifyMismatchError:
                return False

        return await self._run(verify) and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than new ones are."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """End the threads. What waits is given up; a hash that is being made is waited for."""
        self._threads.shutdown(cancel_futures=True)

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._under_way >= self._most:
            raise AtelierError(
                ErrorType.TOO_MANY_REQUESTS,
                f"Too many people log in right now. Try again in {RETRY_AFTER.seconds} seconds.",
                retry_after=RETRY_AFTER,
            )
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._under_way -= 1


def _nobodys(hasher: PasswordHasher) -> str:
    """A hash with the hasher's parameters that no password was made into, at no cost."""
    salt, digest = (
        base64.b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
        for length in (hasher.salt_len, hasher.hash_len)
    )
    return f"$argon2id$v=19$m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}${salt}${digest}"


def _stand_back() -> None:
    """Lower this thread's priority. On Linux a thread has one of its own; elsewhere it is the whole process's."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
