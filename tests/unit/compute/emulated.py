"""A stand-in for CuPy on a machine without a device: NumPy's arrays, and kernels that a C++ compiler builds.

`Kernels(EmulatedCupy(...))` takes the same ways through the product's code as on a device, and runs the same
CUDA bodies. What a device alone can show (speed, memory, races between blocks) does not show here.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.compute.nvrtc import KERNEL

_HEADER = Path(__file__).parent / "cuda_on_cpu.h"
# As g++ abbreviates the types of parameters.
_CODES = {"float32": "f", "float64": "d", "uint8": "h", "uint16": "t"}
_CODES |= {"int32": "i", "uint32": "j", "int64": "x", "uint64": "y"}
# Bytes before and after an array that a kernel must leave as they are.
_MARGIN = 1024
_FENCE = 0xFF  # as float32 this is NaN, so that reading it shows too


class DeviceArray(np.ndarray):
    """Has what `cupy.ndarray` has beside NumPy's."""

    def get(self) -> np.ndarray:
        """A copy on the host."""
        return np.array(self)


class EmulatedCupy:
    """The module. backwards: the order in which the threads of a block run. launched: kernels so far."""

    def __init__(self, folder: Path, *, backwards: bool = False) -> None:
        self.folder, self.backwards = folder, backwards
        self.launched: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def RawModule(self, code: str, options: Sequence[str]) -> _Module:
        return _Module(self, code)

    def asarray(self, array: Any, *arguments: Any) -> Any:
        return np.asarray(array, *arguments).view(DeviceArray)


class _Module:
    def __init__(self, cupy: EmulatedCupy, source: str) -> None:
        self._cupy = cupy
        self._library = ctypes.CDLL(str(_built(source, cupy.folder)))

    def get_function(self, name: str) -> _Function:
        return _Function(self._cupy, self._library, name)


class _Function:
    """A kernel, called as CuPy's is."""

    def __init__(self, cupy: EmulatedCupy, library: ctypes.CDLL, name: str) -> None:
        self._cupy, self._name = cupy, name
        self._launch, types = getattr(library, f"launch_{name}"), getattr(library, f"types_{name}")
        self._launch.restype = types.restype = ctypes.c_char_p
        self._types = types().decode().replace("PK", "P").split()

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        given = [_type(argument) for argument in arguments]
        assert given == self._types, f"{self._name} takes {self._types}, and got {given}"
        fenced: dict[int, _Fenced] = {}
        values = [_value(argument, fenced) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        shapes = [(ctypes.c_uint * 3)(*shape, *(1,) * (3 - len(shape))) for shape in (grid, block)]
        problem = self._launch(*shapes, pointers, int(self._cupy.backwards))
        assert not problem, f"{self._name}: {problem.decode()}"
        for fence in fenced.values():
            fence.copy_back(self._name)
        self._cupy.launched.add(self._name)


class _Fenced:
    """A copy of the memory that an array lies in, with a margin on both sides."""

    def __init__(self, owner: np.ndarray) -> None:
        self._owner = owner
        self._memory = np.full(owner.nbytes + 2 * _MARGIN, _FENCE, np.uint8)
        self._copy = self._memory[_MARGIN : _MARGIN + owner.nbytes]
        self._copy[:] = _bytes(owner)

    def address(self, array: np.ndarray) -> np.ndarray:
        """(1,) where the copy of `array` begins, which lies in the same memory."""
        offset = array.ctypes.data - self._owner.ctypes.data
        return np.array([self._copy.ctypes.data + offset], np.uint64)

    def copy_back(self, name: str) -> None:
        margins = self._memory[:_MARGIN], self._memory[_MARGIN + self._owner.nbytes :]
        assert all((margin == _FENCE).all() for margin in margins), f"{name} wrote outside of an array"
        _bytes(self._owner)[:] = self._copy


def compiler() -> str | None:
    """The C++ compiler, where there is one."""
    return shutil.which("g++") or shutil.which("c++")


def _built(source: str, folder: Path) -> Path:
    library = folder / f"{hashlib.sha256(source.encode()).hexdigest()[:16]}.so"
    if library.exists():
        return library
    exports = "".join(
        f'extern "C" const char* launch_{name}(const unsigned* grid, const unsigned* block, void** arguments,'
        f" int backwards) {{ return emulated::launch({name}, grid, block, arguments, backwards); }}\n"
        f'extern "C" const char* types_{name}() {{ return emulated::types({name}); }}\n'
        for name in KERNEL.findall(source)
    )
    text = library.with_suffix(".cpp")
    text.write_text(f'#include "{_HEADER}"\n{source}\n{exports}')
    options = ["-std=c++20", "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-Wno-unknown-pragmas"]
    subprocess.run([str(compiler()), *options, "-o", str(library), str(text)], check=True)
    return library


def _type(argument: Any) -> str:
    code = _CODES[str(argument.dtype)]
    return f"P{code}" if isinstance(argument, np.ndarray) else code


def _value(argument: Any, fenced: dict[int, _Fenced]) -> np.ndarray:
    """(1,): the argument, or where it begins."""
    if not isinstance(argument, np.ndarray):
        return np.array([argument])
    assert argument[:1].flags.c_contiguous, "only the first axis may have gaps"
    owner = argument
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    return fenced.setdefault(id(owner), _Fenced(owner)).address(argument)


def _bytes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1).view(np.uint8)
