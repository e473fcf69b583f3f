"""`mmsc label`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from mmsc_cli.cli.options import Session, command
from mmsc_cli.cli.output import Output
from mmsc_cli.errors import InputError
from mmsc_cli.runtime.plain_words import counted


@dataclass(frozen=True)
class BudgetOptions:
    """How many pairs are asked about, and in how many goes."""

    budget: Annotated[int | None, typer.Option(min=1, metavar="N", help="Number of pairs to annotate.")] = None
    rounds: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Spend the budget in N rounds and train in between: later rounds ask about what would be shown.",
        ),
    ] = None


@dataclass(frozen=True)
class SubjectOptions:
    """What is asked about beside pairs, or in their place."""

    propose: Annotated[
        bool | None,
        typer.Option(
            "--propose/--no-propose",
            help="Also ask which product types go with each product type, and which replace it.",
        ),
    ] = None
    captions: Annotated[
        bool,
        typer.Option(
            "--captions",
            help="Ask a model that sees what each picture shows, and label nothing; `encode` and `label` then read "
            "that as text.",
        ),
    ] = False


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "label",
        "mmsc label --model rules",
        "mmsc label --model llama --budget 5000",
        "mmsc label --model qwen --endpoint http://gpu1:8000/v1 --endpoint http://gpu2:8000/v1",
        "mmsc label --model ./my-model --dry-run",
        "mmsc label --captions --model qwen-vl",
        "mmsc label --model rules --gold judged-by-people.csv --json | jq .counts.gold.accuracy",
    )
    def label_command(
        session: Session,
        spent: BudgetOptions,
        subject: SubjectOptions,
        model: Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                help="llama, qwen, qwen-vl (sees images), mistral, a model's name or path; rules (metadata only, no "
                "LLM); or, on generated data, oracle:0.8 (correct 80 % of the time).",
            ),
        ] = None,
        endpoint: Annotated[
            list[str] | None,
            typer.Option(
                metavar="URL",
                help="URL of an OpenAI-compatible server, instead of starting vLLM; MMSC_API_KEY holds its key. "
                "Repeatable: questions are spread over the servers.",
            ),
        ] = None,
        gold: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE",
                help="File of human labels (columns a, b, label); also labels these pairs and reports accuracy.",
            ),
        ] = None,
        max_failures: Annotated[
            int | None, typer.Option(min=1, metavar="N", help="Stop after N failed questions.")
        ] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", help="Show prompts, the mix of pairs and the cost; label nothing.")
        ] = False,
    ) -> None:
        """Annotate pairs: substitute, complement or neither.

        A second opinion for training, by a language model or, with --model rules, by metadata alone.
        """
        from mmsc_cli.label.stage import plan_label, run_captions  # noqa: PLC0415  brings pyarrow and scipy
        from mmsc_cli.pipeline import label_in_rounds  # noqa: PLC0415  brings pyarrow and scipy

        started = time.monotonic()
        flags = {
            "caption.model" if subject.captions else "label.model": model,
            "label.budget": spent.budget,
            "label.rounds": spent.rounds,
            "label.propose": subject.propose,
            "label.max_failures": max_failures,
        }
        recipe = session.recipe(flags)
        if subject.captions:
            if dry_run or gold or subject.propose or spent.budget or spent.rounds:
                raise InputError("--captions labels nothing", hint="leave the options of labels out")
            counts = run_captions(session.workspace, recipe, endpoint or [], session.progress)
            session.finish("caption", counts, started, _caption_summary(counts))
            return
        if dry_run:
            _show_plan(session.out, plan_label(session.workspace, recipe, endpoint or []))
            return
        counts = label_in_rounds(session.workspace, recipe, endpoint or [], session.device, session.progress, gold=gold)
        session.finish("label", counts, started, _summary(counts))
        if gold and not session.out.as_json:
            _show_verdict(session.out, counts["gold"])


def _show_plan(out: Output, plan: dict[str, Any]) -> None:
    if out.as_json:
        out.json(plan)
        return
    for number, prompt in enumerate(plan.pop("prompts"), start=1):
        out.text(f"--- prompt {number}\n{prompt}\n")
    plan["mix"] = ", ".join(f"{name} {count:,}" for name, count in plan["mix"].items())
    out.write("".join(f"{name.replace('_', ' ')}: {value}\n" for name, value in plan.items()))


def _caption_summary(counts: Mapping[str, Any]) -> str:
    figures = ", ".join(f"{counts[name]:,} {name}" for name in ("asked", "reused", "failed", "retried"))
    told = f"{counted(counts['captions'], 'item')} with a caption by {counts['annotator']}"
    return f"{told}; {counted(counts['pictures'], 'different picture')}: {figures}"


def _summary(counts: Mapping[str, Any]) -> str:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in counts["shares"].items())
    turn = f"round {counts['round']} of {counts['rounds']}: " if counts["rounds"] > 1 else ""
    parts = [f"{turn}{counted(counts['labelled'], 'pair')} by {counts['annotator']}: {shares}"]
    if counts["labelled"]:
        parts.append(f"agreement {counts['mean_agreement']:.2f}, label mass {counts['mean_label_mass']:.2f}")
    speed = f"{counts['pairs_per_second']:,} pairs/s"
    parts.append(speed + (f", {counts['tokens_per_second']:,} tokens/s" if "tokens_per_second" in counts else ""))
    parts.append(", ".join(f"{counts[name]:,} {name}" for name in ("asked", "reused", "failed", "retried")))
    if "proposals" in counts:
        parts.append(f"{counted(counts['proposals'], 'proposal')} between product types")
    return "; ".join(parts)


def _show_verdict(out: Output, gold: Mapping[str, Any]) -> None:
    figures = [[name, value] for name, value in gold.items() if not isinstance(value, dict | list)]
    if gold["accuracy_ci"]:
        figures += map(list, zip(("accuracy_low", "accuracy_high"), gold["accuracy_ci"], strict=True))
    out.table(("figure", "value"), [[name, "-" if value is None else value] for name, value in figures])
    head = ("people say", *(f"model: {name}" for name in gold["confusion"]))
    out.table(head, [[name, *row.values()] for name, row in gold["confusion"].items()])
