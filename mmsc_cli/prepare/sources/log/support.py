"""In how many sessions a pair must occur: what the recipe says, else what ranks held-out pairs best."""

from __future__ import annotations

import logging
from typing import get_args

from mmsc_cli.prepare.duckdb import Engine
from mmsc_cli.prepare.settings import EventsSource, EventType

CANDIDATES = (1, 2, 3)
# With more pairs of events than this, a pair that matters is seen three times, and the trial would take long.
_TRIAL_PAIRS = 5_000_000
_FEW_PAIRS = 50
_LOG = logging.getLogger(__name__)

_EXPECTED = """
SELECT kind, sum(n * (n - 1) / 2)::BIGINT
FROM (SELECT kind, count(*) AS n FROM kept WHERE kind < 2 GROUP BY session, kind)
GROUP BY kind
"""
# A fifth of the sessions is held out. Pairs of the others are scored as all will be (npmi).
_TRIAL = """
CREATE OR REPLACE TABLE trial AS
WITH learned AS (SELECT item, count(*) AS sessions FROM kept WHERE kind = {kind} AND session % 5 <> 0 GROUP BY item),
together AS (
    SELECT l.item AS a, r.item AS b,
        count(*) FILTER (l.session % 5 <> 0)::DOUBLE AS k, count(*) FILTER (l.session % 5 = 0) AS held_out
    FROM kept l JOIN kept r ON l.session = r.session AND l.kind = r.kind AND l.item <> r.item
    WHERE l.kind = {kind}
    GROUP BY l.item, r.item
),
total AS (SELECT count(DISTINCT session)::DOUBLE AS n FROM kept WHERE kind = {kind} AND session % 5 <> 0)
SELECT a, b, k, held_out, CASE WHEN k > 0 THEN
    CASE WHEN k = n THEN 1 ELSE ln(k * n / (l.sessions::DOUBLE * r.sessions)) / -ln(k / n) END
    * k / (k + 1) * least(l.sessions, r.sessions) / (least(l.sessions, r.sessions) + 1)
END AS score
FROM together CROSS JOIN total LEFT JOIN learned l ON l.item = a LEFT JOIN learned r ON r.item = b
"""
# The discounted gain of held-out pairs among the ten best of their item, in billionths: threads add whole numbers in
# any order to the same sum, so that equal gains are equal.
_GAIN = """
SELECT coalesce(sum((1e9 / log2(1 + position))::BIGINT) FILTER (held_out > 0 AND position <= 10), 0), count(*)
FROM (
    SELECT held_out, row_number() OVER (PARTITION BY a ORDER BY score DESC, b) AS position
    FROM trial WHERE k >= {support} AND score > 0
)
"""


def choose_support(engine: Engine, settings: EventsSource) -> dict[EventType, int]:
    """The least number of sessions for each type of event.

    The default adapts to the log: of 1, 2 and 3 sessions the number under which the pairs of a held-out fifth of the
    sessions rank best; 3 for large logs.
    """
    given = settings.min_support
    if isinstance(given, int):
        return dict.fromkeys(get_args(EventType), given)
    expected = dict(engine.run(_EXPECTED))
    chosen: dict[EventType, int] = {}
    for kind, name in enumerate(get_args(EventType)):
        if given is not None and name in given:
            chosen[name] = given[name]
        elif expected.get(kind, 0) > _TRIAL_PAIRS:
            chosen[name] = CANDIDATES[-1]
        elif kind not in expected:
            chosen[name] = CANDIDATES[0]
        else:
            chosen[name] = _best(engine, kind)
            _LOG.info("min_support of %ss: %d, which ranks held-out pairs best", name, chosen[name])
    return chosen


def _best(engine: Engine, kind: int) -> int:
    engine.run(_TRIAL.format(kind=kind))
    gains = {support: engine.run(_GAIN.format(support=support))[0] for support in CANDIDATES}
    engine.run("DROP TABLE trial")
    greatest = max(gain for gain, _ in gains.values())
    if greatest:
        return max(support for support, (gain, _) in gains.items() if gain == greatest)
    # Nothing was held out that could be ranked: as strict as leaves some pairs.
    return max((support for support, (_, pairs) in gains.items() if pairs >= 2 * _FEW_PAIRS), default=CANDIDATES[0])
