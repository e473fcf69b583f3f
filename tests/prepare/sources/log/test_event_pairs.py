from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.prepare.counts import balance
from mmsc_cli.prepare.records import Delivery
from mmsc_cli.prepare.settings import EventsSource
from mmsc_cli.prepare.sources.log import pair_counts
from mmsc_cli.prepare.sources.log.event_pairs import read_events

Event = tuple[str, str, str, Any]
Scores = dict[tuple[str, str, str], float]
CAP = 6


def _settings(**given: Any) -> EventsSource:
    return EventsSource.model_validate({"kind": "events", "events": "log.csv", "min_support": 1} | given)


@pytest.fixture
def read(tmp_path: Path, delivery: Delivery) -> Callable[..., Scores]:
    """Write a log as CSV, read it, and return the score by (behaviour, source, target)."""

    def run(log: Sequence[Event] | pd.DataFrame, **given: Any) -> Scores:
        frame = log if isinstance(log, pd.DataFrame) else pd.DataFrame(log, columns=["session", "item", "type", "time"])
        frame.to_csv(tmp_path / "log.csv", index=False)
        read_events([tmp_path / "log.csv"], (), _settings(**given), delivery)
        return _scores(delivery)

    return run


def _scores(delivery: Delivery) -> Scores:
    found = {}
    for row in (row for part in delivery.parts("relations") for row in pq.read_table(part).to_pylist()):
        for kind in ("view", "buy"):
            if row[kind] > 0:
                found[kind, row["source"], row["target"]] = row[kind]
    return found


def test_a_pair_comes_with_the_number_of_its_sessions(read: Callable[..., Scores], delivery: Delivery) -> None:
    log = [(f"s{number}", item, "view", number) for number in range(6) for item in ("a", "b")]
    log += [(f"s{number}", item, "purchase", number) for number in range(2) for item in ("a", "b")]
    read([*log, *((f"t{number}", "c", kind, number) for number in range(9) for kind in ("view", "purchase"))])
    (part,) = delivery.parts("relations")
    rows = pq.read_table(part).to_pylist()
    assert {(row["views_together"], row["purchases_together"]) for row in rows} == {(6, None), (None, 2)}


def _log(events: int, sessions: int, items: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "session": rng.integers(0, sessions, events).astype(str),
            "item": [f"i{item:02}" for item in rng.zipf(1.4, events) % items],
            "type": rng.choice(["view", "purchase", "cart"], events, p=[0.6, 0.35, 0.05]),
            "time": rng.integers(1_600_000_000, 1_600_050_000, events),
        }
    )


def _expected(log: pd.DataFrame, support: int, window_minutes: float | None, score: str) -> Scores:
    """The same by loops, with the formulas as in the papers."""
    found: Scores = {}
    for kind, name in (("view", "view"), ("purchase", "buy")):
        moments: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for session, item, _, time in log[log["type"] == kind].itertuples(index=False):
            moments[session][item].append(float(time))
        together: dict[tuple[str, str], int] = defaultdict(int)
        alone: dict[str, int] = defaultdict(int)
        for seen in moments.values():
            first = sorted((min(times), item) for item, times in seen.items())[:CAP]
            kept = sorted(item for _, item in first)
            for item in kept:
                alone[item] += 1
            for a, b in combinations(kept, 2):
                apart = min(abs(x - y) for x in seen[a] for y in seen[b])
                together[a, b] += window_minutes is None or apart <= 60 * window_minutes
        n = len(moments)
        for (a, b), k in together.items():
            if k < support or k * n <= alone[a] * alone[b]:
                continue
            if score == "npmi":
                low = min(alone[a], alone[b])
                value = math.log(k * n / (alone[a] * alone[b])) / -math.log(k / n) * (k / (k + 1)) * (low / (low + 1))
            else:
                table = np.array([[k, alone[a] - k], [alone[b] - k, n - alone[a] - alone[b] + k]], float)
                chance = table.sum(1, keepdims=True) * table.sum(0) / n
                value = 2 * sum(x * math.log(x / y) for x, y in zip(table.flat, chance.flat, strict=True) if x > 0)
            found[name, a, b] = found[name, b, a] = value
    return found


@pytest.mark.parametrize("score", ["npmi", "llr"])
@pytest.mark.parametrize("window_minutes", [None, 90.0])
@pytest.mark.parametrize("at_a_time", [10_000_000, 500])
def test_scores_agree_with_loops_over_the_sessions(
    read: Callable[..., Scores],
    delivery: Delivery,
    monkeypatch: pytest.MonkeyPatch,
    score: str,
    window_minutes: float | None,
    at_a_time: int,
) -> None:
    monkeypatch.setattr(pair_counts, "PAIRS_AT_A_TIME", at_a_time)
    log = _log(events=4_000, sessions=500, items=40, seed=1)
    found = read(log, score=score, window_minutes=window_minutes, min_support=2, session_items=CAP)
    assert len(found) > 10
    assert found == pytest.approx(_expected(log, 2, window_minutes, score), rel=1e-5)
    counts = delivery.counts
    assert counts["events"] == 4_000
    assert counts["events_over_cap"] > 0
    balance(counts | {"items": counts["records"], "relations_kept": counts["relations"]})


def test_bestsellers_are_not_related_to_everything(read: Callable[..., Scores]) -> None:
    """Two items that go together beat the bestseller that is in every second session, though it is there more often."""
    log: list[Event] = []
    for session in range(200):
        log.append((str(session), "bestseller", "view", session)) if session % 2 else None
        if session < 20:
            log += [(str(session), "tent", "view", session), (str(session), "mat", "view", session)]
        elif session < 50:
            log += [(str(session), "tent", "view", session), (str(session), f"x{session}", "view", session)]
        else:
            log.append((str(session), f"x{session}", "view", session))
    found = read(log)
    assert found["view", "tent", "mat"] > 0.5
    assert found.get(("view", "tent", "bestseller"), 0.0) < 0.1


def test_the_order_of_the_log_does_not_matter(read: Callable[..., Scores], tmp_path: Path) -> None:
    log = _log(events=1_000, sessions=60, items=20, seed=2)
    log["time"] = log["time"] // 10_000  # many ties
    found = read(log, session_items=3)
    (tmp_path / "again").mkdir()
    again = Delivery(tmp_path / "again")
    log.sample(frac=1, random_state=1).to_csv(tmp_path / "shuffled.csv", index=False)
    read_events([tmp_path / "shuffled.csv"], (), _settings(session_items=3), again)
    assert _scores(again) == found


def test_a_log_alone_makes_a_catalogue_of_ids(tmp_path: Path, delivery: Delivery, assembled: Any) -> None:
    log = [(str(s), item, "view", s) for s in range(3) for item in ("B", "A")] + [("9", "C", "purchase", 1)]
    pd.DataFrame(log, columns=["session", "item", "type", "time"]).to_csv(tmp_path / "log.csv", index=False)
    read_events([tmp_path / "log.csv"], (), _settings(), delivery)
    shop = assembled(delivery)
    assert shop.ids == ["A", "B", "C"]
    assert set(shop.edges("view")) == {("A", "B"), ("B", "A")}


def test_items_of_a_table_bring_their_titles_and_limit_the_catalogue(
    tmp_path: Path, delivery: Delivery, assembled: Any
) -> None:
    log = [(str(s), item, "view", s) for s in range(9) for item in ("A", "B", "GONE") if s < 5 or item == "GONE"]
    pd.DataFrame(log, columns=["session", "item", "type", "time"]).to_csv(tmp_path / "log.csv", index=False)
    (tmp_path / "items.csv").write_text("sku,title\nA,Tent\nB,Mat\n")
    settings = _settings(columns={"item_id": "sku"})
    read_events([tmp_path / "log.csv"], [tmp_path / "items.csv"], settings, delivery)
    shop = assembled(delivery)
    assert shop.items["title"].to_pylist() == ["Tent", "Mat"]
    balance(shop.counts | {"repeated": 0})


def test_a_log_with_nothing_of_use_is_refused_with_the_reason(read: Callable[..., Scores]) -> None:
    with pytest.raises(InputError, match="no event in it is of use: events_of_other_type 2") as caught:
        read([("1", "A", "click", 1), ("1", "B", "click", 1)])
    assert "[source.types]" in str(caught.value.hint)
