"""How much data the repository carries for its tests."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 12_000_000  # bytes
CODE = (".py", ".pyc", ".md")


@pytest.mark.skipif(not (ROOT / "packages").is_dir(), reason="ood-shared stands here without the packages")
def test_all_test_data_stay_below_twelve_megabytes() -> None:
    folders = [ROOT / "shared/tests", *sorted((ROOT / "packages").glob("*/tests"))]
    assert len(folders) > 1
    sizes = {
        str(folder.relative_to(ROOT)): sum(
            path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.suffix not in CODE
        )
        for folder in folders
    }
    assert sum(sizes.values()) < LIMIT, sizes
