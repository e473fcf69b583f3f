"""`mmsc label`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from mmsc_cli.cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command."""

    @command(
        app,
        "label",
        "mmsc label --model rules",
        "mmsc label --model llama --budget 5000",
        "mmsc label --model qwen --endpoint http://gpu1:8000/v1",
        "mmsc label --dry-run",
    )
    def label_command(
        session: Session,
        model: Annotated[
            str | None,
            typer.Option(
                metavar="NAME",
                help="llama, qwen, mistral, a model's name or path; rules (metadata only, no LLM); or, on generated "
                "data, oracle:0.8 (right so often).",
            ),
        ] = None,
        endpoint: Annotated[
            list[str] | None,
            typer.Option(metavar="URL", help="An OpenAI-compatible server, instead of starting vLLM. Repeatable."),
        ] = None,
        budget: Annotated[int | None, typer.Option(min=1, metavar="N", help="How many pairs to annotate.")] = None,
        dry_run: Annotated[bool, typer.Option("--dry-run", help="Show prompts, mix and cost; ask nothing.")] = False,
    ) -> None:
        """Annotate pairs: substitute, complement or neither.

        A second opinion for training, by a language model or, with --model rules, by metadata alone.
        """
        from mmsc_cli.pipeline import plan_label, run_label

        started = time.monotonic()
        recipe = session.recipe({"label.model": model, "label.budget": budget})
        if dry_run:
            plan = plan_label(session.workspace, recipe)
            if session.out.as_json:
                session.out.json(plan)
            else:
                for number, prompt in enumerate(plan.pop("prompts"), start=1):
                    session.out.write(f"--- prompt {number}\n{prompt}\n")
                session.out.write("".join(f"{name}: {value}\n" for name, value in plan.items()))
            return
        counts = run_label(session.workspace, recipe, endpoint or [], session.progress)
        shares = ", ".join(f"{name} {share:.0%}" for name, share in counts["shares"].items())
        session.finish("label", counts, started, f"{counts['labelled']:,} pairs by {counts['annotator']}: {shares}")
