# SPDX-License-Identifier: BSD-3-Clause
"""What is looked at on another kernel: `old_kernel` runs this in the guest, and reads one line for each check.

    python -m compat_tests.guest_checks [CHECK ...]         # as root; runs on this machine, too

Tests of the project that are run here may skip what is of a form of the hook that the kernel does not take; then the
form that it does take is the one that they have tried.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from pyffpf._core import lib

from compat_tests import shared
from compat_tests.guest_init import MARK
from compat_tests.netns import Netns
from compat_tests.shared import ANNA, Ffpfd
from fpl.classify.bpf import prog_insns
from kernel.kernel_testing import Source
from pyffpf.daemon import kernel_sources

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 400
DEMO_PACKETS = 20_000
SKIP_ALLOWED = re.compile(r"^SKIPPED .*the kernel does not take the hook with ", re.MULTILINE)


class CheckError(Exception):
    """A check found something that is not as it should be."""


def _demand(condition: bool, words: str) -> None:
    if not condition:
        raise CheckError(words)


def _tests(*what: str) -> str:
    """Runs tests of the project; what pytest says at the end."""
    command = [sys.executable, "-m", "pytest", "-q", "--color=no", "--tb=short", "-p", "no:xdist", *what]
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=TIMEOUT_S)  # fmt: skip
    lines = done.stdout.rstrip().splitlines()
    skipped = [line for line in lines if line.startswith("SKIPPED")]
    if done.returncode or any(not SKIP_ALLOWED.match(line) for line in skipped):
        print(done.stdout, flush=True)
        raise CheckError(f"{' '.join(what)}: {lines[-1] if lines else 'nothing'}")
    return lines[-1]


# ---- checks: each returns what was seen ----


def hook() -> str:
    """The form of the hook that the kernel takes, and why none before it."""
    with Netns() as ns, Source(ns, ns.left) as source:
        form, refusal = kernel_sources.FORMS[source.form], kernel_sources.refusal(source.kernel)
        programs = [source.fds.fd[which] for which in (lib.FFPF_KERNEL_FD_PROG_MAIN, lib.FFPF_KERNEL_FD_PROG_STORE)]
        sizes = " and ".join(str(prog_insns(fd)) for fd in programs)
    return f"form {form}, {sizes} instructions; {refusal or 'the best form'}"


def records() -> str:
    """What each form of the hook stores is what libpcap shows."""
    return _tests("csrc/kernel/test_kernel_content.py")


def kernel() -> str:
    """All else that is tested of the hook and its control plane."""
    return _tests("csrc/kernel", "--ignore=csrc/kernel/test_kernel_content.py", "--timeout=300")


def offline() -> str:
    """tcpdump reads a savefile with the same words on either library."""
    return _tests("compat_tests/test_tcpdump_offline.py", "-k", "mixed")


def embedded() -> str:
    """tcpdumps with an engine of their own capture what they capture on stock libpcap."""
    return _tests("compat_tests/test_tcpdump_live.py", "-k", "filters or writing or any")


def through_ffpfd() -> str:
    """tcpdumps through ffpfd do."""
    return _tests("compat_tests/test_shared.py", "-k", "filters or tags or loopback or refusals or not_there")


def tpacket() -> str:
    """Where the hook is refused, ffpfd captures by TPACKET into userspace lanes."""
    return _tests("pyffpf/daemon/test_fallback.py")


def netfilter() -> str:
    """tcpdump on a place in netfilter: packets, or the documented refusal; and what `ffpf status` says meanwhile."""
    config = shared.CONFIG.replace("[daemon]\n", "[daemon]\nnetfilter = true\n")
    with Netns() as ns, Ffpfd(ns, config) as ffpfd:
        tool = shared.start(ffpfd, ANNA, ["tcpdump", "-i", ns.left, "-w", "out"])
        with shared.discarded([tool]):
            (source,) = ffpfd.wait_flows(1).sources
            refused = shared.start(ffpfd, ANNA, ["tcpdump", "-c", "1", "-i", "netfilter:input", "icmp"])
            with shared.discarded([refused]):
                words = refused.finish(60).stderr.decode().strip()
        _demand(source.kind == "kernel", f"the source is {source.kind}: {source.reason}")
    return f"status: {source.kind}, {source.form} ({source.reason}); netfilter: {words!r}"


def demo() -> str:
    """The essential part of `make demo`."""
    command = [
        "unshare",
        "--net",
        sys.executable,
        "-m",
        "compat_tests.demo",
        "--inside",
        "--packets",
        str(DEMO_PACKETS),
    ]
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=TIMEOUT_S)  # fmt: skip
    print(done.stdout, flush=True)
    _demand(done.returncode == 0, f"exit code {done.returncode}")
    return "done"


CHECKS: dict[str, Callable[[], str]] = {
    "hook": hook,
    "records": records,
    "offline": offline,
    "embedded": embedded,
    "shared": through_ffpfd,
    "netfilter": netfilter,
    "tpacket": tpacket,
    "demo": demo,
    "kernel": kernel,
}
LONG = frozenset({"kernel"})  # only when it is named


def run(name: str) -> bool:
    """One check, and its line."""
    started = time.monotonic()
    try:
        _demand(name in CHECKS, f"there are {', '.join(CHECKS)}")
        words, good = CHECKS[name](), True
    except Exception as error:
        traceback.print_exc(file=sys.stdout)
        words, good = f"{type(error).__name__}: {error}", False
    result = {"check": name, "ok": good, "seconds": round(time.monotonic() - started, 1), "words": words}
    print(MARK + json.dumps(result), flush=True)
    return good


def main() -> int:
    names = sys.argv[1:] or [name for name in CHECKS if name not in LONG]
    print(MARK + json.dumps({"kernel": os.uname().release, "version": os.uname().version}), flush=True)
    good = [run(name) for name in names]
    print(MARK + json.dumps({"done": len(good), "good": sum(good)}), flush=True)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
