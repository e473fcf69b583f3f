from __future__ import annotations

from pathlib import Path

import pytest

from mmsc_cli.runtime.machine.gpus import visible_gpus


@pytest.mark.parametrize(
    ("chosen", "number"),
    [(None, 3), ("0,2", 2), ("1", 1), ("", 0), ("-1", 0), ("0,-1,2", 1), ("0,1,2,3,4", 3), ("GPU-8932f937,1", 2)],
)
def test_gpus_that_are_left_to_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: str | None, number: int
) -> None:
    for name in ("0000:01:00.0", "0000:02:00.0", "0000:03:00.0"):
        (tmp_path / "proc/driver/nvidia/gpus" / name).mkdir(parents=True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert visible_gpus(tmp_path) == number
    assert visible_gpus(tmp_path / "elsewhere") == 0
