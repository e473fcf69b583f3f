"""How tidy the package is: lines, files, folders, import circles, long signatures, late imports.

python -m benchmarks.house                     this checkout
python -m benchmarks.house ROOT [ROOT]...      other checkouts beside each other, to compare
python -m benchmarks.house --names             also the names behind the numbers
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grimp
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from benchmarks.measured import markdown_table

PACKAGE = "mmsc_cli"
# What runs `mmsc` and what users import; nothing in the package needs to import them.
ENTRIES = {PACKAGE, f"{PACKAGE}.__main__"}
STAGES = ("prepare", "label", "encode", "train", "evaluate", "infer")
MOST_PARAMETERS = 8
_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class House:
    """One checkout. Figures are numbers; each list names what a number counts."""

    lines: int
    files: int
    folders: Counter[str]
    circles: list[str]
    between_stages: list[str]
    unused: list[str]
    long_signatures: list[str]
    late_imports: list[str]
    own_late_imports: list[str]

    def rows(self) -> dict[str, str]:
        """The table's column."""
        top = self.folders[PACKAGE]
        folder, modules = Counter({name: n for name, n in self.folders.items() if name != PACKAGE}).most_common(1)[0]
        return {
            "lines": f"{self.lines:,}",
            "files": f"{self.files}",
            "modules at the top level": f"{top}",
            "modules in the largest folder": f"{modules} ({folder})",
            "modules in import circles": f"{len(self.circles)}",
            "imports between stages": f"{len(self.between_stages)}",
            "modules that no module imports": f"{len(self.unused)}",
            f"functions with more than {MOST_PARAMETERS} parameters": f"{len(self.long_signatures)}",
            "imports inside functions": f"{len(self.late_imports)}",
            "of these, of our own modules": f"{len(self.own_late_imports)}",
        }

    def names(self) -> Iterator[str]:
        """What the numbers count, one line each."""
        for title in ("circles", "between_stages", "unused", "long_signatures", "late_imports"):
            yield from (f"{title.replace('_', ' ')}: {name}" for name in getattr(self, title))


def look_at(root: Path) -> House:
    """Read a checkout. It is parsed, never imported."""
    paths = sorted((root / PACKAGE).rglob("*.py"))
    texts = {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in paths}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    late = [line for name, tree in trees.items() for line in _late_imports(name, tree)]
    graph = _import_graph(root)
    importers = {name: graph.find_modules_that_directly_import(name) for name in graph.modules}
    packages = {name.removesuffix("/__init__.py").replace("/", ".") for name in texts if name.endswith("/__init__.py")}
    return House(
        lines=sum(len(text.splitlines()) for text in texts.values()),
        files=len(texts),
        folders=Counter(str(path.parent.relative_to(root)) for path in paths if path.name != "__init__.py"),
        circles=_circles(graph),
        between_stages=_between_stages(graph),
        unused=sorted(name for name in graph.modules - packages - ENTRIES if not importers[name]),
        long_signatures=[line for name, tree in trees.items() for line in _long_signatures(name, tree)],
        late_imports=late,
        own_late_imports=[line for line in late if f" {PACKAGE}" in line],
    )


def _import_graph(root: Path) -> grimp.ImportGraph:
    """Every import of the package, those for type checkers included."""
    sys.path.insert(0, str(root))  # grimp finds the package there, without importing it
    try:
        return grimp.build_graph(PACKAGE, cache_dir=None)
    finally:
        sys.path.remove(str(root))


def _circles(graph: grimp.ImportGraph) -> list[str]:
    """The modules that import themselves over others: strongly connected components of more than one module."""
    names = sorted(graph.modules)
    row = {name: number for number, name in enumerate(names)}
    edges = [(row[name], row[other]) for name in names for other in graph.find_modules_directly_imported_by(name)]
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    matrix = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(names), len(names)))
    _, component = connected_components(matrix, directed=True, connection="strong")
    sizes = Counter(component.tolist())
    return [name for name, number in zip(names, component.tolist(), strict=True) if sizes[number] > 1]


def _between_stages(graph: grimp.ImportGraph) -> list[str]:
    """Imports of a stage by another stage."""
    return [
        f"{name} -> {other}"
        for name in sorted(graph.modules)
        for other in sorted(graph.find_modules_directly_imported_by(name))
        if (stage := _stage(name)) and _stage(other) not in (None, stage)
    ]


def _stage(name: str) -> str | None:
    folder = name.split(".")[1:2]
    return folder[0] if folder and folder[0] in STAGES else None


def _long_signatures(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, _Function):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            parameters = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
            if len(parameters) > MOST_PARAMETERS:
                yield f"{name}:{node.lineno} {node.name} ({len(parameters)})"


def _late_imports(name: str, tree: ast.Module) -> Iterator[str]:
    """Imports inside functions, those in nested functions once."""
    late = {
        node
        for function in ast.walk(tree)
        if isinstance(function, _Function)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    for node in sorted(late, key=lambda node: node.lineno):
        module = node.module if isinstance(node, ast.ImportFrom) else ", ".join(alias.name for alias in node.names)
        yield f"{name}:{node.lineno} {module}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roots", nargs="*", type=Path, default=[Path(__file__).parents[1]], metavar="ROOT")
    parser.add_argument("--names", action="store_true")
    arguments = parser.parse_args()
    houses = [look_at(root.resolve()) for root in arguments.roots]
    columns = [house.rows() for house in houses]
    rows = [[title, *(column[title] for column in columns)] for title in columns[0]]
    sys.stdout.write(markdown_table(["", *(root.resolve().name for root in arguments.roots)], rows))
    if arguments.names:
        sys.stdout.write("\n" + "".join(f"{name}\n" for house in houses for name in house.names()))


if __name__ == "__main__":
    main()
