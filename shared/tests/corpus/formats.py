"""A small valid file of every format that the project reads, and everything that reads it."""

import gzip
import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from ood_shared import checkpoints, model_file
from ood_shared.datasets.decode import Encoded, decode
from ood_shared.datasets.idx import read_idx
from ood_shared.datasets.own import load_path
from ood_shared.files import read_json, read_yaml
from ood_shared.files.arrays import read_arrays
from ood_shared.rows import Row, whole_rows, write_rows
from ood_shared.runs import METRICS, read_metrics
from ood_shared.streaming import pending_images, read_items
from ood_shared.testing.medical import write_dicom, write_nifti
from PIL import Image

Reader = Callable[[Path], object]


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        name: of the file that `write` leaves; its ending tells the readers what it is.
        write: makes the file at a path.
        readers: by name; each takes the path.
    """

    name: str
    write: Callable[[Path], object]
    readers: dict[str, Reader]


def pixels(seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (9, 11, channels), dtype=np.uint8)


def encoded(kind: str, seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels(seed)).save(buffer, kind)
    return buffer.getvalue()


def decoded(path: Path) -> object:
    return decode(Encoded(0, path.name, path))


def loaded(path: Path) -> object:
    return load_path(path, "test")


def streamed(path: Path) -> object:
    return [item.problem for item in read_items(pending_images([str(path)]), lambda image: image.shape)]


def write_npz(path: Path) -> None:
    images = np.stack([pixels(n) for n in range(4)])
    arrays = {f"{split}_{kind}": value for split in ("train", "val", "test") for kind, value in
              (("images", images), ("labels", np.arange(4) % 2))}  # fmt: skip
    np.savez_compressed(path, **arrays)


def write_idx(path: Path) -> None:
    data = struct.pack(">BBBBIII", 0, 0, 8, 3, 4, 9, 11) + pixels(0, 4).tobytes()
    path.write_bytes(gzip.compress(data))
    labels = struct.pack(">BBBBI", 0, 0, 8, 1, 4) + bytes([0, 1, 0, 1])
    path.with_name(path.name.replace("images-idx3", "labels-idx1")).write_bytes(gzip.compress(labels))


def write_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for n, name in enumerate(("test/a/0.png", "test/b/1.jpg")):
            archive.writestr(name, encoded("png" if name.endswith("png") else "jpeg", n))


def write_tar(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for n, name in enumerate(("test/a/0.png", "test/b/1.png")):
            member, data = tarfile.TarInfo(name), encoded("png", n)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def write_scan(path: Path) -> None:
    write_dicom(path, pixels(0, 1)[..., 0].astype(np.uint16), WindowCenter=100, WindowWidth=200)


def write_list(path: Path) -> None:
    for n in range(6):
        (path.parent / f"{n}.png").write_bytes(encoded("png", n))
    path.write_text("".join(f"{n}.png {n % 2}\n" for n in range(6)))


def write_csv(path: Path) -> None:
    with path.open("w", newline="") as file:
        header = ("file", "score", "p_value", "decision", "class", "driver", "nearest", "problem")
        write_rows(file, [header, *(Row(f"{n}, a.png", 0.5 * n, 0.25, "ID", "=x").cells() for n in range(8))])


def write_checkpoint(path: Path) -> None:
    checkpoints.save(path, {"network": torch.nn.Linear(3, 4).state_dict(), "epoch": 3, "history": [{"loss": 0.5}]})


def write_metrics(path: Path) -> None:
    path.write_text("".join(json.dumps({"epoch": n, "loss": 0.25 * n}) + "\n" for n in range(1, 9)))


def write_model(path: Path) -> None:
    card = {"format": model_file.FORMAT, "kind": "of no package", "package": "none"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(model_file.CARD, json.dumps(card))
        archive.writestr(model_file.TENSORS, safetensors.torch.save({"w": torch.ones(3)}))


YAML = "name: a\nlist: [1, 2.5, x]\nnested: &n {a: 1, b: [c, d]}\nagain: *n\ntext: |\n  one\n  two\nwhen: 2020-01-02\n"
JSON = json.dumps({"a": [1, 2.5, None, True], "b": {"c": "é\\u20ac"}, "long": list(range(20))})


FORMATS = [
    Format("a.png", lambda p: p.write_bytes(encoded("png")), {"decode": decoded, "stream": streamed}),
    Format("a.jpg", lambda p: p.write_bytes(encoded("jpeg")), {"decode": decoded, "stream": streamed}),
    Format("a.gif", lambda p: p.write_bytes(encoded("gif")), {"decode": decoded}),
    Format("a.tif", lambda p: p.write_bytes(encoded("tiff")), {"decode": decoded, "stream": streamed}),
    Format("a.webp", lambda p: p.write_bytes(encoded("webp")), {"decode": decoded}),
    Format("a.bmp", lambda p: p.write_bytes(encoded("bmp")), {"decode": decoded}),
    Format("a.ppm", lambda p: p.write_bytes(encoded("ppm")), {"decode": decoded}),
    Format("a.npz", write_npz, {"load": loaded, "stream": streamed, "arrays": read_arrays}),
    Format("t10k-images-idx3-ubyte.gz", write_idx, {"read": read_idx, "load": loaded, "stream": streamed}),
    Format("a.zip", write_zip, {"load": loaded, "stream": streamed}),
    Format("a.tar.gz", write_tar, {"load": loaded, "stream": streamed}),
    Format("a.nii.gz", lambda p: write_nifti(p, pixels(0, 4).astype(np.int16)), {"load": loaded, "stream": streamed}),
    Format("a.nii", lambda p: write_nifti(p, pixels(0, 4).astype(np.float32)), {"load": loaded}),
    Format("a.dcm", write_scan, {"load": loaded, "stream": streamed}),
    Format("test_a.txt", write_list, {"load": loaded, "stream": streamed}),
    Format("a.yaml", lambda p: p.write_text(YAML), {"read": read_yaml}),
    Format("a.json", lambda p: p.write_text(JSON), {"read": read_json}),
    Format("out.csv", write_csv, {"rows": lambda p: list(whole_rows(p))}),
    Format("c.pt", write_checkpoint, {"load": checkpoints.load, "weights": checkpoints.read_weights}),
    Format(METRICS, write_metrics, {"read": lambda p: read_metrics(p.parent)}),
    Format("model.ood", write_model, {"card": model_file.read_card, "load": model_file.load}),
]
