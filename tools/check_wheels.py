"""What a wheel must hold before it is published: `python tools/check_wheels.py FOLDER` looks at every wheel in it.

Licence text, `py.typed`, authors, keywords, classifiers, the address of its paper, a long description without links
into the repository, the files that its commands read, and no other version of `ood-shared` than its own. Ends with
status 1 and a line for each thing that is missing.
"""

import re
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HELD = {  # beside code: folders of the repository, and where they are in the wheel
    "ascood": {"packages/ascood/configs": "ascood/configs"},
    "imood": {"packages/imood/datasets": "imood/datasets"},
    "mood_dpa": {
        "packages/mood_dpa/configs": "mood_dpa/configs",
        "packages/mood_dpa/folds": "mood_dpa/folds",
        "packages/mood_dpa/submission_data/configs": "mood_dpa/submission_data/configs",
        "packages/mood_dpa/submission_data/scripts": "mood_dpa/submission_data/scripts",
        "packages/mood_dpa/anomaly_detection": "anomaly_detection",
    },
    "ood_shared": {"shared/src/ood_shared/templates": "ood_shared/templates"},
}
FIELDS = ("Author", "Keywords", "Classifier", "License-Expression", "Summary", "Requires-Python")
WITHOUT_A_PAPER = ("ood_shared", "ood_bench", "ood_papers")
INTO_THE_REPOSITORY = re.compile(r"\]\((?!https?:)[^)]*\)")


def problems(wheel: Path) -> list[str]:
    """What is missing in a wheel, a line each."""
    name, version = wheel.name.split("-")[:2]
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        info = f"{name}-{version}.dist-info"
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        licence = f"{info}/licenses/LICENSE"
        found = [] if licence in held else ["no licence text"]
        if licence in held and archive.read(licence) != (ROOT / "LICENSE").read_bytes():
            found.append("its LICENSE is not that of the repository")
    found += [f"no {path}" for path in [f"{name}/py.typed", *_files(name)] if path not in held]
    found += [f"tests are in it: {path}" for path in sorted(held) if "/tests/" in path]
    if name not in WITHOUT_A_PAPER and not metadata.get("Project-URL", "").startswith("Paper, https://"):
        found.append("no address of its paper (Project-URL)")
    return found + _metadata_problems(metadata, version)


def _files(name: str) -> list[str]:
    return [
        f"{there}/{path.relative_to(ROOT / here).as_posix()}"
        for here, there in HELD.get(name, {}).items()
        for path in sorted((ROOT / here).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]


def _metadata_problems(metadata: Message, version: str) -> list[str]:
    found = [f"no {field}" for field in FIELDS if not metadata.get(field)]
    links = INTO_THE_REPOSITORY.findall(str(metadata.get_payload()))
    found += [f"its description links into the repository: {link[1:]}" for link in links]
    for needed in metadata.get_all("Requires-Dist", []):
        if needed.startswith("ood-shared") and "extra ==" not in needed and not needed.endswith(f"=={version}"):
            found.append(f"needs {needed}; expected version {version} of it")
    return found


def main(folder: Path) -> int:
    """Print what is missing; 0 when nothing is."""
    wheels = sorted(folder.glob("*.whl"))
    told = [f"{wheel.name}: {problem}" for wheel in wheels for problem in problems(wheel)]
    print("\n".join(told) or f"{len(wheels)} wheels hold what they should")
    return 1 if told or not wheels else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
