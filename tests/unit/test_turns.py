"""Turns: nobody has all of what many want."""

import asyncio

from api.turns import Turns


async def test_each_has_some_and_waits_for_nobody_else() -> None:
    turns = Turns(2)
    let_go = asyncio.Event()
    begun: list[str] = []

    async def hold(name: str, *, fails: bool = False) -> None:
        async with turns.of(name):
            begun.append(name)
            await let_go.wait()
            if fails:
                raise ValueError

    held = [asyncio.create_task(hold("ada", fails=n == 0)) for n in range(4)]
    other = asyncio.create_task(hold("grace"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert begun == ["ada", "ada", "grace"]
    # Who leaves the line keeps nobody from coming next.
    held[2].cancel()
    let_go.set()
    results = await asyncio.gather(*held, other, return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, type(None), asyncio.CancelledError, *[type(None)] * 2]
    assert begun == ["ada", "ada", "grace", "ada"]
    assert turns.held == 0
