# SPDX-License-Identifier: BSD-3-Clause
"""python -m fpl.graph.many_programs [--programs N] [--seed S]: the verifier accepts what the compiler does.

Random programs that the compiler accepts are loaded, each alone and then in unions of 2 to 200 nodes, of which as many
are FPL-2 as the kernel has room for and the others BPF flows. In a union they are run on packets, first each alone and
then all on each packet, and do what the reference does with each alone: results, and memory, to which both come.
Says what was refused, and how many differed: 0 and 0 is what should be. test_class_fpl2.py has about a hundred.

Seen on Linux 6.18, x86-64, --seed 11, seeds 11,000,000 to 11,010,063: 10,043 programs in 389 unions with 5,497 BPF
flows, none different, and none refused by the verifier. One, 11,007,850, was refused since the compiler's process had
no memory left: it is renewed now (test_compiler.py). The first 6,031 of them again since, those without memory as
columns of classify: none refused, none different. What earlier runs found was mended: loops of no rounds, and divisors
that are powers of two.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter

from fpl.classify import Compiler
from fpl.fpl2 import FplError
from fpl.fpl2.compile import Checked
from fpl.fpl2.random_programs import Programs
from fpl.fpl2.test_back_ends import MBUF, PACKETS
from fpl.graph import class_fpl2
from fpl.graph.testing import TestStage, octet_is
from fpl.graph.testing_fpl2 import KernelPrograms, Seen, expected, seen

UNION_MAX, PROGRAMS_MAX = 200, 50
BPF_COLUMNS = range(200, 200 + UNION_MAX)
MANY, FEW = 0.1, 10  # how often a union has up to 200 nodes; else so many BPF flows at most
EVERY = 500  # programs, between two lines of progress
SECONDS = 120  # of processor time, for a compilation


def accepted(seed: int) -> str | None:
    text = Programs(seed).program()
    try:
        checked(text)
    except FplError:
        return None
    return text


def checked(text: str) -> Checked:
    """As the node's class finds it, which knows it then."""
    return class_fpl2.checked(*class_fpl2.meant(text, MBUF, "ethernet"))


def packets_of(chance: random.Random) -> list[Seen]:
    octets = [*chance.sample(PACKETS, 3), chance.randbytes(chance.randrange(200))]
    return [seen(each, chance.choice([None, chance.randrange(1 << 16)])) for each in octets]


def union(made: TestStage, seeds: list[int], texts: list[str], chance: random.Random) -> Counter[str]:
    """One union; what came of it, printed where it should not have."""
    found = Counter[str]()
    most = UNION_MAX - len(texts) if chance.random() < MANY else FEW
    filters = BPF_COLUMNS[: chance.randint(0, most)]
    for column in filters:
        made.classifier.set(column, octet_is(chance.randrange(4), chance.randrange(256)))
    loaded, packets = KernelPrograms(made, texts, MBUF), packets_of(chance)
    for number, reason in loaded.refused.items():
        found["refused"] += 1
        print(f"seed {seeds[number]} refused: {reason}", flush=True)
    numbers = [number for number in range(len(texts)) if number not in loaded.refused]
    alone, together = loaded.run_each(numbers, packets), loaded.run_together(numbers, packets)
    for number in numbers:
        results, memory = expected(checked(texts[number]), packets * 2, MBUF)
        if (alone[number] + together[number], loaded.memory(number)) != (results, memory):
            found["different"] += 1
            print(f"seed {seeds[number]} differs from the reference", flush=True)
        found["accepted"] += any(results)
    found["programs"], found["filters"], found["unions"] = len(texts), len(filters), 1
    found["steps"] = made.stage.program[1]
    loaded.close()
    for column in filters:
        made.classifier.clear(column)
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fpl.graph.many_programs", description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(arguments)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    chance, total, begun, seed = random.Random(args.seed), Counter[str](), time.monotonic(), args.seed * 1_000_000
    compiler = Compiler(SECONDS)  # the machine may have other work: what is asked here is what the verifier says
    with TestStage(compiler) as made:
        while total["programs"] < args.programs:
            size = chance.randint(2, min(UNION_MAX, PROGRAMS_MAX))
            seeds, texts = list[int](), list[str]()
            while len(texts) < size:
                text = accepted(seed)
                if text is not None:
                    seeds.append(seed)
                    texts.append(text)
                seed += 1
            before = total["programs"] // EVERY
            total += union(made, seeds, texts, chance)
            if total["programs"] // EVERY != before:
                print(f"{time.monotonic() - begun:.0f} s: {dict(total)}", flush=True)
    compiler.close()
    print(f"seeds {args.seed * 1_000_000} to {seed - 1}: {dict(total)}")
    return int(total["refused"] > 0 or total["different"] > 0)


if __name__ == "__main__":
    sys.exit(main())
