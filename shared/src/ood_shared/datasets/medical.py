"""MedMNIST v2: the twelve 2D sets, at 28 pixels by their name and larger by a suffix, `bloodmnist_64`.

A file `<root>/medmnist/<name>.npz` or `<root>/<name>.npz` is read as it is; an absent one is downloaded through the
package medmnist, which checks its hash. Names of classes stand here, so that reading needs no medmnist.
"""

import re
from pathlib import Path
from typing import NamedTuple

from ood_shared.datasets.fetch import download_into
from ood_shared.datasets.imageset import ImageSet
from ood_shared.datasets.npz import load_npz
from ood_shared.errors import InputError, did_you_mean, not_installed

SIZES = (28, 64, 128, 224)


class MedicalSet(NamedTuple):
    """Python class in the package medmnist, and the classes of the images."""

    kind: str
    classes: tuple[str, ...]


_ORGANS = (
    "bladder",
    "femur-left",
    "femur-right",
    "heart",
    "kidney-left",
    "kidney-right",
    "liver",
    "lung-left",
    "lung-right",
    "pancreas",
    "spleen",
)
MEDICAL = {
    "pathmnist": MedicalSet(
        "PathMNIST",
        (
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
    ),
    "chestmnist": MedicalSet("ChestMNIST", ("none", "any")),  # 14 findings per image, made one label; see load_npz
    "dermamnist": MedicalSet(
        "DermaMNIST",
        (
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
    ),
    "octmnist": MedicalSet("OCTMNIST", ("choroidal neovascularization", "diabetic macular edema", "drusen", "normal")),
    "pneumoniamnist": MedicalSet("PneumoniaMNIST", ("normal", "pneumonia")),
    "retinamnist": MedicalSet("RetinaMNIST", ("0", "1", "2", "3", "4")),  # grades of severity
    "breastmnist": MedicalSet("BreastMNIST", ("malignant", "normal, benign")),
    "bloodmnist": MedicalSet(
        "BloodMNIST",
        (
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
    ),
    "tissuemnist": MedicalSet(
        "TissueMNIST",
        (
            "Collecting Duct, Connecting Tubule",
            "Distal Convoluted Tubule",
            "Glomerular endothelial cells",
            "Interstitial endothelial cells",
            "Leukocytes",
            "Podocytes",
            "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
    ),
    "organamnist": MedicalSet("OrganAMNIST", _ORGANS),
    "organcmnist": MedicalSet("OrganCMNIST", _ORGANS),
    "organsmnist": MedicalSet("OrganSMNIST", _ORGANS),
}


def parse_name(name: str) -> tuple[str, int] | None:
    """Set and size of a name, `bloodmnist_64` to (bloodmnist, 64); None for other names.

    Raises:
        InputError: the set is known and the size is not.
    """
    match = re.fullmatch(r"([a-z]+)(?:_(\d+))?", name)
    if match is None or match[1] not in MEDICAL:
        return None
    size = int(match[2] or 28)
    if size not in SIZES:
        known = [match[1], *(f"{match[1]}_{side}" for side in SIZES[1:])]
        raise InputError(f"`{name}` is not a size of {match[1]}. {did_you_mean(name, known)}")
    return match[1], size


def fetch_medical(base: str, size: int, root: Path) -> tuple[str, Path]:
    """Name and file of a MedMNIST set, which holds all of its splits, downloaded where it is absent; not read.

    Raises:
        MissingFileError: it could not be downloaded.
        InputError: the package medmnist is missing.
    """
    name = base if size == 28 else f"{base}_{size}"
    file = f"{name}.npz"
    places = (root / "medmnist" / file, root / file)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        path = places[0]
        absent = f"`{name}` lacks {file}. Get it from the MedMNIST record on Zenodo and put it into {path.parent}."
        download_into(path.parent, lambda place: _download(base, size, place), absent)
    return name, path


def load_medical(base: str, size: int, split: str, root: Path) -> ImageSet:
    """A split of a MedMNIST set.

    ChestMNIST has 14 findings per image; its label here is 0 (`none`) or 1 (`any`), enough where it serves as OOD.

    Raises:
        MissingFileError: the file is absent and could not be downloaded.
        InputError: the file is damaged, or its arrays are not those of the set.
    """
    name, path = fetch_medical(base, size, root)
    licence = "CC BY-NC 4.0" if base == "dermamnist" else "CC BY 4.0"
    entry = MEDICAL[base]
    images = load_npz(path, split, name, f"MedMNIST v2 {entry.kind} (Yang et al. 2023); {licence}", entry.classes)
    if images.images.shape[1:3] != (size, size):
        height, width = images.images.shape[1:3]
        raise InputError(f"{path} holds images of {width} x {height} pixels; `{name}` has {size} x {size}.")
    return images


def _download(base: str, size: int, place: Path) -> None:
    try:
        import medmnist
    except ImportError:
        raise not_installed("The download", "medmnist", "medmnist") from None

    getattr(medmnist, MEDICAL[base].kind)(split="test", root=str(place), size=size, download=True)
