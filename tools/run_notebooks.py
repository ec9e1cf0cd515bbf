"""Run notebooks from their first cell to their last: `python tools/run_notebooks.py docs/notebooks/*.ipynb`.

Ends with status 1 and the cell's error where a cell fails, and where a notebook is stored with outputs: they would be
of another run, and make every change of a notebook large. `jupyter nbconvert --clear-output --inplace` removes them.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

SECONDS = 300  # of one cell, at most


def main(paths: list[str]) -> int:
    """Run each, and say how long it took."""
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    os.environ.setdefault("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    failed = 0
    for path in map(Path, paths):
        started = time.perf_counter()
        problem = stored_outputs(path) or run(path)
        failed += problem is not None
        print(f"{path}: {problem or 'passed'}, {time.perf_counter() - started:.0f} s", flush=True)
    return 1 if failed or not paths else 0


def stored_outputs(path: Path) -> str | None:
    """Which cells have outputs."""
    cells = nbformat.read(path, as_version=4).cells
    kept = [str(number) for number, cell in enumerate(cells) if cell.get("outputs") or cell.get("execution_count")]
    return f"stored with outputs in cells {', '.join(kept)}; clear them" if kept else None


def run(path: Path) -> str | None:
    """The error of the first cell that fails."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3")
    try:
        client.execute(cwd=str(path.parent))
    except (CellExecutionError, TimeoutError) as error:
        return f"a cell failed\n{error}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
