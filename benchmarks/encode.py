"""Speed, start-up and memory of `mmsc encode`, as Markdown tables; every ratio is of one run on one machine.

python -m benchmarks.encode speed     images and texts a second, against the bare towers on tensors that are there
python -m benchmarks.encode startup   seconds of `mmsc encode` on one item
python -m benchmarks.encode memory    peak memory at two sizes of catalogue, the larger one ten times the smaller
python -m benchmarks.encode cost      GFLOPs and CPU milliseconds of an image and of a text, by architecture

Weights are random, which costs the same. On a CUDA device (`--device cuda`) `speed` also says how busy the device was.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.measured import Measured, machine, markdown_table, run_command, whole_numbers

TINY = "mmsc-tiny"
TINY_CONFIG = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
}
RECIPE = 'name = "benchmark"\n[source]\nkind = "table"\nitems = "items.parquet"\npairs = "pairs.parquet"\n'
COST_HEAD = "architecture", "parameters, M", "GFLOPs an image", "CPU ms", "GFLOPs a text", "CPU ms"
WORDS = (
    *("steel", "cotton", "wireless", "outdoor", "kitchen", "travel", "compact", "classic", "vintage"),
    *("large", "small", "red", "blue", "black", "garden", "kids"),
)


def main() -> None:
    """Run one of the benchmarks and write its table to stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=("speed", "startup", "memory", "cost"))
    parser.add_argument("--architecture", default="ViT-B-32-256", help="speed, startup: one of open_clip's; cost: A,B")
    parser.add_argument("--items", type=int, default=512, help="speed: of the catalogue")
    parser.add_argument("--side", type=int, default=500, help="speed: pixels of an image's side")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--sizes", default="10000,100000", help="memory: of the catalogues")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        match given.benchmark:
            case "speed":
                speed(folder, given)
            case "startup":
                startup(folder, given)
            case "memory":
                memory(folder, whole_numbers(given.sizes))
            case "cost":
                _write(markdown_table(COST_HEAD, [_cost(name, given.runs) for name in given.architecture.split(",")]))


def speed(folder: Path, given: argparse.Namespace) -> None:
    """Inputs a second of the command's two passes, and of the towers alone, run by run in turn."""
    weights = _random_weights(folder, given.architecture)
    workspace = _catalogue(folder, given.items, given.side)
    rates: dict[str, list[tuple[float, float]]] = {"images": [], "texts": []}
    busy: list[float] = []
    flops: dict[str, float] = {}
    for _ in range(given.runs):
        towers = _child("towers", weights, str(given.batch), given.device)
        bare = json.loads(towers.output)
        with _utilisation(given.device) as seen:
            counts = _encode(weights, workspace, given.device, f"encode.batch_size={given.batch}")
        busy += seen
        flops = bare["gflops"]
        for kind, rate in rates.items():
            rate.append((bare[kind], counts[f"{kind}_per_second"]))
    rows = []
    for kind, rate in rates.items():
        bare_rate, ours = (statistics.median(column) for column in zip(*rate, strict=True))
        ratio = statistics.median(mine / towers_only for towers_only, mine in rate)
        done = flops[kind] * bare_rate / 1_000
        rows.append(
            (kind, f"{bare_rate:.1f}", f"{ours:.1f}", f"{ratio:.2f}", f"{done:.3f}", f"{done / flops['peak']:.0%}")
        )
    _write(f"{given.architecture}, batches of {given.batch}, {given.items:,} items, JPEGs of {given.side} pixels, ")
    _write(f"{given.device}; {machine()}; medians of {given.runs} runs\n\n")
    head = "", "towers alone, a second", "mmsc encode, a second", "ratio", "towers, TFLOP/s", "of a matrix product's"
    _write(markdown_table(head, rows))
    if busy:
        _write(f"\nGPU utilisation during mmsc encode: median {statistics.median(busy):.0f} %\n")


def startup(folder: Path, given: argparse.Namespace) -> None:
    """Seconds of the whole command where there is next to nothing to encode."""
    weights = _random_weights(folder, given.architecture)
    workspace = _catalogue(folder, 2, given.side)
    seconds = []
    for _ in range(given.runs):
        started = time.perf_counter()
        _encode(weights, workspace, given.device)
        seconds.append(time.perf_counter() - started)
    _write(f"{given.architecture}, {given.device}; {machine()}\n\n")
    _write(markdown_table(("median seconds", "runs"), [(f"{statistics.median(seconds):.1f}", str(given.runs))]))


def memory(folder: Path, sizes: list[int]) -> None:
    """Peak memory of the command, by the operating system's account, with towers small enough to go through it all."""
    weights = _random_weights(folder, TINY)
    rows, first = [], 0.0
    for size in sizes:
        workspace = _catalogue(folder, size, 64)
        ran = _child("mmsc", TINY, "encode", "-q", "--device", "cpu", "-w", str(workspace), "--encoder", weights)
        first = first or ran.peak_gib
        rows.append((f"{size:,}", f"{ran.seconds:.0f}", f"{ran.peak_gib:.3f}", f"{ran.peak_gib / first:.3f}"))
        shutil.rmtree(workspace)
    _write(f"a tiny architecture, 512 wide, on the CPU; {machine()}\n\n")
    _write(markdown_table(("items", "seconds", "peak GiB", "against the first row"), rows))


def _cost(architecture: str, runs: int) -> list[str]:
    """What one image and one text of full length cost, on one thread of a CPU, with random weights."""
    import open_clip
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)  # its operations are not counted
    model = open_clip.create_model(architecture).eval().requires_grad_(False)
    config = open_clip.get_model_config(architecture)
    side, length = config["vision_cfg"]["image_size"], config["text_cfg"]["context_length"]
    batch = 8
    images, tokens = torch.rand((batch, 3, side, side)), torch.randint(1, 1_000, (batch, length))
    cells = [architecture, f"{sum(each.numel() for each in model.parameters()) / 1e6:.0f}"]
    with torch.inference_mode():
        towers: list[Callable[[], object]] = [lambda: model.encode_image(images), lambda: model.encode_text(tokens)]
        for forward in towers:
            with FlopCounterMode(display=False) as counter:
                forward()
            seconds = []
            for _ in range(runs):
                started = time.process_time()
                forward()
                seconds.append(time.process_time() - started)
            gflops = counter.get_total_flops() / batch / 1e9
            cells += [f"{gflops:.1f}", f"{min(seconds) / batch * 1_000:.0f}"]
    return cells


def _encode(weights: str, workspace: Path, device: str, *settings: str) -> dict[str, float]:
    options = [option for setting in settings for option in ("--set", setting)]
    architecture = weights.removeprefix("open_clip:").partition("/")[0]
    ran = _child(
        "mmsc",
        architecture,
        "encode",
        "--json",
        "-q",
        "--device",
        device,
        "-w",
        str(workspace),
        *options,
        "--encoder",
        weights,
    )
    counts: dict[str, float] = json.loads(ran.output)["counts"]
    return counts


def _child(role: str, *arguments: str) -> Measured:
    """This module in another process: as `mmsc`, with the tiny architecture registered, or as the towers alone."""
    return run_command([sys.executable, "-m", "benchmarks.encode", role, *arguments])


def _register_tiny() -> None:
    import open_clip

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"{TINY}.json"
        path.write_text(json.dumps(TINY_CONFIG))
        open_clip.add_model_config(path)


def _random_weights(folder: Path, architecture: str) -> str:
    import open_clip
    from safetensors.torch import save_file

    if architecture == TINY:
        _register_tiny()
    model = open_clip.create_model(architecture)
    path = folder / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return f"open_clip:{architecture}/{path}"


def _catalogue(folder: Path, items: int, side: int) -> Path:
    """A prepared workspace: every item with a title, a description and a JPEG of its own."""
    rng = np.random.default_rng(1)
    source = folder / "source"
    (source / "images").mkdir(parents=True)
    coarse = rng.integers(0, 256, (items, 8, 8, 3), dtype=np.uint8)
    for number in range(items):
        image = Image.fromarray(coarse[number]).resize((side, side), Image.Resampling.BICUBIC)
        image.save(source / f"images/{number}.jpg", quality=85)
    words = rng.choice(WORDS, (items, 30))
    table = {
        "item_id": [f"i{number:07d}" for number in range(items)],
        "title": [f"{' '.join(row[:8])} {number}" for number, row in enumerate(words)],
        "description": [" ".join(row[8:]) for row in words],
        "image_path": [f"images/{number}.jpg" for number in range(items)],
    }
    pq.write_table(pa.table(table), source / "items.parquet")
    pq.write_table(pa.table({"a": ["i0000000"], "b": ["i0000001"], "co_view": [1.0]}), source / "pairs.parquet")
    (source / "recipe.toml").write_text(RECIPE)
    workspace = folder / "workspace"
    run_command([sys.executable, "-m", "mmsc_cli", "prepare", "-q", str(source / "recipe.toml"), "-w", str(workspace)])
    shutil.rmtree(source)
    return workspace


@contextmanager
def _utilisation(device: str) -> Iterator[list[float]]:
    """Percentages that the driver gives while something runs; none where there is no CUDA device."""
    seen: list[float] = []
    over = threading.Event()

    def watch() -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not over.wait(0.5):
            seen.append(float(subprocess.run(query, capture_output=True, text=True, check=True).stdout.split()[0]))

    thread = threading.Thread(target=watch, daemon=True)
    if device == "cuda":
        thread.start()
    yield seen
    over.set()
    if device == "cuda":
        thread.join()


def _towers(weights: str, batch: int, device_name: str) -> None:
    """Inputs a second of both towers on tensors that are there, their GFLOPs, and a matrix product's TFLOP/s."""
    import open_clip
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    device = torch.device(device_name)
    architecture, _, checkpoint = weights.removeprefix("open_clip:").partition("/")
    model = open_clip.create_model(architecture, pretrained=checkpoint, device=device).eval()
    size = open_clip.get_model_config(architecture)["vision_cfg"]["image_size"]
    images = torch.rand((batch, 3, size, size), device=device)
    tokens = open_clip.get_tokenizer(architecture)([" ".join(WORDS)] * batch).to(device)
    half = device.type == "cuda"

    def rate(forward: Callable[[], object], inputs: int, least: float = 5.0) -> float:
        def wait() -> None:
            if half:
                torch.cuda.synchronize()

        forward()
        wait()
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < least:
            forward()
            wait()
            done += inputs
        return done / (time.perf_counter() - started)

    def gflops(forward: Callable[[], object], inputs: int) -> float:
        with FlopCounterMode(display=False) as counter:
            forward()
        return float(counter.get_total_flops()) / inputs / 1e9

    side = 8_192 if half else 2_048
    square = torch.rand((side, side), device=device, dtype=torch.bfloat16 if half else torch.float32)
    towers = {"images": lambda: model.encode_image(images), "texts": lambda: model.encode_text(tokens)}
    with torch.inference_mode(), torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
        found: dict[str, object] = {kind: rate(forward, batch) for kind, forward in towers.items()}
        peak = rate(lambda: square @ square, 1, 2.0) * 2 * side**3 / 1e12
        costs = {kind: gflops(forward, batch) for kind, forward in towers.items()}
    found["gflops"] = costs | {"peak": peak}
    _write(json.dumps(found))


def _mmsc(architecture: str, arguments: list[str]) -> None:
    from mmsc_cli.cli.app import run_command as run_mmsc_here

    if architecture == TINY:
        _register_tiny()
    sys.exit(run_mmsc_here(arguments))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["mmsc"]:
        _mmsc(sys.argv[2], sys.argv[3:])
    elif sys.argv[1:2] == ["towers"]:
        _towers(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()
