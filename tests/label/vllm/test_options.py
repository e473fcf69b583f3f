from __future__ import annotations

from typing import Any

import pytest

from mmsc_cli.label.vllm.install import Gpu, Machine, ModelFacts
from mmsc_cli.label.vllm.options import choose_serving
from mmsc_cli.label.vllm.settings import ServerSettings

GIB = 2**30
AUTO = ServerSettings()


def machine(gpus: int = 1, free: float = 78, total: float = 80, **model: Any) -> Machine:
    cards = tuple(Gpu("H100", int(free * GIB), int(total * GIB)) for _ in range(gpus))
    facts = ModelFacts(**{"context": 131_072, "heads": 32, "weights": 15 * GIB, "chat_template": True} | model)
    return Machine("cuda", ("bfloat16", "float16"), cards, 64 * GIB, facts)


def chosen(arguments: list[str]) -> dict[str, str]:
    return dict(zip(arguments[::2], arguments[1::2], strict=False))


def test_every_choice_has_a_reason() -> None:
    serving = choose_serving(machine(), AUTO, 3_000)
    options = chosen(serving.arguments)
    assert options == {
        "--dtype": "bfloat16",
        "--tensor-parallel-size": "1",
        "--gpu-memory-utilization": "0.9",
        "--max-model-len": "3328",
    }
    names = ("dtype", "tensor-parallel size", "memory share", "context length")
    for name, value, reason in zip(names, options.values(), serving.reasons, strict=True):
        assert reason.startswith(f"{name}: {value} (")


@pytest.mark.parametrize(
    ("gpus", "weights", "heads", "expected"),
    [(4, 15, 32, "1"), (4, 100, 32, "2"), (4, 140, 32, "4"), (3, 140, 32, "2"), (8, 140, 6, "2"), (2, None, 32, "1")],
)
def test_a_model_is_split_over_as_few_gpus_as_hold_it(
    gpus: int, weights: int | None, heads: int, expected: str
) -> None:
    cards = machine(gpus, weights=weights and weights * GIB, heads=heads)
    assert chosen(choose_serving(cards, AUTO, 1).arguments)["--tensor-parallel-size"] == expected


@pytest.mark.parametrize(("free", "share"), [(78, "0.9"), (40, "0.47"), (1, "0.1")])
def test_what_others_hold_of_a_gpu_is_left_to_them(free: float, share: str) -> None:
    serving = choose_serving(machine(free=free), AUTO, 1)
    assert chosen(serving.arguments)["--gpu-memory-utilization"] == share
    assert f"{free} of 80 GiB are free" in serving.reasons[2]


def test_a_short_model_gets_all_it_has() -> None:
    serving = choose_serving(machine(context=2_048), AUTO, 4_000)
    assert chosen(serving.arguments)["--max-model-len"] == "2048"
    assert "given up" in serving.reasons[3]


def test_settings_win() -> None:
    given = ServerSettings(dtype="float16", tensor_parallel=2, memory_share=0.5, context=1_000)
    serving = choose_serving(machine(4), given, 3_000)
    assert list(chosen(serving.arguments).values()) == ["float16", "2", "0.5", "1000"]
    assert all("set in the recipe" in reason for reason in serving.reasons)


def test_a_cpu_has_a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLLM_CPU_KVCACHE_SPACE", raising=False)
    cpu = Machine("cpu", ("bfloat16",), (), 24 * GIB, ModelFacts(chat_template=False))
    serving = choose_serving(cpu, AUTO, 1)
    assert serving.environment == {"VLLM_CPU_KVCACHE_SPACE": "3"}
    assert "--gpu-memory-utilization" not in serving.arguments
    assert "--enforce-eager" in serving.arguments
    assert serving.arguments[-2] == "--chat-template"
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "7")
    assert choose_serving(cpu, AUTO, 1).environment == {"VLLM_CPU_KVCACHE_SPACE": "7"}
