# SPDX-License-Identifier: BSD-3-Clause
"""Builds the Debian package: `python -m compat_tests.packaging.debian FOLDER`; prints the package's path.

    /usr/bin/ffpf ...                          commands
    /usr/lib/ffpf/libffpfpcap.so               the drop-in libpcap, where no program finds it by itself
    /usr/lib/ffpf/python/                      the Python packages, those that they need among them, of PyPI's releases
    /usr/lib/ffpf/libffpfcore.a, /usr/include/ffpf/, /usr/lib/pkgconfig/ffpf.pc       the C core, for programs in C
    /usr/lib/systemd/system/ffpfd.{service,socket}, sysusers.d, tmpfiles.d
    /usr/share/man, /usr/share/bash-completion
    /usr/lib/TRIPLET/wireshark/extcap/ffpf-extcap
    /etc/ffpf/ffpfd.toml, /etc/apparmor.d/abstractions/ffpf       configuration

Installing starts the socket, where systemd runs; removing ends ffpfd, and leaves configuration; purging leaves nothing.
"""

from __future__ import annotations

import argparse
import configparser
import gzip
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import build
from compat_tests.harness import ROOT

HERE = Path(__file__).resolve().parent
LIBRARIES = "libc6, libbpf1, libpcap0.8, libsodium23"  # the last two by dlopen
WRAPPER = """#!/usr/bin/python3 -I
# SPDX-License-Identifier: BSD-3-Clause
import sys

sys.path.insert(0, "/usr/lib/ffpf/python")
from {module} import {function}  # noqa: E402

sys.exit({function}())
"""


def python(*words: str) -> None:
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def wheel(folder: Path) -> Path:
    """The project as a wheel, library and board inside."""
    python("-m", "pip", "wheel", "-q", ".", "--no-deps", "--no-build-isolation", "-w", str(folder))
    (made,) = folder.glob("*.whl")
    return made


def source(folder: Path) -> Path:
    """The source distribution: what is tracked."""
    python("setup.py", "-q", "sdist", "-d", str(folder))
    (made,) = folder.glob("*.tar.gz")
    return made


def install(path: Path, target: Path, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, target)
    target.chmod(mode)


def write(target: Path, text: str, mode: int = 0o644) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    target.chmod(mode)


def commands(made: Path, root: Path) -> None:
    """A program in /usr/bin for each console script of the wheel."""
    with zipfile.ZipFile(made) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith(".dist-info/entry_points.txt"))
        points = configparser.ConfigParser()
        points.read_string(archive.read(name).decode())
    for command, where in points["console_scripts"].items():
        module, _, function = where.partition(":")
        write(root / "usr/bin" / command, WRAPPER.format(module=module, function=function), 0o755)


def packages(made: Path, root: Path) -> None:
    """The wheel and all that it needs, as pip installs them; without their commands and compiled copies."""
    target = root / "usr/lib/ffpf/python"
    python("-m", "pip", "install", "-q", "--no-compile", "--target", str(target), f"{made}[shared,fpl]")
    for unwanted in ("bin", "share", "lib"):
        shutil.rmtree(target / unwanted, ignore_errors=True)
    for cache in target.rglob("__pycache__"):
        shutil.rmtree(cache)


def c_core(root: Path) -> None:
    """Headers as they lie in csrc, the archive, and a file for pkg-config."""
    with build.locked():
        install(build.build_core("normal"), root / "usr/lib/ffpf/libffpfcore.a")
    for folder in (ROOT / "csrc", ROOT / "ixp_driver"):
        for header in folder.rglob("*.h"):
            if "test" not in header.name:
                install(header, root / "usr/include/ffpf" / header.relative_to(folder))
    text = (HERE / "ffpf.pc").read_text().replace("@VERSION@", version())
    write(root / "usr/lib/pkgconfig/ffpf.pc", text)


def documents(root: Path) -> None:
    for page in sorted((ROOT / "docs/man").iterdir()):
        target = root / f"usr/share/man/man{page.suffix[1:]}/{page.name}.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
            packed.write(page.read_bytes())
    install(ROOT / "docs/completion/ffpf.bash", root / "usr/share/bash-completion/completions/ffpf")
    for name in ("ffpf-extcap", "ffpf-flow", "ffpf-ixp", "ffpf-run", "ffpfd", "fpl1", "fplc"):
        (root / "usr/share/bash-completion/completions" / name).symlink_to("ffpf")
    install(HERE / "copyright", root / "usr/share/doc/ffpf/copyright")


def services(root: Path) -> None:
    units = ROOT / "pyffpf/daemon/units"
    for name in ("ffpfd.service", "ffpfd.socket"):
        text = (units / name).read_text().replace("ExecStart=ffpfd", "ExecStart=/usr/bin/ffpfd")
        write(root / "usr/lib/systemd/system" / name, text)
    install(units / "ffpf.sysusers.conf", root / "usr/lib/sysusers.d/ffpf.conf")
    install(units / "ffpf.tmpfiles.conf", root / "usr/lib/tmpfiles.d/ffpf.conf")
    install(ROOT / "pyffpf/daemon/ffpfd.toml", root / "etc/ffpf/ffpfd.toml")
    install(HERE / "apparmor", root / "etc/apparmor.d/abstractions/ffpf")
    triplet = sysconfig.get_config_var("MULTIARCH")
    extcap = root / f"usr/lib/{triplet}/wireshark/extcap/ffpf-extcap"
    extcap.parent.mkdir(parents=True)
    extcap.symlink_to("/usr/bin/ffpf-extcap")


def architecture() -> str:
    """What dpkg calls this machine's."""
    done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def version() -> str:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def control(root: Path) -> None:
    minor = sys.version_info.minor
    octets = sum(path.stat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    text = (HERE / "control").read_text()
    for name, value in {
        "VERSION": version(),
        "ARCHITECTURE": architecture(),
        "SIZE": str(octets // 1024),
        "DEPENDS": f"python3 (>= 3.{minor}), python3 (<< 3.{minor + 1}), {LIBRARIES}",
    }.items():
        text = text.replace(f"@{name}@", value)
    write(root / "DEBIAN/control", text)
    kept = sorted(f"/{path.relative_to(root)}" for path in (root / "etc").rglob("*") if path.is_file())
    write(root / "DEBIAN/conffiles", "".join(f"{path}\n" for path in kept))
    for name in ("postinst", "prerm", "postrm"):
        install(HERE / name, root / "DEBIAN" / name, 0o755)


def package(folder: Path) -> Path:
    """Builds it in the folder, which is made; its path. CalledProcessError when a step fails."""
    root = folder / "root"
    made = wheel(folder)
    packages(made, root)
    commands(made, root)
    with zipfile.ZipFile(made) as archive:
        write(root / "usr/lib/ffpf/libffpfpcap.so", "", 0o644)
        (root / "usr/lib/ffpf/libffpfpcap.so").write_bytes(archive.read("pyffpf/libffpfpcap.so"))
    c_core(root)
    documents(root)
    services(root)
    control(root)
    path = folder / f"ffpf_{version()}_{architecture()}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", root, path], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    shutil.rmtree(root)
    return path


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m compat_tests.packaging.debian", description="Builds the package.")
    parser.add_argument("folder", type=Path, help="where it goes, and the wheel")
    folder = parser.parse_args().folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print(package(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
