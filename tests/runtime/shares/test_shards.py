from __future__ import annotations

import pytest

from mmsc_cli.errors import InputError
from mmsc_cli.runtime.shares.shards import WHOLE, Shard, parse_shard, torchrun_shard


@pytest.mark.parametrize("parts", [0, 1, 7, 100])
@pytest.mark.parametrize("of", [1, 3, 8])
def test_shards_are_equal_and_cover_every_part_once(parts: int, of: int) -> None:
    numbers = [shard.parts(range(parts)) for shard in Shard(1, of).siblings()]
    assert sorted(number for part in numbers for number in part) == list(range(parts))
    assert max(map(len, numbers)) - min(map(len, numbers)) <= 1


@pytest.mark.parametrize("rows", [0, 1, 7, 100])
@pytest.mark.parametrize("of", [1, 3, 8])
def test_runs_of_rows_follow_one_another(rows: int, of: int) -> None:
    runs = [shard.rows(rows) for shard in Shard(1, of).siblings()]
    assert [row for run in runs for row in run] == list(range(rows))
    assert max(map(len, runs)) - min(map(len, runs)) <= 1


def test_what_the_option_takes() -> None:
    assert parse_shard("2/4") == Shard(2, 4)
    assert parse_shard("1/1") == WHOLE
    for wrong in ("0/4", "5/4", "1", "a/b", "1/4/2", "-1/4", "1/0", " 1/4"):
        with pytest.raises(InputError, match="i/n") as caught:
            parse_shard(wrong)
        assert "--shard 1/4" in (caught.value.hint or "")


def test_torchrun_gives_each_process_its_shard() -> None:
    started = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "RANK": "2"}
    assert torchrun_shard(started) == Shard(3, 4)
    assert torchrun_shard(started | {"WORLD_SIZE": "1", "RANK": "0"}) is None
    assert torchrun_shard({"WORLD_SIZE": "4", "RANK": "2"}) is None
