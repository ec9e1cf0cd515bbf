"""configs, config_merge, nt_xent, simclr_schedule, simclr_state_dict, save_2d."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from mood_dpa import cli
from mood_dpa.config_files import merge, read_config
from mood_dpa.data.slices import SliceFolder
from mood_dpa.data.volumes import write_volume
from mood_dpa.simclr import SimCLR, cosine_rates, nt_xent
from ood_shared.testing.golden import Golden, check_each, names, stems

from .conftest import GOLDEN

PACKAGE = Path(__file__).parents[2]
CONFIGS = {name: value for name, value in GOLDEN.json("configs").items() if isinstance(value, dict)}
SAVED = GOLDEN.json("save_2d")


def with_text_keys(value):
    if isinstance(value, dict):
        return {str(key): with_text_keys(entry) for key, entry in value.items()}
    return [with_text_keys(entry) for entry in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_shipped_configs_hold_the_published_values(name: str) -> None:
    assert with_text_keys(read_config(PACKAGE / name)) == CONFIGS[name]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    for axis in range(3):
        meta = PACKAGE / f"configs/cross_validation/axis_{axis}"
        templates = [str(meta / f"{name}.yaml") for name in ("meta_train", "meta_inference_3d")]
        assert cli.main(["expand-cv", *templates, str(folder / f"axis_{axis}")]) == 0
    return folder


@pytest.mark.parametrize("name", [name for name in CONFIGS if "/cv/" in name and "/0/" in name])
def test_the_grid_expands_from_its_templates(name: str, grid: Path) -> None:
    _, _, axis, _, *rest = name.split("/")
    assert with_text_keys(read_config(grid / axis / "/".join(rest))) == CONFIGS[name]


@pytest.mark.parametrize("number", range(len(GOLDEN.json("config_merge"))))
def test_merge_agrees(number: int, golden: Golden) -> None:
    case = golden.json("config_merge")[number]
    assert merge(case["base"], case["overrides"]) == case["result"]


@pytest.mark.parametrize("ident", stems(GOLDEN.npz("nt_xent"), "*/zi", "*/zj", "*/loss", "*/grad_zi"))
def test_nt_xent_and_its_gradient_agree(ident: str, golden: Golden) -> None:
    arrays = golden.npz("nt_xent")
    case = next((c for c in golden.json("nt_xent") if str(c["id"]) == ident), None)
    if case is None:
        pytest.skip(f"nt_xent.json has no entry with the id {ident}")
    zi, zj = (torch.from_numpy(arrays[f"{ident}/{name}"]) for name in ("zi", "zj"))
    zi.requires_grad_()
    pair = [torch.nn.functional.normalize(z, dim=1) for z in (zi, zj)] if case["l2_normalised_first"] else [zi, zj]
    loss = nt_xent(*pair, case["temperature"], case["cosine"])
    loss.backward()
    near = partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    check_each(arrays, {f"{ident}/loss": loss.detach(), f"{ident}/grad_zi": zi.grad}, near)
    check_each(case, {"loss": loss.detach()}, near)


@pytest.mark.parametrize("number", range(len(GOLDEN.json("simclr_schedule"))))
def test_learning_rates_agree(number: int, golden: Golden) -> None:
    case = golden.json("simclr_schedule")[number]
    rates = cosine_rates(case["epochs"], case["n_batches"], case["epoch_warmup"], case["T_max_decrease"])
    np.testing.assert_allclose(rates, case["lr_used_in_epoch"], rtol=0, atol=1e-12)


def test_simclr_has_the_published_keys(golden: Golden) -> None:
    with torch.device("meta"):
        found = [[key, list(value.shape)] for key, value in SimCLR().state_dict().items()]
    assert found == golden.json("simclr_state_dict")["keys"]


def test_simclr_has_the_published_size_and_outputs(golden: Golden) -> None:
    want = golden.json("simclr_state_dict")
    with torch.device("meta"):
        network = SimCLR()
        h, z = network(torch.zeros(2, *want["input"]))
    found = {"n_params": sum(p.numel() for p in network.parameters()), "h_dim": h.shape[1], "z_dim": z.shape[1]}
    check_each(want, found, np.testing.assert_array_equal)


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("volumes")
    arrays = GOLDEN.npz("save_2d")
    for name in names(arrays, "in/*"):
        write_volume(folder / name, arrays[f"in/{name}"], np.eye(4))
    (folder / "notes.txt").write_text("not a volume\n")
    return folder


def save_2d(case: dict, packed: bool, volumes: Path, tmp_path: Path) -> SliceFolder:
    """The folder that the command makes, as slices or packed."""
    words = ["save-2d", "-i", str(volumes), "-o", str(tmp_path), "-a", str(case["axis"])]
    words += ["-f"] * bool(case["filter"]) + (["-r", str(case["resize"])] if case["resize"] else [])
    assert cli.main([*words, *["--packed"] * packed]) == 0
    return SliceFolder(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", SAVED, ids=lambda c: str(c["id"]))
def test_save_2d_agrees(case: dict, packed: bool, volumes: Path, tmp_path: Path, golden: Golden) -> None:
    arrays = golden.npz("save_2d")
    folder = save_2d(case, packed, volumes, tmp_path)
    assert folder.names == case["files"]
    if case["shape"] is None:
        assert not folder.names
        return
    found = [folder.read(name) for name in folder.names]
    assert {str(a.dtype) for a in found} == {case["dtype"]}
    assert {a.shape[-2:] for a in found} == {tuple(case["shape"])}
    sums, nonzero = [a.astype(np.float64).sum() for a in found], [int((a > 0).sum()) for a in found]
    values = {f"out/{case['id']}/sums": sums, f"out/{case['id']}/nonzero": nonzero}
    check_each(arrays, values, partial(np.testing.assert_allclose, rtol=1e-5))


@pytest.mark.parametrize("case", [case for case in SAVED if case.get("shape")], ids=lambda c: str(c["id"]))
def test_slices_of_save_2d_agree(case: dict, volumes: Path, tmp_path: Path, golden: Golden) -> None:
    arrays, folder = golden.npz("save_2d"), save_2d(case, False, volumes, tmp_path)
    found = [folder.read(name) for name in folder.names]
    for position, want in zip(arrays[f"out/{case['id']}/idx"], arrays[f"out/{case['id']}/arrays"], strict=True):
        if case["dtype"] == "float16":
            assert np.array_equal(found[position], want)
        else:
            np.testing.assert_allclose(found[position], want, rtol=0, atol=1e-6)
