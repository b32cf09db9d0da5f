"""Builds what comes out of the protos, and checks them.

python protos/build.py generate      gen/python (committed) and gateway/api.pb (for Envoy)
python protos/build.py descriptors   gateway/api.pb alone; needs no more than grpcio-tools
python protos/build.py check         buf format, lint and breaking; generated code up to date
"""

from __future__ import annotations

import filecmp
import io
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
GENERATED = ROOT / "gen" / "python"
DESCRIPTOR_SET = ROOT.parent / "gateway" / "api.pb"
# googleapis-common-protos ships its .proto files; nothing is vendored.
WELL_KNOWN = Path(sysconfig.get_paths()["purelib"])
BUNDLED = Path(protoc.__file__).parent / "_proto"
# Envoy answers an error with an empty body unless every detail type is in its descriptor set.
ERROR_DETAILS = ["google/rpc/error_details.proto", "google/rpc/status.proto"]


def main(argv: list[str]) -> int:
    """Runs the command named on the command line; 0 when all is well."""
    match argv:
        case ["generate"]:
            generate(GENERATED)
            descriptor_set(ROOT, DESCRIPTOR_SET)
            return 0
        case ["descriptors"]:
            descriptor_set(ROOT, DESCRIPTOR_SET)
            return 0
        case ["check"]:
            return check()
    print(__doc__, file=sys.stderr)
    return 2


def generate(destination: Path) -> None:
    """Writes the Python modules and their type stubs under `destination`."""
    destination.mkdir(parents=True, exist_ok=True)
    outputs = ["python_out=", "grpc_python_out=", "mypy_out=quiet:", "mypy_grpc_out=quiet:"]
    _protoc(ROOT, [f"--{output}{destination}" for output in outputs])


def descriptor_set(root: Path, destination: Path, extra: list[str] = ERROR_DETAILS) -> None:
    """Writes every message and service of `root`, with comments and imports, to one file."""
    flags = ["--include_imports", "--include_source_info", f"--descriptor_set_out={destination}"]
    _protoc(root, flags, extra)


def check() -> int:
    """0 when the protos are formatted, clean and compatible, and the generated code is theirs."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        generate(work / "python")
        stale = _differences(GENERATED, work / "python")
        for path in stale:
            print(f"protos/gen/python/{path} is not what the protos say: run `make proto`", file=sys.stderr)
        descriptor_set(ROOT, work / "now.binpb", [])
        _descriptors_of_last_release(work)
        config = ["--config", str(ROOT / "buf.yaml")]
        commands = [
            ["format", "--exit-code", "--diff"],
            ["lint", str(work / "now.binpb"), "--path", "mlapi", *config],
            ["breaking", str(work / "now.binpb"), "--against", str(work / "then.binpb"), *config],
        ]
        failed = [command[0] for command in commands if _buf(command) != 0]
    return 1 if stale or failed else 0


def _descriptors_of_last_release(work: Path) -> None:
    """Builds `then.binpb` from the newest release tag, or from HEAD before the first release."""
    tag = _git("describe", "--tags", "--abbrev=0", "--match=v*", check=False).decode().strip()
    archive = _git("archive", tag or "HEAD", "protos/mlapi")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(work / "then", filter="data")
    descriptor_set(work / "then" / "protos", work / "then.binpb", [])


def _buf(command: list[str]) -> int:
    return subprocess.run([_tool("buf"), *command], cwd=ROOT, check=False).returncode


def _git(*arguments: str, check: bool = True) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT.parent, check=check, capture_output=True).stdout


def _differences(ours: Path, theirs: Path) -> list[Path]:
    names = {path.relative_to(top) for top in (ours, theirs) for path in top.rglob("*.py*") if path.is_file()}
    names = {name for name in names if name.suffix in (".py", ".pyi")}
    return sorted(n for n in names if not _same(ours / n, theirs / n))


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _protoc(root: Path, flags: list[str], extra: list[str] | None = None) -> None:
    files = sorted(str(path.relative_to(root)) for path in (root / "mlapi").rglob("*.proto"))
    plugins = [f"--plugin={_tool(f'protoc-gen-{name}')}" for name in ("mypy", "mypy_grpc")]
    includes = [f"-I{path}" for path in (root, WELL_KNOWN, BUNDLED)]
    if protoc.main(["protoc", *includes, *plugins, *flags, *files, *(extra or [])]) != 0:
        raise SystemExit("protoc failed")


def _tool(name: str) -> str:
    return str(Path(sys.executable).parent / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
