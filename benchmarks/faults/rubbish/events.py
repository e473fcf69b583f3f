"""Event logs, as CSV, JSON lines and Parquet, and as GA4 exports them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

from benchmarks.faults.rubbish.tables import as_csv, as_json_lines, as_parquet, as_zstd
from benchmarks.faults.rubbish.target import REFUSED, Tally, Target, empty_folder, scratch_file
from mmsc_cli.errors import InputError
from mmsc_cli.prepare.counts import BALANCES
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.settings import EventsSource
from mmsc_cli.prepare.sources.log.event_pairs import read_events

_LOG: dict[str, list[Any]] = {
    "session": ["s1", "s1", "s1", "s2", "s2", None, "s3"],
    "item": ["A", "B", "A", "A", "B", "C", "D"],
    "type": ["view", "view", "view", "purchase", "purchase", "view", "share"],
    "time": ["1714564800", "2024-05-01T12:00:00Z", "1714564801000", "2024-05-01", "x", "1", "inf"],
}


def check_events(form: str) -> Callable[[bytes], Tally]:
    """Every event is kept, or counted under the reason why not, or all is refused."""

    def check(content: bytes) -> Tally:
        log = scratch_file(f"log.{form}", content)
        settings = EventsSource(kind="events", events=log.name, min_support=1, window_minutes=30.0)
        delivery = Delivery(empty_folder("delivery"))
        try:
            read_events([log], (), settings, delivery)
        except InputError:
            return REFUSED
        counts = delivery.counts
        pairs_kept, *pairs_lost = (counts[name] for name in BALANCES["event_pairs"])
        Tally(counts["event_pairs"], pairs_kept, sum(pairs_lost)).checked("pairs of events")
        kept, *lost = (counts[name] for name in BALANCES["events"])
        return Tally(counts["events"], kept, sum(lost)).checked("events")

    return check


def csv_seeds() -> list[bytes]:
    """A sound log, plain and packed, and one of numbers."""
    whole = as_csv(_LOG)
    return [whole, gzip.compress(whole, mtime=0), as_zstd(whole), as_csv(_LOG, "\t")]


def parquet_seeds() -> list[bytes]:
    """Sound logs, of texts and of numbers."""
    return [
        as_parquet(_LOG),
        as_parquet(_LOG | {"time": [1.0, 2.0, 3.0, float("nan"), None, 6.0, 7.0], "item": [1, 2, 1, 1, 2, 3, 4]}),
    ]


def json_seeds() -> list[bytes]:
    """Sound logs of JSON lines, of texts and of numbers."""
    return [
        as_json_lines(_LOG),
        as_json_lines(_LOG | {"time": [1, 2.5, None, 4, 5, 6, 7], "item": [1, 2, 1, 1, 2, 3, 4]}),
    ]


def _ga4(user: int, name: str, items: list[Any]) -> dict[str, Any]:
    params = [{"key": "ga_session_id", "value": {"string_value": None, "int_value": 1_700_000_000 + user}}]
    stamp = 1_790_000_000_000_000 + user
    return {
        "event_name": name,
        "event_timestamp": stamp,
        "user_pseudo_id": f"u{user}",
        "event_params": params,
        "items": items,
    }


def ga4_seeds() -> list[bytes]:
    """A sound export, plain and packed, some events of which name several items or none."""
    events = [
        _ga4(1, "view_item", [{"item_id": "A"}]),
        _ga4(1, "purchase", [{"item_id": "A", "price": 1}, {"item_id": "B"}, {}]),
        _ga4(2, "session_start", []),
        _ga4(2, "view_item", [{"item_id": None}, "x", 7]),
    ]
    whole = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    return [whole, gzip.compress(whole, mtime=0)]


EVENTS = [
    Target("events (csv)", check_events("csv"), csv_seeds),
    Target("events (parquet)", check_events("parquet"), parquet_seeds),
    Target("events (jsonl)", check_events("jsonl"), json_seeds),
    Target("events (ga4)", check_events("jsonl"), ga4_seeds),
]
