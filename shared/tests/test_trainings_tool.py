"""`tools/trainings.py`: what it looks at before the first training begins."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest
from ood_shared.errors import InputError

TOOLS = Path(__file__).parents[2] / "tools"
pytestmark = pytest.mark.skipif(not TOOLS.is_dir(), reason="ood-shared stands here without the tools of the repository")


@pytest.fixture
def tool(monkeypatch):
    """The module `trainings`, found as it is when it is started."""
    monkeypatch.syspath_prepend(str(TOOLS))
    import trainings

    yield trainings
    for name in ("trainings", "training", "training_list", "oodgen_training_list", "gpu_training_list"):
        sys.modules.pop(name, None)


def run(tool, data: Path | None, *only: str) -> int:
    work = Path("work")
    options = Namespace(verb="run", data=data, work=work, only=only, package=tool.PACKAGES, gpu=False, seconds=1.0)
    return tool.answer(options)


def test_every_training_that_reads_the_data_sets_says_which(tool):
    reading = [training for training in (*tool.TRAININGS, *tool.ON_A_GPU) if training.needs_data]
    assert len(reading) > 10
    assert [training.name for training in reading if not training.needs] == []
    assert [
        training.name for training in (*tool.TRAININGS, *tool.ON_A_GPU) if training.needs and training not in reading
    ] == []


def test_an_empty_folder_is_refused_with_all_that_it_lacks_before_anything_begins(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "empty"
    data.mkdir()
    with pytest.raises(InputError) as refused:
        run(tool, data)
    line = str(refused.value)
    assert "FashionMNIST/raw, MNIST/raw, cifar10_imagefolder.tar.gz" in line
    assert " or medmnist/pneumoniamnist.npz or " in line
    assert " oodgen_fmnist_vae and 20 more need them: " in line  # the others use embedded images alone
    assert not Path("work").exists()


def test_one_of_two_places_is_enough_and_what_another_training_needs_is_not_asked_for(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("medmnist/pneumoniamnist.npz", "chest_xray224.tar", "mednist64.tar.gz"):
        Path("data", name).parent.mkdir(parents=True, exist_ok=True)
        Path("data", name).touch()
    begun = []
    monkeypatch.setattr(tool, "_run", lambda training, *_: begun.append(training.name))
    assert run(tool, Path("data"), "know_your_space_contrast") == 0
    assert begun == ["know_your_space_contrast"]
    with pytest.raises(InputError, match=r"lacks ood32_textures\.tar\.gz\. know_your_space_ablation needs"):
        run(tool, Path("data"), "know_your_space_contrast", "know_your_space_ablation")
