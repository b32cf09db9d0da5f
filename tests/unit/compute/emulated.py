"""A stand-in for CuPy on a machine without a device: NumPy's arrays, and kernels that a C++ compiler builds.

`Kernels(EmulatedCupy(...))` takes the same ways through the product's code as on a device, and runs the same
CUDA bodies. What a device alone can show (speed, memory, races between blocks) does not show here.
"""

from __future__ import annotations

import ctypes
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tests.unit.compute.nvrtc import KERNEL

_HEADER = Path(__file__).parent / "cuda_on_cpu.h"
# As g++ abbreviates the types of parameters.
_CODES = {"float32": "f", "float64": "d", "uint8": "h", "uint16": "t"}
_CODES |= {"int32": "i", "uint32": "j", "int64": "x", "uint64": "y"}
# Bytes before and after an array that a kernel must leave as they are.
_MARGIN = 1024
_FENCE = 0xFF  # as float32 this is NaN, so that reading it shows too


# What gives arrays on the device.
_MAKERS = {"array", "asarray", "empty", "empty_like", "full", "zeros", "zeros_like"}
_MAKERS |= {"einsum", "searchsorted", "stack"}


class DeviceArray(np.ndarray):
    """Has what `cupy.ndarray` has beside NumPy's."""

    @property
    def data(self) -> SimpleNamespace:  # type: ignore[override]
        """Where the first element is."""
        return SimpleNamespace(ptr=self.ctypes.data)

    def get(self) -> np.ndarray:
        """A copy on the host."""
        return np.array(self)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = (), **named: Any) -> Any:
        _refuse_host(*inputs, *out)
        there = [_on_host(one) for one in inputs]
        into = {"out": tuple(map(_on_host, out))} if out else {}
        found = getattr(ufunc, method)(*there, **into, **named)
        return out[0] if out else np.asarray(found).view(DeviceArray)

    def __setitem__(self, place: Any, value: Any) -> None:
        _refuse_host(value)
        super().__setitem__(place, value)


def _refuse_host(*arrays: Any) -> None:
    """CuPy does not mix arrays of host and device either."""
    assert all(type(one) is not np.ndarray or one.ndim == 0 for one in arrays), "an array is on the host"


def _on_host(array: Any) -> Any:
    return array.view(np.ndarray) if isinstance(array, DeviceArray) else array


class EmulatedCupy:
    """The module. backwards: the order in which the threads of a block run. launched: kernels so far.

    replays: how often a graph was launched.
    """

    def __init__(self, folder: Path, *, backwards: bool = False) -> None:
        self.folder, self.backwards = folder, backwards
        self.launched: set[str] = set()
        self.replays = 0
        self._recorded: list[Callable[[], None]] | None = None
        device = SimpleNamespace(get_cublas_handle=lambda: 1)
        runtime = SimpleNamespace(CUDA_R_32F=0)
        stream = partial(EmulatedStream, self)
        self.cuda = SimpleNamespace(cublas=EmulatedBlas(self), device=device, runtime=runtime, Stream=stream)

    def __getattr__(self, name: str) -> Any:
        found = getattr(np, name)
        return (
            (lambda *given, **named: found(*given, **named).view(DeviceArray)) if name in _MAKERS else found
        )

    def RawModule(self, code: str, options: Sequence[str]) -> _Module:
        return _Module(self, code)

    def do(self, work: Callable[[], None]) -> None:
        """What a device is asked to do: now, or whenever the graph that is being recorded is launched."""
        if self._recorded is None:
            work()
        else:
            self._recorded.append(work)

    def record(self) -> None:
        """Begins a graph."""
        self._recorded = []

    def recorded(self) -> Callable[[], None]:
        """Ends it."""
        works, self._recorded = self._recorded or [], None

        def launch() -> None:
            self.replays += 1
            for work in works:
                work()

        return launch


class EmulatedStream:
    """As much of a stream as recording a graph takes."""

    def __init__(self, cupy: EmulatedCupy) -> None:
        self._cupy = cupy

    def __enter__(self) -> EmulatedStream:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def begin_capture(self) -> None:
        self._cupy.record()

    def end_capture(self) -> SimpleNamespace:
        return SimpleNamespace(launch=self._cupy.recorded())


# Bits of a float32 that are rounded off before a product, by how cuBLAS is to compute.
_CUT = {68: 0, 75: 16, 77: 13}


class EmulatedBlas:
    """The one product that is used of cuBLAS, which counts along columns."""

    CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_16BF, CUBLAS_COMPUTE_32F_FAST_TF32 = 68, 75, 77
    CUBLAS_GEMM_DEFAULT = -1

    def __init__(self, cupy: EmulatedCupy) -> None:
        self._cupy = cupy

    def gemmStridedBatchedEx(self, *arguments: int) -> None:
        assert all(isinstance(argument, int) for argument in arguments)
        self._cupy.do(partial(self._multiply, *arguments))

    def _multiply(  # noqa: PLR0917 (as cuBLAS has it)
        self, handle: int, turned_a: int, turned_b: int, m: int, n: int, k: int, alpha: int,
        a: int, a_kind: int, lda: int, apart_a: int, b: int, b_kind: int, ldb: int, apart_b: int,
        beta: int, c: int, c_kind: int, ldc: int, apart_c: int, count: int, compute: int, algorithm: int,
    ) -> None:  # fmt: skip
        assert (a_kind, b_kind, c_kind) == (0, 0, 0)
        assert [_columns(one, 1, 1, 1)[0, 0] for one in (alpha, beta)] == [1, 0]
        for i in range(count):
            left = _columns(a + 4 * i * apart_a, lda, *((k, m) if turned_a else (m, k)))
            right = _columns(b + 4 * i * apart_b, ldb, *((n, k) if turned_b else (k, n)))
            left, right = (_rounded(one, _CUT[compute]) for one in (left, right))
            into = _columns(c + 4 * i * apart_c, ldc, m, n)
            into[:] = (left.T if turned_a else left) @ (right.T if turned_b else right)


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
        self._cupy.launched.add(self._name)
        self._cupy.do(lambda: self._run(grid, block, arguments))

    def _run(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...]) -> None:
        fenced: dict[int, _Fenced] = {}
        values = [_value(argument, fenced) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        shapes = [(ctypes.c_uint * 3)(*shape, *(1,) * (3 - len(shape))) for shape in (grid, block)]
        problem = self._launch(*shapes, pointers, int(self._cupy.backwards))
        assert not problem, f"{self._name}: {problem.decode()}"
        for fence in fenced.values():
            fence.copy_back(self._name)


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
    text.write_text(f'#include "{_HEADER.name}"\n{source}\n{exports}')
    _compile_header(folder)
    # Without -Bsymbolic a kernel would give way to a function of its name in any library that is loaded.
    _compile("-shared", "-Wl,-Bsymbolic", "-o", str(library), str(text))
    return library


def _compile_header(folder: Path) -> None:
    """Once for all sources: it takes most of the time."""
    header = folder / _HEADER.name
    if not header.exists():
        shutil.copy(_HEADER, header)
        _compile("-x", "c++-header", str(header))


def _compile(*arguments: str) -> None:
    options = ("-std=c++20", "-O1", "-ffp-contract=off", "-fPIC")
    subprocess.run([str(compiler()), *options, *arguments], check=True)


def _columns(address: int, apart: int, rows: int, columns: int) -> np.ndarray:
    """A float32 matrix at that address, its columns `apart` elements from each other."""
    assert apart >= max(1, rows)
    flat = (ctypes.c_float * (apart * (columns - 1) + rows)).from_address(address)
    return as_strided(np.frombuffer(flat, np.float32), (rows, columns), (4, 4 * apart))


def _rounded(values: np.ndarray, cut: int) -> np.ndarray:
    """float32 without their last `cut` bits, to nearest."""
    bits = values.view(np.uint32)
    return ((bits + (1 << cut >> 1)) >> cut << cut).astype(np.uint32).view(np.float32)


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
    return _on_host(array).reshape(-1).view(np.uint8)
