"""The page of one result."""

from pathlib import Path

from ood_shared.results.page import curves_of, sets_table, write_page
from ood_shared.results.record import write_result
from ood_shared.sections import Text
from ood_shared.testing.results import result


def test_the_page_and_its_pictures_stand_beside_the_result(tmp_path: Path) -> None:
    record, arrays = result("some", 0)
    write_result(tmp_path, record, arrays)
    write_page(tmp_path, record, arrays, "A title", "test.py --x 1", [Text("The paper's table", ["94.2"])])
    html = (tmp_path / "report.html").read_text()
    for words in ("A title", "The paper&#39;s table", "94.2", "test.py --x 1", "near", "far", "some cpu", "FPR95"):
        assert words in html, words
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("roc.png", "histograms.png"))
    assert html.index("94.2") < html.index("test.py --x 1")


def test_the_table_gives_every_set_in_percent() -> None:
    record, arrays = result("some", 0)
    table = sets_table(record)
    first = record["metrics"]["near"]["auroc"]
    assert [row[0].split("\n")[0] for row in table.rows] == ["near", "far"]
    assert table.rows[0][1].startswith(f"{100 * first['value']:.1f}\n{100 * first['low']:.1f} to")
    assert {name: len(ood) for name, (_, ood) in curves_of(record, arrays).items()} == {"near": 40, "far": 40}
