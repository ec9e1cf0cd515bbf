"""Pages of the documentation site that are not written for it; a hook of mkdocs (`mkdocs.yml`).

The READMEs of the packages, CONTRIBUTING, SECURITY and CHANGELOG become pages as they are; the table of equations is
the README's; the reference has a page for every package, from its docstrings. Links that lead to a file of the
repository go to its page; to source code, to its place in the reference; to anything else they become plain text.
At the end no page may load anything from a network.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.exceptions import Abort
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ood_bench", "oodgen", "know_your_space", "imood", "ascood", "mood_dpa")
READMES = {"shared/README.md": "packages/ood_shared.md"} | {
    f"packages/{name}/README.md": f"packages/{name}.md" for name in PACKAGES
}
WHOLE = READMES | {name: name.lower() for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")}
SOURCES = {"ood_shared": "shared/src"} | {name: f"packages/{name}/src" for name in PACKAGES}
EQUATIONS = "equations.md"
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
CODE = re.compile(r"(^```.*?^```$|`[^`\n]+`)", re.M | re.S)
LOADED = re.compile(
    r"<(?:script|img|iframe)[^>]+src=\"?https?:|<link[^>]+rel=\"?(?:stylesheet|preload)[^>]+href=\"?https?:"
)
MADE = "Made of the docstrings; a module's head says what it is for and where its equations come from."


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and the pictures that the repository keeps elsewhere."""
    for source, page in WHOLE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    files.append(File.generated(config, EQUATIONS, content=_equations()))
    for name in SOURCES:
        files.append(File.generated(config, f"reference/{name}.md", content=_reference(name)))
    for path in sorted(ROOT.glob("packages/*/docs/*.png")):
        files.append(File.generated(config, _picture(path), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Lead every link to where the site has what it means."""
    here = page.file.src_uri
    origin = next((source for source, target in WHOLE.items() if target == here), f"docs/{here}")
    if here == EQUATIONS:
        origin = "README.md"
    parts = CODE.split(markdown)  # odd ones are code
    return "".join(
        part if number % 2 else LINK.sub(lambda found: _link(found, origin, here, files), part)
        for number, part in enumerate(_joined(parts))
    )


def on_post_build(config: Any) -> None:
    """Refuse a site that would need a network to be read."""
    for path in sorted(Path(config["site_dir"]).rglob("*.html")):
        found = LOADED.search(path.read_text(encoding="utf-8"))
        if found:
            raise Abort(f"{path} loads from a network: {found[0]}")


def _joined(parts: list[str]) -> Iterator[str]:
    """Code in the text of a link belongs to the link: fences are kept apart, inline code is put back."""
    text = ""
    for part in parts:
        if part.startswith("```"):
            yield text
            yield part
            text = ""
        else:
            text += part
    yield text


def _link(found: re.Match[str], origin: str, here: str, files: Files) -> str:
    mark, text, target = found.groups()
    address, _, anchor = target.partition("#")
    if "://" in target or target.startswith("mailto:") or not address:
        return found[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), address))
    page, anchor = _page(path, anchor)
    if page is None or files.get_file_from_path(page) is None:
        return "" if mark else text
    relative = posixpath.relpath(page, posixpath.dirname(here) or ".")
    return f"{mark}[{text}]({relative}{'#' if anchor else ''}{anchor})"


def _page(path: str, anchor: str) -> tuple[str | None, str]:
    """The page, or the picture, that a file of the repository has on the site, and the anchor on it."""
    if path in WHOLE:
        return WHOLE[path], anchor
    if path == "README.md":
        return (EQUATIONS, "") if anchor == "find-the-equation" else ("index.md", "")
    if path.startswith("docs/"):
        return path.removeprefix("docs/"), anchor
    if path.endswith(".png"):
        return _picture(ROOT / path), ""
    for name, source in SOURCES.items():
        if path.startswith(f"{source}/{name}/") and path.endswith(".py"):
            module = path.removeprefix(f"{source}/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            return f"reference/{name}.md", module
    return None, ""


def _picture(path: Path) -> str:
    return f"pictures/{path.parents[1].name}/{path.name}"


def _equations() -> str:
    """The section of the README, which is the one place where the table is written."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return "# " + text.split("\n## Find the equation", 1)[1].split("\n## ", 1)[0].join(["Find the equation", ""])


def _reference(name: str) -> str:
    """Every module of a package with its public names."""
    top = ROOT / SOURCES[name]
    modules = [path.relative_to(top).with_suffix("").parts for path in sorted((top / name).rglob("*.py"))]
    named = [parts[:-1] if parts[-1] == "__init__" else parts for parts in modules]
    kept = [parts for parts in named if not any(part.startswith("_") for part in parts)]
    blocks = "\n\n".join(f"::: {'.'.join(parts)}" for parts in sorted(kept))
    return f"# {name}\n\n{MADE}\n\n{blocks}\n"
