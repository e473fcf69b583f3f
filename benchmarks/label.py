"""Speed and safety of `label` against a real vLLM server with a tiny random model; every ratio is of one run.

MMSC_VLLM_PYTHON=.vllm/bin/python python -m benchmarks.label speed    against a bare load, and against generating JSON
MMSC_VLLM_PYTHON=.vllm/bin/python python -m benchmarks.label kills    kill -9 of client and server at random moments
python -m benchmarks.label rules                                      the rules, judged on pairs of known truth
MMSC_VLLM_PYTHON=.vllm/bin/python python -m benchmarks.label real     a real model, SmolLM2: masses, forecast, accuracy
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import math
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.measured import machine, markdown_table, run_mmsc
from mmsc_cli.label.candidates import PairsToAsk, choose_candidates
from mmsc_cli.label.llm.interview import interview
from mmsc_cli.label.llm.prompt import LETTERS, RELATION, quote_items
from mmsc_cli.label.llm.servers import Servers
from mmsc_cli.label.settings import CandidateMix, LabelSettings
from mmsc_cli.label.vllm.command import PYTHON_VARIABLE
from mmsc_cli.label.vllm.server import Server, serve
from mmsc_cli.label.vllm.settings import ServerSettings
from mmsc_cli.runtime.redaction import API_KEY_VARIABLES
from mmsc_cli.runtime.seeds import numpy_generator
from mmsc_cli.tables.items import read_items
from mmsc_cli.tables.pairs import Pairs
from mmsc_cli.tables.relations import CLASSES, RELATIONS
from mmsc_cli.tables.truth import Truth

SHARD = 20
SHORT: dict[str, Any] = {
    "label": {"enum": list(CLASSES)},
    "direction": {"enum": ["a_to_b", "b_to_a", "both", "none"]},
    "confidence": {"enum": ["low", "medium", "high"]},
}
# What is asked for in JSON: nothing but the label, or also why, in a sentence.
JSON_ANSWERS: dict[str, dict[str, Any]] = {
    "short": SHORT,
    "with a reason": {"reason": {"type": "string", "minLength": 40, "maxLength": 160}} | SHORT,
}
Body = dict[str, Any]


def main() -> None:
    """Run one of the benchmarks and write its table to stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="python -m benchmarks.label"
    )
    parser.add_argument("benchmark", choices=("speed", "kills", "rules", "real"))
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--runs", type=int, default=5, help="speed: of which the medians are told")
    parser.add_argument("--client-kills", type=int, default=8)
    parser.add_argument("--server-kills", type=int, default=3)
    parser.add_argument(
        "--model", type=Path, help="real: a folder of benchmarks/smollm2.py; made where it is not given"
    )
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    _write(f"{machine()}\n\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_mmsc("prepare", "demo", "--seed", given.seed, "-q", "-w", folder / "shop")
        if given.benchmark == "rules":
            rules(folder, given.seed)
            return
        if given.benchmark == "real":
            real(folder, given.model or _smollm2(folder), given.pairs, given.seed)
            return
        model = folder / "llama"
        script = Path(__file__).parents[1] / "tests" / "fixtures" / "tiny_llama.py"
        subprocess.run([os.environ[PYTHON_VARIABLE], script, model], check=True, capture_output=True)
        if given.benchmark == "speed":
            speed(folder, model, given.pairs, given.concurrency, given.runs)
        else:
            kills(folder, model, given.pairs, given.client_kills, given.server_kills, given.seed)


def speed(folder: Path, model: Path, pairs: int, concurrency: int, runs: int) -> None:
    """Requests per second: a bare load, `label`, and loads that generate JSON, in turn, from an empty prefix cache."""
    items = read_items(folder / "shop" / "items.parquet")
    candidates = choose_candidates(items, Pairs.read(folder / "shop" / "pairs.parquet"), pairs, CandidateMix(), seed=1)
    settings = LabelSettings(model=str(model), concurrency=concurrency)
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"  # for /reset_prefix_cache
    rows, ratios = [], []
    with serve(str(model), folder / "vllm.log", ServerSettings()) as server:
        scored = _bodies(items, candidates, str(model), _letters(server, str(model)))
        told = [_bodies(items, candidates, str(model), _json_answer(answer)) for answer in JSON_ANSWERS.values()]
        for bodies in (scored, *told):
            _load(server, bodies[:concurrency], concurrency)
        for run in range(runs):
            bare = _load(server, scored, concurrency)
            ours = _ask(server, items, candidates, settings)
            others = [bare, *(_load(server, bodies, concurrency) for bodies in told)]
            ratios.append([ours / other for other in others])
            rows.append((str(run + 1), *(f"{rate:.1f}" for rate in (ours, *others)), *(f"{r:.2f}" for r in ratios[-1])))
    _write(f"{len(candidates)} pairs, {2 * len(candidates)} questions, {concurrency} at once; questions a second\n\n")
    names = ["bare load", *(f"JSON, {name}" for name in JSON_ANSWERS)]
    _write(markdown_table(["run", "label", *names, *(f"label / {name}" for name in names)], rows))
    medians = (
        f"{statistics.median(column):.2f} x {name}"
        for name, column in zip(names, zip(*ratios, strict=True), strict=True)
    )
    _write(f"\nmedians, label against: {', '.join(medians)}\n")


def _json_answer(properties: Mapping[str, Any]) -> Body:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    return {"max_tokens": 200, "structured_outputs": {"json": schema, "disable_any_whitespace": True}}


def _bodies(items: pa.Table, candidates: PairsToAsk, model: str, extra: Mapping[str, Any]) -> list[Body]:
    quoted = quote_items(items, np.concatenate([candidates.a, candidates.b]).tolist())
    ids = items["item_id"].to_pylist()
    keyed = []
    for a, b in zip(candidates.a.tolist(), candidates.b.tolist(), strict=True):
        first, second = RELATION.ask(quoted[a], quoted[b], (ids[a], ids[b]))
        keyed += [((a, b), first), ((b, a), second)]
    return [
        {"model": model, "messages": question.messages, "temperature": 0, **extra}
        for _, question in sorted(keyed, key=lambda entry: entry[0])
    ]


def _letters(server: Server, model: str) -> Body:
    """What `label` asks vLLM for: one token, and the probabilities of the letters."""
    url = server.url.replace("/v1", "/tokenize")
    tokens = set()
    for text in (*LETTERS, *(f" {letter}" for letter in LETTERS)):
        body = {"model": model, "prompt": text, "add_special_tokens": False}
        found = httpx.post(url, json=body, trust_env=False).json()["tokens"]
        tokens |= set(found) if len(found) == 1 else set()
    return {"max_tokens": 1, "logprobs": True, "top_logprobs": 20, "logprob_token_ids": sorted(tokens)}


def _load(server: Server, bodies: Sequence[Body], concurrency: int) -> float:
    """Requests per second of the barest asynchronous client: it sends, waits, and throws the answer away."""
    pending = iter(bodies)
    authorised = {"Authorization": f"Bearer {server.key}"}

    async def work(client: httpx.AsyncClient) -> None:
        for body in pending:
            reply = await client.post(f"{server.url}/chat/completions", json=body, headers=authorised)
            reply.raise_for_status()

    async def run() -> None:
        limits = httpx.Limits(max_connections=concurrency)
        async with (
            httpx.AsyncClient(timeout=300, trust_env=False, limits=limits) as client,
            asyncio.TaskGroup() as all_,
        ):
            for _ in range(concurrency):
                all_.create_task(work(client))

    _forget(server)
    started = time.perf_counter()
    asyncio.run(run())
    return len(bodies) / (time.perf_counter() - started)


def _ask(server: Server, items: pa.Table, candidates: PairsToAsk, settings: LabelSettings) -> float:
    """Requests per second of `label`, with all it does beside asking: reading, combining, saving."""
    _forget(server)
    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        os.environ[API_KEY_VARIABLES[0]] = server.key
        servers = Servers(settings.model, settings, endpoints=[server.url], cache=Path(cache))
        found = interview(items, candidates.a, candidates.b, servers)
        seconds = time.perf_counter() - started
    assert len(found.opinions) == len(candidates), "every pair is labelled"
    return float(found.counts["questions"]) / seconds


def _forget(server: Server) -> None:
    httpx.post(server.url.replace("/v1", "/reset_prefix_cache"), trust_env=False, timeout=60).raise_for_status()


def kills(folder: Path, model: Path, pairs: int, clients: int, servers: int, seed: int) -> None:
    """Kill -9 at random moments; count pairs that were answered but not kept, and pairs that were kept twice."""
    chance = random.Random(seed)
    _write(f"shards of {SHARD} pairs\n\n")
    _write(markdown_table(("killed", "pairs kept before", "kept after", "answered but lost", "kept twice"), []))
    with serve(str(model), folder / "vllm.log", ServerSettings()) as server:
        for number in range(clients):
            before, answered = len(_kept(folder)), _answered(server.url)
            os.environ[API_KEY_VARIABLES[0]] = server.key
            with _labelling(folder, model, pairs, "--endpoint", server.url) as process:
                _wait_for_answers(process, server.url, answered + chance.randint(1, 2 * pairs // clients))
                process.send_signal(signal.SIGKILL)
            _tell_kill(f"client {number + 1}", before, _kept(folder), _answered(server.url) - answered)
    for number in range(servers):
        before = len(_kept(folder))
        with _labelling(folder, model, pairs + 100 * (number + 1)) as process:
            victim = _server_of(process)
            url = f"http://127.0.0.1:{victim.cmdline()[victim.cmdline().index('--port') + 1]}/v1"
            _wait_for_answers(process, url, chance.randint(1, 100))
            answered = _answered(url)
            victim.kill()
        assert process.returncode == 4, f"a server that is gone is exit code 4, not {process.returncode}"
        _tell_kill(f"server {number + 1}", before, _kept(folder), answered)


def _tell_kill(who: str, before: int, kept: Sequence[Any], answered: int) -> None:
    """One row of the table; `answered` questions are two to a pair."""
    lost = max(answered / 2 - (len(kept) - before), 0)
    _write(f"| {who} | {before} | {len(kept)} | {lost:.1f} | {len(kept) - len(set(kept))} |\n")


def _labelling(folder: Path, model: Path, pairs: int, *more: str) -> subprocess.Popen[bytes]:
    words = ["label", "--model", str(model), "--budget", str(pairs), "-q", "-w", str(folder / "shop"), *more]
    words += ["--set", f"label.shard_pairs={SHARD}", "--set", "label.concurrency=8"]
    return subprocess.Popen([sys.executable, "-m", "mmsc_cli", *words], stderr=subprocess.DEVNULL)


def _server_of(process: subprocess.Popen[bytes]) -> psutil.Process:
    while process.poll() is None:
        for child in psutil.Process(process.pid).children():
            if "--port" in child.cmdline():
                return child
        time.sleep(0.2)
    sys.exit("label ended before it had started a server")


def _wait_for_answers(process: subprocess.Popen[bytes], url: str, count: int) -> None:
    while process.poll() is None and _answered(url) < count:
        time.sleep(0.05)


def _answered(url: str) -> int:
    """How many requests vLLM says that it has finished; 0 before it is up."""
    try:
        lines = httpx.get(url.replace("/v1", "/metrics"), trust_env=False, timeout=30).text.splitlines()
    except httpx.TransportError:
        return 0
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:request_success_total")))


def _kept(folder: Path) -> list[tuple[str, str]]:
    """Pairs in all shards, with repetitions."""
    found: list[tuple[str, str]] = []
    for shard in sorted((folder / "shop" / "answers").glob("answers-*.parquet")):
        table = pq.read_table(shard, columns=["item_a", "item_b"])
        found += zip(table["item_a"].to_pylist(), table["item_b"].to_pylist(), strict=True)
    return found


def rules(folder: Path, seed: int, each: int = 500) -> None:
    """Accuracy of the rules on true pairs of the demo shop and as many random ones that are neither."""
    _write_gold(folder, seed, each)
    ran = run_mmsc("label", "--model", "rules", "--gold", folder / "gold.csv", "--json", "-q", "-w", folder / "shop")
    _tell_verdict("rules", json.loads(ran.output)["counts"]["gold"])


def real(folder: Path, model: Path, pairs: int, seed: int) -> None:
    """A real model on the CPU: does the protocol hold with a real tokenizer, and what does the model know?

    `pairs` candidates are labelled, and `pairs` pairs of known truth, a third of each class. Separate questions (is it
    a substitute, is it a complement; yes or no) are put beside the one question with three options.
    """
    shop, options = folder / "shop", ("--model", model, "--budget", pairs)
    gold = _write_gold(folder, seed, pairs // 3)
    planned = json.loads(run_mmsc("label", *options, "--dry-run", "--json", "-q", "-w", shop).output)
    with serve(str(model), folder / "vllm.log", ServerSettings()) as server:
        os.environ[API_KEY_VARIABLES[0]] = server.key
        served = ("--endpoint", server.url, "--set", "label.concurrency=8")
        ran = run_mmsc("label", *options, *served, "--gold", folder / "gold.csv", "--json", "-q", "-w", shop)
        counts = json.loads(ran.output)["counts"]
        yes = _yes_or_no(server, str(model), read_items(shop / "items.parquet"), gold)
    measured = counts["tokens"] / counts["questions"]
    forecast = planned["prompt_tokens"] / planned["questions"]
    mass, agreement = counts["mean_label_mass"], counts["mean_agreement"]
    _write(f"{counts['labelled']} labels: label mass {mass:.3f}, agreement {agreement:.3f}, {counts['shares']}\n")
    _write(f"tokens a question: {measured:.0f}, forecast {forecast:.0f} ({forecast / measured - 1:+.0%})\n")
    _write(f"{counts['pairs_per_second']} pairs/s\n\n")
    _tell_verdict("model", counts["gold"])
    _write("\nyes-or-no questions, AUROC: ")
    truth = [label for _, _, label in gold]
    for column, relation in enumerate(RELATIONS):
        score = roc_auc_score([label == relation for label in truth], yes[:, column])
        _write(f"{relation} {score:.3f}{', ' if column == 0 else ''}")
    _write("\n")


def _smollm2(folder: Path) -> Path:
    model = folder / "smollm2"
    script = Path(__file__).with_name("smollm2.py")
    subprocess.run([os.environ[PYTHON_VARIABLE], script, model], check=True, capture_output=True)
    return model


YES_OR_NO = {
    "substitute": "Would a shopper who wants ITEM 1 accept ITEM 2 instead?",
    "complement": "Are ITEM 1 and ITEM 2 used together, so that a shopper of one may need the other in addition?",
}


def _yes_or_no(
    server: Server, model: str, items: pa.Table, gold: Sequence[tuple[str, str, str]]
) -> NDArray[np.float64]:
    """P(yes) / (P(yes) + P(no)) of both questions, the mean of both orders, shape (pairs, 2)."""
    row_of = {item_id: row for row, item_id in enumerate(items["item_id"].to_pylist())}
    quoted = quote_items(items, (row_of[item_id] for a, b, _ in gold for item_id in (a, b)))
    answers = np.zeros((len(gold), len(RELATIONS)))
    words = {"Yes": 1, "yes": 1, "No": 0, "no": 0}
    with httpx.Client(timeout=300, trust_env=False, headers={"Authorization": f"Bearer {server.key}"}) as client:
        url = server.url.replace("/v1", "/tokenize")
        tokens = set()
        for word in words:
            found = client.post(url, json={"model": model, "prompt": word, "add_special_tokens": False}).json()[
                "tokens"
            ]
            tokens |= set(found) if len(found) == 1 else set()
        body = {"max_tokens": 1, "logprobs": True, "top_logprobs": 20, "logprob_token_ids": sorted(tokens)}
        for (number, (a, b, _)), (column, question) in product(enumerate(gold), enumerate(YES_OR_NO.values())):
            for first, second in ((a, b), (b, a)):
                shown = f"ITEM 1: {quoted[row_of[first]]}\nITEM 2: {quoted[row_of[second]]}"
                content = f"{shown}\n{question} Answer Yes or No."
                messages = [{"role": "user", "content": content}]
                reply = client.post(
                    f"{server.url}/chat/completions", json={"model": model, "messages": messages, **body}
                )
                top = reply.raise_for_status().json()["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
                mass = [0.0, 0.0]
                for token in top:
                    if token["token"].strip() in words:
                        mass[words[token["token"].strip()]] += math.exp(token["logprob"])
                answers[number, column] += mass[1] / max(sum(mass), 1e-12) / 2
    return answers


def _write_gold(folder: Path, seed: int, each: int) -> list[tuple[str, str, str]]:
    """Write `gold.csv`: true pairs of both relations, and as many random ones that are neither."""
    truth = Truth.read(folder / "shop" / "truth.parquet")
    ids = read_items(folder / "shop" / "items.parquet")["item_id"].to_pylist()
    generator = numpy_generator(seed, "benchmarks/label/rules")
    drawn = [(row, name) for name in RELATIONS for row in generator.choice(np.flatnonzero(truth.holds(name)), each)]
    rows: list[tuple[str, str, str]] = [(ids[truth.a[row]], ids[truth.b[row]], name) for row, name in drawn]
    while len(rows) < 3 * each:
        a, b = sorted(generator.choice(len(ids), 2, replace=False).tolist())
        if truth.find(np.array([a]), np.array([b]), len(ids))[0] < 0:
            rows.append((ids[a], ids[b], "neither"))
    with (folder / "gold.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("a", "b", "label"), *rows])
    return rows


def _tell_verdict(who: str, gold: Mapping[str, Any]) -> None:
    low, high = gold["accuracy_ci"]
    _write(f"{gold['pairs']} pairs: accuracy {gold['accuracy']:.3f} ({low:.3f} to {high:.3f}), ")
    _write(f"{gold['raw_accuracy']:.3f} without calibration, macro-F1 {gold['macro_f1']:.3f}, ")
    _write(f"calibration error {gold['calibration_error']:.3f}\n\n")
    table = ((name, *map(str, row.values())) for name, row in gold["confusion"].items())
    _write(markdown_table(("truth", *(f"{who}: {name}" for name in CLASSES)), table))


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
