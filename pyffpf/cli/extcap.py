# SPDX-License-Identifier: BSD-3-Clause
"""ffpf-extcap: FFPF as a capture source of Wireshark and tshark (wireshark.org/docs/man-pages/extcap.html).

    ln -s "$(command -v ffpf-extcap)" "$(tshark -G folders | sed -n 's/^Extcap path:\\s*//p')"
    tshark -D                                   # ffpf-eth0, ..., ffpf-flow
    tshark -i ffpf-eth0 -f 'tcp port 80'        # by ffpfd where it runs: nobody needs to be root

An interface ffpf-NAME is the source NAME; ffpf-flow is a filter graph, which the interface's options ask for. Packets
go to the fifo as pcap with nanoseconds. What is wrong is said on standard error, with exit code 1: Wireshark shows it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pyffpf.cli.flow_follow import PcapWriter

if TYPE_CHECKING:
    from pyffpf.reading import Reading

PREFIX, FLOW = "ffpf-", "ffpf-flow"
ETHERNET = (1, "EN10MB", "Ethernet")
SNAPLEN = 262144
USAGE, FAILED = 2, 1


def sentence(kind: str, **values: object) -> str:
    """One line of the protocol."""
    return kind + " " + "".join(f"{{{name}={value}}}" for name, value in values.items())


def interfaces() -> list[str]:
    from pyffpf.pcap import findalldevs

    named = [
        sentence("interface", value=PREFIX + name, display=f"FFPF: {name}") for name in findalldevs() if name != "flow"
    ]
    about = sentence("extcap", version="0.1.0", display="FFPF")
    return [about, *named, sentence("interface", value=FLOW, display="FFPF: a filter graph")]


def link_types() -> list[str]:
    """What packets are said to be, of any interface; what they are, the file's header says when it is known."""
    number, name, display = ETHERNET
    return [sentence("dlt", number=number, name=name, display=display)]


def options(interface: str) -> list[str]:
    if interface != FLOW:
        return []
    tip = "For example (device,eth0) -> (BPF,tcp) -> (sampler,1,100)"
    return [
        sentence("arg", number=0, call="--graph", display="Filter graph", type="string", required="true", tooltip=tip)
    ]


def check_filter(text: str) -> str:
    """Empty when tcpdump would take it for Ethernet; else what is wrong."""
    from pyffpf._core import lib
    from pyffpf.errors import FfpfError
    from pyffpf.filters import compile_text

    try:
        lib.ffpf_bpf_prog_destroy(compile_text(text, ETHERNET[0], SNAPLEN, lib.FFPF_FORM_SAVEFILE))
    except FfpfError as error:
        return str(error)
    return ""


def capture(interface: str, text: str, graph: str, fifo: Path) -> None:
    """Writes packets into the fifo until nobody reads it, SIGTERM or SIGINT. Raises FfpfError, OSError, ValueError."""
    import pyffpf

    with fifo.open("wb") as output:
        writer = PcapWriter(output)
        if interface == FLOW:
            if text:
                raise ValueError("a filter graph has its filters within: (BPF,...)")
            with pyffpf.Flow(graph) as flow:
                write_all(flow, writer)
            return
        with pyffpf.open(interface.removeprefix(PREFIX), text) as source:
            writer.begin(source.link_type)
            write_all(source, writer)


def write_all(source: Reading, writer: PcapWriter) -> None:
    """To the end. A file without a packet has a header too, whatever ends it."""
    try:
        for batch in source.batches():
            writer.write(batch)
    finally:
        writer.close()


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ffpf-extcap", description="FFPF as a capture source of Wireshark.")
    parser.add_argument("--extcap-interfaces", action="store_true", help="list the interfaces")
    parser.add_argument("--extcap-dlts", action="store_true", help="list the interface's link types")
    parser.add_argument("--extcap-config", action="store_true", help="list the interface's options")
    parser.add_argument("--capture", action="store_true", help="capture into the fifo")
    parser.add_argument("--extcap-interface", metavar="NAME", default="", help="which interface is meant")
    parser.add_argument("--extcap-capture-filter", metavar="TEXT", default="", help="a filter, as tcpdump has it")
    parser.add_argument("--extcap-version", metavar="VERSION", help="of the program that asks")
    parser.add_argument("--fifo", metavar="FILE", type=Path, help="where packets go, as a pcap file")
    parser.add_argument("--graph", metavar="TEXT", default="", help="ffpf-flow: the filter graph")
    args = parser.parse_args(words)
    if not args.extcap_interfaces and not args.extcap_interface:
        parser.error("--extcap-interfaces, or --extcap-interface NAME")
    if args.capture and args.fifo is None:
        parser.error("--capture needs --fifo")
    if args.capture and args.extcap_interface == FLOW and not args.graph:
        parser.error(f"{FLOW} needs --graph")
    return args


def main(words: list[str] | None = None) -> int:
    args = arguments(words)
    if args.extcap_interfaces:
        print("\n".join(interfaces()))
    elif args.extcap_dlts:
        print("\n".join(link_types()))
    elif args.extcap_config:
        print("".join(line + "\n" for line in options(args.extcap_interface)), end="")
    elif args.capture:
        return captured(args)
    elif args.extcap_capture_filter:  # without --capture: is it one?
        print(check_filter(args.extcap_capture_filter), end="")
    return 0


def captured(args: argparse.Namespace) -> int:
    """Captures; the exit code."""
    from pyffpf.errors import FfpfError

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    try:
        capture(args.extcap_interface, args.extcap_capture_filter, args.graph, args.fifo)
    except BrokenPipeError:
        return 0
    except (FfpfError, OSError, ValueError) as error:
        print(f"ffpf-extcap: {error}", file=sys.stderr)
        return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
