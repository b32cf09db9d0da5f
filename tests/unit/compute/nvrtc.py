"""NVIDIA's run-time compiler, which needs no device, and the CUDA sources that there are to compile."""

from __future__ import annotations

import ctypes
import importlib
import pkgutil
import re
from functools import cache
from pathlib import Path

from services.training.compute import kernels

KERNEL = re.compile(r"__global__\s+void\s+(\w+)\s*\(")


def sources() -> dict[str, str]:
    """Every text with a kernel in it, of every module that holds kernels, by module and name."""
    found = {}
    for module in pkgutil.iter_modules(kernels.__path__):
        members = vars(importlib.import_module(f"{kernels.__name__}.{module.name}"))
        texts = {name: value for name, value in members.items() if isinstance(value, str)}
        found |= {f"{module.name}.{name}": text for name, text in texts.items() if "__global__" in text}
    return found


def kernel_names() -> set[str]:
    """Of all functions in those sources that can be launched."""
    return {name for text in sources().values() for name in KERNEL.findall(text)}


def compiled(source: str, architecture: str) -> bytes:
    """The cubin for an architecture such as sm_90; raises ValueError with what the compiler said."""
    library, program = _library(), ctypes.c_void_p()
    options = (ctypes.c_char_p * 2)(b"--std=c++17", f"--gpu-architecture={architecture}".encode())
    _check(library.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None))
    try:
        if library.nvrtcCompileProgram(program, len(options), options):
            raise ValueError(
                _text(library.nvrtcGetProgramLogSize, library.nvrtcGetProgramLog, program).decode()
            )
        return _text(library.nvrtcGetCUBINSize, library.nvrtcGetCUBIN, program)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


@cache
def _library() -> ctypes.CDLL:
    nvidia = importlib.import_module("nvidia").__path__
    return ctypes.CDLL(str(next(path for top in nvidia for path in Path(top).glob("*/lib/libnvrtc.so.*"))))


def _text(
    size_of: ctypes._NamedFuncPointer, copy: ctypes._NamedFuncPointer, program: ctypes.c_void_p
) -> bytes:
    size = ctypes.c_size_t()
    _check(size_of(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _check(copy(program, buffer))
    return buffer.raw


def _check(status: int) -> None:
    if status:
        raise ValueError(f"NVRTC status {status}")
