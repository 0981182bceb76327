"""Each provider beside a far end of its own, for all tests of a file: to build one takes a tenth of a second."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.support.asking import MODELS, Asker, opened
from tests.support.wire import WireProvider


@pytest.fixture(scope="module")
def wire() -> Iterator[WireProvider]:
    """The far end; what nobody scripted, and what nobody asked for, fails the file."""
    with WireProvider() as started:
        yield started
    started.assert_clean()
    assert started.pending == 0


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    """Of the provider."""
    return str(request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asker(wire: WireProvider, name: str) -> AsyncIterator[Asker]:
    """Asks a provider that the tests of a file share."""
    async with opened(name, wire.url) as provider:
        yield Asker(name, wire, provider)
