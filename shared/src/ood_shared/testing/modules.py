"""Modules of files that lie in no package, such as tests, which cannot import each other."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


def module_of(file: Path) -> ModuleType:
    """What a Python file defines, run anew at every call."""
    spec = spec_from_file_location(file.stem, file.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
