from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from mmsc_cli.evaluate.baselines.named import BASELINES
from mmsc_cli.evaluate.context import EvaluationContext
from mmsc_cli.evaluate.evaluate import evaluate
from mmsc_cli.evaluate.report.report import COLOURS, render_report, write_report
from mmsc_cli.evaluate.settings import EvaluateSettings


class _Page(HTMLParser):
    """Checks that tags are balanced; keeps the tags, their attributes, and the text."""

    VOID = ("meta", "img", "br")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_says_what_was_measured(rendered: str) -> None:
    page = _Page(rendered)
    for word in ("resource-allocation", "cold_clean", "ndcg@10", "cannot tell", "not comparable", "95 %"):
        assert word in page.text.lower()
    for section in ("glance", "lists", "degree", "truth", "ablation", "training", "gallery", "sampled", "reading"):
        assert ("id", section) in page.attributes
        assert ("href", f"#{section}") in page.attributes
    assert "Left out: image-knn (there are no image embeddings)" in page.text
    assert "image was not tested: no item has an image" in page.text
    assert "llm stands for labels by judge & <co>" in page.text
    assert "regularisation 30.0" in page.text
    assert "1,234.50" in page.text
    assert "nan" not in page.text.lower()
    assert page.tags.count("article") == 4
    assert "leaf " in page.text, "the category of an item"
    assert "encoder <classic>" in page.text


def test_the_page_fetches_nothing_and_runs_nothing(rendered: str) -> None:
    page = _Page(rendered)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    loading = [value or "" for name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert all(value.startswith(("data:", "#")) for value in loading)
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not re.search(r"https?://|url\(|@import|javascript:", rendered)


def test_right_and_wrong_are_told_without_colour(rendered: str) -> None:
    page = _Page(rendered)
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert labels.count("held-out pair") == page.text.count("✓") - 1  # the legend has one
    assert labels.count("not among the held-out pairs") > 0


def test_a_script_that_got_in_could_neither_run_nor_fetch(rendered: str) -> None:
    head = rendered.split("</head>")[0]
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', head)
    assert policy is not None
    assert policy[1] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert not re.search(r"<script|<iframe|<base|<link|\son\w+=", rendered)


def test_what_a_catalogue_says_is_escaped(rendered: str) -> None:
    assert "<script>" not in rendered
    assert "&lt;script&gt;alert(" in rendered
    assert "{{ 7 * 7 }}" in _Page(rendered).text
    assert "Beauty &amp; &lt;co&gt;" in rendered


def test_marks_that_nobody_sees_are_shown(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any]
) -> None:
    scorer = fixed_scorer(np.zeros((120, 120), np.float32))
    result = evaluate(random_context(pairs=0), scorer, EvaluateSettings(baselines="none", bootstrap=10))
    rendered = render_report(
        result, title="pay\u200bpal", facts={"name": "\u202elap\U000e0041"}, warnings=["no <b>\u202eviews"]
    )

    assert not {"\u200b", "\u202e", "\U000e0041"} & set(rendered)
    text = _Page(rendered).text
    assert "pay\\u200bpal" in text
    assert "\\u202elap\\U000e0041" in text
    assert "no <b>\\u202eviews" in text


def test_an_empty_evaluation_renders(
    random_context: Callable[..., EvaluationContext], fixed_scorer: Callable[..., Any], tmp_path: Path
) -> None:
    scorer = fixed_scorer(np.zeros((120, 120), np.float32))
    settings = EvaluateSettings(baselines="none", bootstrap=10)
    page = render_report(evaluate(random_context(pairs=0), scorer, settings))
    write_report(tmp_path / "report.html", page)
    text = _Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert text.count("empty: there is no query of this kind") == 10
    for absent in ("A look at", "Against the truth", "What each part is worth", "Loss"):
        assert absent not in text


def test_the_page_opens_with_the_verdict(rendered: str) -> None:
    opening = _Page(rendered).text.split("At a glance")[0]
    for relation in ("Substitutes", "Complements"):
        assert re.search(
            rf"[+−][\d.]+ %\s+{relation} are (ahead of|behind|level with) the best baseline, [\w-]+ "
            r"\[[+−][\d.]+ % to [+−][\d.]+ %\]: NDCG@10 \d\.\d{3} against \d\.\d{3} over \d+ queries",
            opening,
        )
    assert re.search(r"Ahead of the best baseline on \d+ of 10 slices; ", opening)
    assert "encoder <classic>" in opening


def test_an_answer_says_why_it_is_one(rendered: str) -> None:
    assert _Page(rendered).text.count("seen & bought") > 10


def test_all_bars_have_one_scale_and_a_system_one_colour(rendered: str) -> None:
    assert len(set(re.findall(r"full width is ([\d.]+)", rendered))) == 1
    colours = re.findall(
        r'<span[^>]*>([\w-]+)(?: ★)?</span>\s*<span class="track"[^>]*><span class="bar (c\d)"', rendered
    )
    assert len(colours) == 4 * 5 * 2
    by_system = {name: {colour for other, colour in colours if other == name} for name, _ in colours}
    assert all(len(of_system) == 1 for of_system in by_system.values())
    assert len(set.union(*by_system.values())) == len(by_system) == 5
    assert rendered.count("★") == 10 + 1, "the best baseline of each slice is marked; the legend has one"


def test_there_is_a_colour_for_every_system(rendered: str) -> None:
    assert len(BASELINES) < COLOURS
    assert {int(number) for number in re.findall(r"\.c(\d+) {", rendered)} == set(range(COLOURS))
    schemes = re.findall(r":root {[^}]*}", rendered)
    assert len(schemes) == 3, "light, dark, and paper"
    assert all(f"--c{number}:#" in scheme for scheme in schemes for number in range(COLOURS))
