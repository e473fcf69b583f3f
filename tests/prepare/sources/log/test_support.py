from __future__ import annotations

from pathlib import Path

import pytest

from mmsc_cli.prepare.duckdb import Engine
from mmsc_cli.prepare.settings import EventsSource
from mmsc_cli.prepare.sources.log.support import choose_support

# Sessions of six of sixty items of the same ten: every item has more than ten pairs, seen in many sessions.
KEPT = """
CREATE TABLE kept AS
SELECT DISTINCT session, 0 AS kind, (session % 6) * 10 + (hash(session * 31 + place) % 10)::BIGINT AS item
FROM range(20000) s(session), range(6) p(place)
"""


@pytest.mark.parametrize("attempt", range(8))
def test_supports_that_rank_alike_give_the_strictest_every_time(attempt: int, tmp_path: Path) -> None:
    with Engine(tmp_path) as engine:
        engine.run(f"SET threads = {1 + attempt % 4}")
        engine.run(KEPT)
        assert choose_support(engine, EventsSource(kind="events", events="log.csv"))["view"] == 3
