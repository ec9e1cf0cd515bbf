import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from ood_shared import looks, metrics, plots
from ood_shared.errors import InputError
from ood_shared.plots import scores
from PIL import Image

ID = np.array([0.1, 0.2, 0.2, 0.4, 0.6])
OOD = np.array([0.2, 0.5, 0.6, 0.9])
RANDOM = np.random.default_rng(0)


def labels(axes):
    return [text.get_text() for text in (axes.get_legend() or axes.figure.legends[0]).get_texts()]


def drawn(figure):
    return np.asarray(Image.open(io.BytesIO(plots.to_png(figure, dpi=50))).convert("RGB"))


def test_roc_passes_the_points_of_the_curve_and_shows_no_false_alarm_at_the_left_edge():
    axes = plots.roc({"m": (ID, OOD)}).axes[0]
    edge = axes.get_xlim()[0]
    assert axes.get_xscale() == "log"
    assert edge == 0.5 / len(ID)
    np.testing.assert_allclose(axes.lines[1].get_xdata(), [edge, *(np.array([1, 1, 2, 4, 5]) / 5)])
    np.testing.assert_allclose(axes.lines[1].get_ydata(), np.array([1, 2, 3, 3, 4, 4]) / 4)


def test_roc_names_each_curve_with_its_auroc():
    figure = plots.roc({"one": (ID, OOD), "two": (OOD, ID)})
    assert labels(figure.axes[0]) == ["chance", "one (AUROC 0.775)", "two (AUROC 0.225)"]


def test_roc_of_many_scores_keeps_its_ends_and_few_points_and_strays_nowhere():
    id_scores, ood_scores = RANDOM.normal(size=50_000), RANDOM.normal(1, 1, size=50_000)
    axes = plots.roc({"m": (id_scores, ood_scores)}).axes[0]
    points = np.column_stack(axes.lines[1].get_data())
    assert len(points) <= scores.MOST_POINTS
    fpr, tpr = metrics.roc_curve(id_scores, ood_scores)
    assert points[0].tolist() == [scores.LEAST_FPR, tpr[fpr <= scores.LEAST_FPR].max()]
    assert points[-1].tolist() == [1, 1]
    between = (fpr > 2e-3) & (fpr < 1)
    drawn_tpr = np.interp(np.log(fpr[between]), np.log(points[:, 0]), points[:, 1])
    assert np.abs(drawn_tpr - tpr[between]).max() < 0.005


def test_sixteen_curves_are_told_apart_by_colour_and_by_dash_with_marker():
    axes = plots.roc({str(n): (ID, OOD) for n in range(16)}).axes[0]
    assert [line.get_marker() for line in axes.lines[1:]] == [looks.marker(n) for n in range(16)]
    assert len({(looks.line(n)["linestyle"], looks.marker(n)) for n in range(16)}) == 16
    values = np.array([lightness_and_hue(line.get_color()) for line in axes.lines[1:]])
    apart = np.linalg.norm(values[:, None] - values[None], axis=-1)[np.triu_indices(16, 1)]
    assert apart.min() > 25  # CIELAB; 2 is just seen


def lightness_and_hue(colour):
    """CIELAB of a colour like #0072B2, in the light D65."""
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    xyz = linear @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    x, y, z = np.cbrt(xyz / [0.9505, 1, 1.089])
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("length", [2, 6, 10, 14, 22])
@pytest.mark.parametrize("count", [1, 6, 7, 13])
def test_the_words_of_a_roc_figure_stay_inside_and_the_legend_off_the_curves(count, length):
    figure = plots.roc({f"{n:x}".ljust(length, "e"): (ID, OOD) for n in range(count)})
    figure.draw_without_rendering()
    axes, (width, height) = figure.axes[0], figure.get_size_inches() * figure.dpi
    (legend,) = [*figure.legends, *filter(None, [axes.get_legend()])]
    boxes = [part.get_window_extent() for part in (axes.xaxis.label, axes.yaxis.label, legend)]
    assert min(box.x0 for box in boxes) >= 0
    assert min(box.y0 for box in boxes) >= 0
    assert max(box.x1 for box in boxes) <= width
    assert max(box.y1 for box in boxes) <= height
    assert legend.get_window_extent().x0 >= axes.get_window_extent().x1


def test_histograms_count_every_score_also_infinite_ones():
    scores = np.array([0.0, 1.0, 2.0, np.inf, -np.inf, 1e30])
    figure = plots.histograms(ID, {"set": scores})
    heights = figure.axes[0].patches[2].get_data().values
    assert heights.sum() == pytest.approx(100)


def test_histograms_have_one_panel_per_ood_set_on_one_axis():
    figure = plots.histograms(ID, {"near": OOD, "far": OOD + 5, "farther": OOD + 9})
    shown = [axes for axes in figure.axes if axes.axison]
    assert [labels(axes) for axes in shown] == [["ID", "near"], ["ID", "far"], ["ID", "farther"]]
    assert len({axes.get_xlim() for axes in shown}) == 1


def test_histograms_are_flat_for_id_and_their_last_bar_is_what_is_caught_at_5_percent():
    id_scores, ood_scores = RANDOM.normal(size=1000), np.append(RANDOM.normal(1, 1, size=499), 1e12)
    bars = [patch.get_data().values for patch in plots.histograms(id_scores, {"set": ood_scores}).axes[0].patches]
    assert bars[0].tolist() == [5.0] * 20
    assert bars[2][-1] == pytest.approx(100 * (ood_scores > np.quantile(id_scores, 0.95)).mean(), abs=0.21)
    assert (bars[2][8:] > 0).all()  # the far score squeezes nothing


def test_a_tie_with_id_scores_stands_in_the_middle_of_them():
    bars = plots.histograms(np.array([0.0, 1.0, 1.0, 2.0]), {"set": np.ones(3)}, bins=5).axes[0].patches
    assert bars[2].get_data().values.tolist() == [0, 0, 100, 0, 0]


def test_histograms_of_constant_scores_are_drawn():
    assert drawn(plots.histograms(np.ones(3), {"same": np.ones(4)})).std() > 0


def test_histograms_take_tensors():
    assert plots.histograms(torch.zeros(3), {"set": torch.ones(4, dtype=torch.bfloat16)}).axes


def test_training_curves_start_at_the_first_step():
    axes = plots.curves({"train": [3.0, 2.0], "val": [3.0, float("nan"), 2.0]}, first=5).axes[0]
    assert axes.lines[0].get_xdata().tolist() == [5, 6]
    assert axes.lines[1].get_xdata().tolist() == [5, 6, 7]


@pytest.mark.parametrize(
    "images",
    [
        RANDOM.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8),
        RANDOM.integers(0, 256, (5, 8, 8, 1), dtype=np.uint8),
        RANDOM.random((5, 8, 8)),
        torch.rand(5, 3, 8, 8),
        torch.randint(0, 256, (5, 1, 8, 8), dtype=torch.uint8),
    ],
)
def test_image_grid_takes_arrays_and_tensors(images):
    figure = plots.image_grid(images, columns=3)
    pictures = [image.get_array() for image in figure.axes[0].images]
    assert len(pictures) == 5
    assert {picture.shape[:2] for picture in pictures} == {(8, 8)}


def test_image_grid_of_a_tensor_shows_the_pixels_of_the_array():
    images = RANDOM.integers(0, 256, (2, 6, 7, 3), dtype=np.uint8)
    grids = plots.image_grid(images), plots.image_grid(torch.from_numpy(images).permute(0, 3, 1, 2))
    first, second = ([image.get_array() for image in grid.axes[0].images] for grid in grids)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, images / 255)


def test_image_grid_with_the_wrong_number_of_titles_is_refused():
    with pytest.raises(InputError, match="5 images has 2 titles"):
        plots.image_grid(np.zeros((5, 8, 8)), titles=["a", "b"])


@pytest.mark.parametrize("shape", [(8, 8), (5, 8, 8, 2), (0, 8, 8)])
def test_image_grid_of_something_else_is_refused_with_its_shape(shape):
    with pytest.raises(InputError, match=r"expected \(n, height, width\)"):
        plots.image_grid(np.zeros(shape))


@pytest.mark.parametrize("draw", [lambda: plots.roc({}), lambda: plots.histograms(ID, {}), lambda: plots.curves({})])
def test_nothing_to_draw_is_refused(draw):
    with pytest.raises(InputError, match="nothing to draw"):
        draw()


def test_names_with_dollar_signs_are_no_formulas():
    figure = plots.roc({"$broken_{": (ID, OOD)}, title="$a")
    assert drawn(figure).std() > 0


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_save_writes_the_format_of_the_suffix_and_nothing_else(tmp_path, suffix):
    plots.save(plots.curves({"loss": [1.0, 0.5]}), tmp_path / f"loss{suffix}")
    assert [file.name for file in tmp_path.iterdir()] == [f"loss{suffix}"]
    start = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}[suffix]
    assert (tmp_path / f"loss{suffix}").read_bytes().startswith(start)


def test_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "loss.png"
    path.write_bytes(b"old")
    figure = plots.curves({"loss": [1.0, 0.5]})
    monkeypatch.setattr(figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        plots.save(figure, path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("loss.png", b"old")]


def test_save_to_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="png"):
        plots.save(plots.curves({"loss": [1.0, 0.5]}), tmp_path / "loss.doc")


def test_figures_use_neither_pyplot_nor_the_settings_of_the_process():
    program = """
import sys, matplotlib
from ood_shared import looks, metrics, plots
matplotlib.rcParams["font.size"] = 31
figure = plots.roc({"m": ([0.0], [1.0])})
assert "matplotlib.pyplot" not in sys.modules
assert figure.axes[0].xaxis.label.get_size() < 12
assert matplotlib.rcParams["font.size"] == 31
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_scatter_draws_every_point_in_the_colour_of_its_group():
    figure = plots.scatter({"a": np.zeros((3, 2)), "b": torch.ones(2, 2)}, crosses=["b"])
    first, second = figure.axes[0].collections
    assert (len(first.get_offsets()), len(second.get_offsets())) == (3, 2)
    assert not np.array_equal(first.get_facecolor(), second.get_facecolor())
    assert second.get_zorder() < first.get_zorder()


def test_scatter_of_points_that_are_not_of_a_plane_is_refused():
    with pytest.raises(InputError, match=r"shape \(3, 3\) for `a`; expected \(n, 2\)"):
        plots.scatter({"a": np.zeros((3, 3))})
