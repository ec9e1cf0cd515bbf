"""Every worked case of the config system, and every real command line."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ascood import config
from ood_shared.errors import InputError
from ood_shared.testing.golden import Golden, golden_dir

PACKAGE = Path(__file__).parents[2]
GOLDEN = Golden(golden_dir("ascood", Path(__file__).parent))
CASES = GOLDEN.json("config_cases")
LINES = CASES["real_command_lines"]


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_a_worked_case_gives_the_config_or_an_error(case, tmp_path):
    if "quirk" in case and "recommended" not in case:
        pytest.skip(f"quirk {case['quirk']} is fixed, and the reference has no value for the fix")
    expected = case.get("recommended", case)
    files = []
    for number, text in enumerate(case["files"]):
        files.append(tmp_path / f"{number}.yml")
        files[-1].write_text(text)
    if "error" in expected:
        with pytest.raises(InputError):
            config.load_config(files, case["args"])
    else:
        assert config.load_config(files, case["args"]) == expected["result"]


@pytest.mark.parametrize("line", [line for line in LINES if "resolved" in line], ids=lambda line: line["script"])
def test_a_training_command_resolves_to_the_config_of_the_reference(line, monkeypatch):
    monkeypatch.chdir(PACKAGE)
    argv = line["argv"][2:]
    split = next((at for at, word in enumerate(argv) if word.startswith("--")), len(argv))
    found = config.load_config(argv[:split], argv[split:])
    expected = dict(line["resolved"])
    ood_type = expected.get("trainer", {}).get("trainer_args", {}).get("ood_type")

    def marked(folder):
        return folder.replace(f"_otype_{ood_type}_alpha_", f"_otype_{ood_type}_nmg_")

    expected |= {key: marked(expected[key]) for key in ("exp_name", "output_dir") if key in expected}
    assert found == expected
    assert found["output_dir"] == marked(line["output_dir"])


@pytest.mark.parametrize("line", [line for line in LINES if "resolved" not in line], ids=lambda line: line["script"])
def test_another_command_is_accepted_by_its_parser(line):
    from ascood import cli

    parsers = {
        "download.py": cli.download_parser,
        "eval_ood.py": cli.eval_parser,
        "eval_ood_imagenet.py": cli.imagenet_parser,
    }
    parsers[Path(line["argv"][0]).name]().parse_args(line["argv"][1:])


# OpenOOD's other scripts (scope `should`) are not shipped; what their commands mean is tested above
SCRIPTED = [line for line in LINES if line["script"].startswith("scripts/") and line["scope"] == "must"]


@pytest.mark.parametrize("line", SCRIPTED, ids=lambda line: line["script"])
def test_a_script_runs_the_command_of_the_reference(line, tmp_path):
    """A stand-in for python writes down what it was called with; folders that test scripts look for exist."""
    recorder = tmp_path / "python"
    recorder.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    recorder.chmod(0o755)
    words = " ".join(map(shlex.quote, line["argv"]))
    root = line["argv"][line["argv"].index("--root") + 1] if "--root" in line["argv"] else None
    if root:
        for other in LINES:
            if "--root" in other["argv"]:
                (tmp_path / other["argv"][other["argv"].index("--root") + 1]).mkdir(parents=True, exist_ok=True)
    found = subprocess.run(
        ["bash", str(PACKAGE / line["script"]), "--extra", "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "ASCOOD_HERE": "1"},
    )
    assert found.returncode == 0, found.stderr
    assert [*line["argv"], "--extra", "1"] in [eval(out) for out in found.stdout.splitlines() if out.startswith("[")], (
        words,
        found.stdout,
    )
