"""The pages of the repository as they are read in a checkout; the site's own links are checked where it is built."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def pages() -> list[Path]:
    return sorted(
        {*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("packages/*/*.md"), ROOT / "shared/README.md"}
    )


def anchors(page: Path) -> set[str]:
    """Of its headings, as code hosts and the site make them: lower case, without marks, a hyphen for a space."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


@pytest.mark.skipif(not (ROOT / "packages").is_dir(), reason="ood-shared stands here without the packages")
def test_links_between_the_pages_lead_to_a_file_and_to_a_heading_of_it() -> None:
    found, astray = 0, []
    for page in pages():
        for target in LINK.findall(CODE.sub("code", page.read_text(encoding="utf-8"))):
            address, _, anchor = target.partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            found += 1
            there = (page.parent / address).resolve() if address else page
            if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
                astray.append(f"{page.relative_to(ROOT)}: {target}")
    assert found > 100
    assert astray == []
