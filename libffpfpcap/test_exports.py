# SPDX-License-Identifier: BSD-3-Clause
"""What the drop-in shows to the dynamic linker, against the system's libpcap."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import build
from compat_tests import harness
from libffpfpcap.pcap_abi import (
    ENVIRONMENT,
    Pcap,
    PcapPkthdr,
    PcapStat,
    command,
    frame,
    main,
    on_ffpf,
    program,
    same_on_both,
    savefile,
)

NEWER = {"pcap_open", "pcap_createsrcstr", "pcap_parsesrcstr", "pcap_findalldevs_ex", "pcap_setsampling"}


def symbols(library: Path) -> dict[str, tuple[str, int]]:
    """Defined dynamic symbols: name -> type letter of nm, size in octets."""
    text = subprocess.run(["nm", "-D", "-S", "--defined-only", library], capture_output=True, text=True, check=True)
    found = {}
    for line in text.stdout.splitlines():
        words = line.split()
        found[words[-1]] = (words[-2], int(words[1], 16) if len(words) == 4 else 0)
    return found


def test_pitfall_2_and_snort_1_every_symbol_and_no_other(library: Path, stock: Path) -> None:
    ours, theirs = symbols(library), symbols(stock)
    assert len(theirs) == 96
    assert set(theirs) - set(ours) == set()
    assert set(ours) - set(theirs) == NEWER


def test_the_same_symbols_on_another_processor(library: Path) -> None:
    """Compiled with all warnings as errors, for a processor whose char has no sign, and linked with nothing missing."""
    with build.locked():
        cross = build.build_library("aarch64")
    header = subprocess.run(["readelf", "-h", cross], capture_output=True, text=True, check=True).stdout
    assert re.search(r"Machine: +AArch64", header)
    assert set(symbols(cross)) == set(symbols(library))


def test_pitfall_4_data_symbols_keep_their_sizes(library: Path, stock: Path) -> None:
    ours, theirs = symbols(library), symbols(stock)
    data = {name: found for name, found in theirs.items() if found[0] in "BDR"}
    assert {name: size for name, (_, size) in data.items()} == {"pcap_version": 7, "eproto_db": 208}
    for name, (_, size) in data.items():
        letter, our_size = ours[name]
        assert (letter in "BDR", our_size) == (True, size), name


def test_pitfall_2_no_symbol_versions(library: Path) -> None:
    text = subprocess.run(["readelf", "-V", library], capture_output=True, text=True, check=True).stdout
    assert "Version definition section" not in text
    names = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    assert "@" not in names


def test_pitfall_1_soname_is_the_systems(library: Path, stock: Path) -> None:
    def soname(path: Path) -> str:
        text = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
        found = re.search(r"SONAME.*\[(.*)\]", text)
        assert found
        return found[1]

    assert soname(library) == soname(stock) == "libpcap.so.0.8"


def test_all_else_is_functions(library: Path) -> None:
    kinds = {name: letter for name, (letter, _) in symbols(library).items()}
    assert {name for name, letter in kinds.items() if letter != "T"} == {"pcap_version", "eproto_db"}


@program
def dlopened_library(lib: ctypes.CDLL) -> None:
    maps = Path("/proc/self/maps").read_text()
    print("ffpf" if "libffpfpcap" in maps else "other", "system mapped:", "libpcap.so.1.10" in maps)


def test_pitfall_1_dlopen_by_name_gives_the_preloaded() -> None:
    assert on_ffpf(dlopened_library, handles=0) == "ffpf system mapped: False\n"


@program
def filtered(lib: ctypes.CDLL, path: str) -> None:
    p = Pcap.offline(lib, path)
    p.filter("ether proto 0x88b5")
    print(len(list(p.packets())))
    p.close()


def test_pitfall_0_and_5_installed_under_the_systems_name(library: Path, tmp_path: Path) -> None:
    """Found by soname instead of a preload, it must not take itself for the system's libpcap."""
    installed = tmp_path / "lib"
    installed.mkdir()
    shutil.copy(library, installed / "libpcap.so.0.8")
    path = savefile(tmp_path / "a.pcap", [frame(1), frame(2, 0x800), frame(3)])
    stock, ffpf = (
        harness.run(command(filtered, path), harness.STOCK, env={**ENVIRONMENT, **env})
        for env in ({}, {"LD_LIBRARY_PATH": str(installed), "FFPF_STATS": str(tmp_path / "stats")})
    )
    assert (stock.returncode, stock.stdout) == (0, b"2\n"), stock.stderr
    assert (ffpf.returncode, ffpf.stdout) == (0, b"2\n"), ffpf.stderr
    assert "engine=embedded handles=1 seen=3 filtered=1 delivered=2" in (tmp_path / "stats").read_text()


def test_pitfall_3_replacement_by_soname_serves_tcpdump(library: Path) -> None:
    """Binaries with file capabilities ignore LD_PRELOAD; the same file under libpcap's own name serves them."""
    with harness.scratch() as place:  # tcpdump drops root before it ends
        installed, stats = place / "lib", place / "stats"
        installed.mkdir()
        shutil.copy(library, installed / "libpcap.so.0.8")
        stats.touch()
        stats.chmod(0o666)
        argv = ["tcpdump", "-nr", savefile(place / "a.pcap", [frame(1), frame(2)])]
        stock = harness.run(argv, harness.STOCK)
        ffpf = harness.run(argv, harness.STOCK, env={"LD_LIBRARY_PATH": str(installed), "FFPF_STATS": str(stats)})
        assert not harness.differences(stock, ffpf)
        assert "delivered=2" in stats.read_text()


@program
def sizes(lib: ctypes.CDLL) -> None:
    print(ctypes.sizeof(PcapPkthdr), ctypes.sizeof(PcapStat))
    print((ctypes.c_char * 7).in_dll(lib, "pcap_version").value.decode())
    print(lib.pcap_lib_version().decode())


def test_pitfall_25_and_4_version_texts() -> None:
    text = same_on_both(sizes, handles=0)
    assert "\nlibpcap version 1.10.3" in text


if __name__ == "__main__":
    main()
