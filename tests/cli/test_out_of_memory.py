"""Where memory runs out, the command says in two lines what lowers its need."""

from __future__ import annotations

import pytest

from mmsc_cli.cli.failures import describe, exit_code


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("mmsc prepare shop.toml", "source.memory_gib"),
        ("mmsc encode", "--encoder classic"),
        ("mmsc label --model rules", "label.budget"),
        ("mmsc train -w shop", "train.dim"),
        ("mmsc evaluate --baselines all", "--baselines none"),
    ],
)
def test_each_stage_names_its_own_options(command: str, option: str) -> None:
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes")

    lines = describe(error, command)

    assert exit_code(error) == 2
    assert len(lines) == 2
    assert option in lines[1]
