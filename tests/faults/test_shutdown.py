"""SIGTERM in the middle of typing: a clean end, and everything anybody saw is in the log."""

from __future__ import annotations

from tests.faults.evidence import (
    assert_all_agree,
    assert_shown_is_committed,
    assert_words_are_there,
    read_log,
    what_was_shown,
)
from tests.faults.typing_crew import crew
from tests.peers.server_process import serving

RESTARTING = 1012


async def test_sigterm_commits_what_is_in_flight_and_sends_everybody_away() -> None:
    async with serving() as server, crew(server) as typing:
        await typing.start_typing(seed=1)
        await typing.type_more(200)
        assert await server.terminate(deadline=10) == 0
        for tab in typing.all_tabs:
            await tab.wait_closed(RESTARTING)
            await tab.disconnect()  # nobody may send again what the log should have by itself
        shown = await what_was_shown(typing.all_tabs)
        await server.start()
        async with server.database() as database:
            assert_shown_is_committed(shown, await read_log(database, typing.issue))
        marks = await typing.stop_typing()
        for tab in typing.all_tabs:
            await tab.connect()
        end = await assert_all_agree(server, typing.issue, typing.all_tabs)
        assert_words_are_there(end.description, marks)


async def test_a_second_sigterm_does_no_harm() -> None:
    async with serving() as server:
        server.process.terminate()
        assert await server.terminate(deadline=10) == 0
        assert not list(server.data_dir.rglob("postmaster.pid"))
