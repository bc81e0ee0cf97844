# SPDX-License-Identifier: BSD-3-Clause
"""ffpf-flow: runs flows, written as filter graphs, in one process. Paper, section 2.3.

Exit codes: 0 done; 1 a device or a filter failed; 2 wrong use, or graph text that means nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from pyffpf.cli import flow_engine, flow_run, flow_show
from pyffpf.cli.control import socket_path
from pyffpf.cli.words import words_of
from pyffpf.engine_choice import ENGINES
from pyffpf.errors import BadGraph, FfpfError
from pyffpf.flow import Flow
from pyffpf.graph import Graph
from pyffpf.graph_text import check_text
from pyffpf.picture import PictureError

EXIT_FAILED = 1
EXIT_MISUSED = 2
PICTURES = (".dot", ".gv", ".svg", ".png", ".pdf")
SECONDS_MAX = 86400 * 366


class MisuseError(Exception):
    """Wrong use; the text is for the user."""


class FailedError(Exception):
    """A device or a filter failed; the text is for the user."""


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of packets")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not 0 < value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"{text}: more than 0 and at most {SECONDS_MAX} seconds")
    return value


def picture_file(text: str) -> str:
    if not text.lower().endswith(PICTURES):
        raise argparse.ArgumentTypeError(f"{text}: a picture's name ends in {', '.join(PICTURES)}")
    return text


def octets(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 262144:
        raise argparse.ArgumentTypeError(f"{text}: from 1 to 262144 octets")
    return int(text)


class Once(argparse.Action):
    """An option whose second use would undo the first."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error(f"{option} may be given once")
        setattr(namespace, self.dest, values)


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ffpf-flow",
        usage="ffpf-flow [OPTIONS] FLOW [FLOW ...]\n       ffpf-flow --classes [CLASS]\n       ffpf-flow --list",
        description="Runs flows, each a filter graph as text: '(device,eth0) -> (BPF,tcp) -> (packetcount)'. Flows "
        "that begin alike share what they have in common. Results are shown at the end, and on SIGUSR1; SIGUSR2 pauses "
        "the flows, and lets them go on.",
        epilog="A NODE is a name that the text gives (web=(BPF,...)), FLOW.NUMBER, or a flow: what its last stage lets "
        "through. Flows are flow1, flow2 ... in their order. Exit codes: 0 done, 1 a device or filter failed, 2 wrong "
        "use or wrong graph text. Environment: FFPF_ENGINE is --engine, FFPF_GROUP is --group, FFPF_SOCKET is "
        "--socket. See ffpf-filter(7) for graph text.",
    )  # fmt: skip
    parser.add_argument("flows", nargs="*", metavar="FLOW", help="graph text; one argument a flow")
    what = parser.add_argument_group("what is done").add_mutually_exclusive_group()
    what.add_argument(
        "--classes", nargs="?", const="", metavar="CLASS", help="lists the filter classes, or explains one"
    )
    what.add_argument(
        "--check", action="store_true", help="only makes the flows, as if to run, and prints them in their one form"
    )
    what.add_argument("--explain", action="store_true", help="only makes them, and says where each node runs, and why")
    what.add_argument("--list", action="store_true", help="lists the flows of ffpfd, of whomever you may know of")
    what.add_argument(
        "--follow", action=Once, metavar="NODE", help="writes the packets that NODE lets through to standard output"
    )
    parser.add_argument(
        "--format", choices=("text", "pcap"), help="of --follow: lines, or a pcap file (default: text on a terminal)"
    )
    parser.add_argument(
        "--count",
        type=positive,
        metavar="N",
        help="ends after N packets of the devices, or of the node that is followed",
    )
    parser.add_argument("--seconds", type=seconds, metavar="S", help="ends after S seconds")
    parser.add_argument("--every", type=seconds, metavar="S", help="shows the results every S seconds as well")
    parser.add_argument(
        "--mbuf",
        action="append",
        default=[],
        metavar="NODE",
        help="results have NODE's MBuf, too: its double words that are not 0; may be given more than once",
    )
    parser.add_argument("--json", action="store_true", help="results as JSON, one document a line")
    parser.add_argument(
        "--graph", type=picture_file, metavar="FILE", help="draws the graph at the end (.svg, .dot, .png)"
    )
    parser.add_argument("--quiet", action="store_true", help="no results at the end, no progress bar")
    where = parser.add_argument_group("where flows run")
    where.add_argument(
        "--engine",
        choices=ENGINES,
        help="in ffpfd, which captures for all and runs nodes in the kernel (shared), or in this process (embedded). "
        "Default: auto, ffpfd where it is there and serves all flows, else this process",
    )
    where.add_argument("--group", metavar="NAME", help="of ffpfd: flow group to share with (default: yours)")
    where.add_argument("--socket", metavar="PATH", help="where ffpfd listens (default: /run/ffpf/ffpfd.sock)")
    where.add_argument("--verbose", action="store_true", help="says where the flows run, and why not in ffpfd")
    live = parser.add_argument_group("interfaces")
    live.add_argument("--snaplen", type=octets, default=0, metavar="OCTETS", help="captured of a packet, at most")
    live.add_argument("--immediate", action="store_true", help="every packet at once, at a higher cost")
    live.add_argument("--no-promisc", action="store_true", help="only packets for this machine")
    args = parser.parse_args(argv)
    if args.classes is not None and args.flows:
        parser.error("--classes takes no flows")
    if args.list and args.flows:
        parser.error("--list takes no flows")
    if args.classes is None and not args.list and not args.flows:
        parser.error("no FLOW given")
    if args.format and not args.follow:
        parser.error("--format goes with --follow")
    if args.follow and not args.format:
        args.format = "text"
    return args


def make(args: argparse.Namespace) -> tuple[Graph, list[Flow]]:
    """All flows, instantiated; the errors say which is wrong, and where."""
    try:
        return flow_engine.make(args, os.environ, sys.stderr)
    except flow_engine.FlowError as error:
        words = f"flow {error.number}: {words_of(error.cause)}"
        raise (MisuseError if isinstance(error.cause, BadGraph) else FailedError)(words) from error
    except (ValueError, flow_run.NoSuchNodeError) as error:
        raise MisuseError(str(error)) from error


def run(args: argparse.Namespace) -> int:
    if args.classes is not None:
        flow_show.show_classes(args.classes, sys.stdout)
        return 0
    if args.list:
        flow_engine.show_list(socket_path(args.socket, os.environ), sys.stdout, as_json=args.json)
        return 0
    asked = flow_run.Asked()
    graph, flows = make(args)
    with graph:
        if args.check:
            for flow in flows:
                print(check_text(flow.text))
        elif args.explain:
            flow_show.show_places(graph, flows, sys.stdout, as_json=args.json)
        else:
            try:
                flow_run.Run(args, graph, flows, asked).run()
            except flow_run.NoSuchNodeError as error:
                raise MisuseError(str(error)) from error
        if args.graph:
            graph.picture().save(args.graph)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    args = parse(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `ffpf-flow ... | head` is no error
    try:
        return run(args)
    except (MisuseError, flow_show.NoSuchClassError) as error:
        print(f"ffpf-flow: {error}", file=sys.stderr)
        return EXIT_MISUSED
    except (FailedError, FfpfError, PictureError, OSError) as error:
        print(f"ffpf-flow: {words_of(error)}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        if sys.stdout.closed is False:
            _flush()


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
