# SPDX-License-Identifier: BSD-3-Clause
"""fplc keygen, rotate, trust, verify: keys that sign compilation records, and whose signatures count.

What verifies is csrc/record, the same code that loads records into graphs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from fpl.fpl2 import keys
from fpl.fpl2.record import MACHINES

DEFAULT_TRUST = "/etc/ffpf/trust"


def _store(args: argparse.Namespace) -> keys.TrustStore:
    return keys.TrustStore(args.trust)


def _keygen(args: argparse.Namespace) -> str:
    secret = keys.Secret.generate()
    keys.write_secret(args.file, secret)
    public = args.file.with_name(f"{args.file.name}.pub")
    public.write_text(keys.Trusted(secret.public).text())
    return f"{secret.id}\n"


def _rotate(args: argparse.Namespace) -> str:
    """The old key's records go on being accepted until the date, or until the key is removed."""
    store, old = _store(args), keys.read_secret(args.old)
    before = store.get(old.id)
    new = keys.Secret.generate()
    keys.write_secret(args.new, new)
    store.add(keys.Trusted(new.public))
    if args.until:
        store.add(replace(before, not_after=args.until))
    return f"{new.id}\n"


def _trust_add(args: argparse.Namespace) -> str:
    trusted = keys.read_trusted(args.file)
    if args.until:
        trusted = replace(trusted, not_after=args.until)
    _store(args).add(trusted)
    return f"{trusted.id}\n"


def _trust_remove(args: argparse.Namespace) -> str:
    _store(args).remove(args.id)
    return ""


def _trust_list(args: argparse.Namespace) -> str:
    return "".join(f"{trusted.id}  {_lasts(trusted.not_after)}\n" for trusted in _store(args).list())


def _lasts(end: datetime | None) -> str:
    if end is None:
        return "for ever"
    return f"{'ended' if end < datetime.now(UTC) else 'until'} {end:%Y-%m-%d %H:%M:%S}"


def _verify(args: argparse.Namespace) -> str:
    from pyffpf._core import ffi, lib

    policy, image = ffi.new("struct ffpf_fplo_policy *"), ffi.new("struct ffpf_fplo_image *")
    error = ffi.new("struct ffpf_error *")
    lib.ffpf_fplo_policy_of_environment(policy)
    directory = ffi.new("char[]", os.fsencode(args.trust))
    policy.trust = directory
    if lib.ffpf_fplo_load(image, os.fsencode(args.file), policy, error):
        raise ValueError(ffi.string(error.text).decode(errors="replace"))
    try:
        return _described(image.record)
    finally:
        lib.ffpf_fplo_free(image)


def _described(record: object) -> str:
    """A row for each thing that a record says."""
    from pyffpf._core import ffi, lib

    parsed, section = ffi.cast("struct ffpf_fplo *", ffi.addressof(record)), ffi.new("struct ffpf_fplo_section *")
    machines = {number: name for name, number in MACHINES.items()}
    rows = [
        ("key", bytes(ffi.buffer(parsed.key_id, 16)).hex()),
        ("compiler", ffi.string(parsed.compiler).decode()),
        ("SHA-256 of the program", bytes(ffi.buffer(parsed.source_digest, 32)).hex()),
        ("steps, at most", str(parsed.steps)),
        ("rounds of loops, at most", f"{parsed.rounds}, {parsed.deepest} deep"),
        ("octets of MBuf", str(parsed.mbuf_bytes)),
    ]
    for i in range(parsed.section_count):
        lib.ffpf_fplo_section(parsed, i, section)
        if section.kind == lib.FFPF_FPLO_NATIVE:
            where = f"{machines.get(section.machine, section.machine)}, link type {section.link_type}"
            rows.append((f"code, {where}", f"{section.len} octets"))
    count = lib.ffpf_fplo_externals(parsed, ffi.NULL, 0)
    externals = ffi.new("struct ffpf_fplo_external[]", max(1, count))
    lib.ffpf_fplo_externals(parsed, externals, count)
    rows += [
        ("external function", bytes(ffi.buffer(each.text, each.text_len)).decode(errors="replace"))
        for each in externals[0:count]
    ]
    return "".join(f"{name:<30} {value}\n" for name, value in rows)


def _until(text: str) -> datetime:
    try:
        return keys.parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no day (2027-01-31) and no time (2027-01-31T12:00:00Z)"
        ) from None


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="fplc", description="Keys that sign compilation records, and who is trusted.")
    commands = top.add_subparsers(required=True)

    def command(to: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: Callable[..., str],
                words: str) -> argparse.ArgumentParser:  # fmt: skip
        made = to.add_parser(name, help=words, description=words)
        made.set_defaults(run=run)
        return made

    def trusting(made: argparse.ArgumentParser) -> None:
        made.add_argument("--trust", type=Path, metavar="DIR", default=os.environ.get("FFPF_TRUST") or DEFAULT_TRUST,
                          help="directory of public keys; else FFPF_TRUST, else /etc/ffpf/trust")  # fmt: skip

    keygen = command(commands, "keygen", _keygen, "makes a secret key, and FILE.pub, its public half; prints its id")
    keygen.add_argument("file", type=Path, help="the secret key's file, which must not be there")
    rotate = command(commands, "rotate", _rotate, "makes a new secret key that is trusted from now on; the old key is "
                     "trusted until a date, or until it is removed")  # fmt: skip
    rotate.add_argument("old", type=Path, help="the secret key so far")
    rotate.add_argument("new", type=Path, help="the new secret key's file, which must not be there")
    rotate.add_argument("--until", type=_until, metavar="DATE", help="when the old key ends, UTC")
    trusting(rotate)
    verify = command(commands, "verify", _verify, "says what a signed record has, or why it is refused")
    verify.add_argument("file", type=Path)
    trusting(verify)
    trust = commands.add_parser("trust", help="whose signatures count").add_subparsers(required=True)
    add = command(trust, "add", _trust_add, "trusts a public key; prints its id")
    add.add_argument("file", type=Path, help="as keygen writes it, or from another trust directory")
    add.add_argument("--until", type=_until, metavar="DATE", help="when that ends, UTC")
    remove = command(trust, "remove", _trust_remove, "trusts a key no longer")
    remove.add_argument("id")
    listed = command(trust, "list", _trust_list, "lists the keys that are trusted")
    for each in (add, remove, listed):
        trusting(each)
    return top


def main(words: list[str]) -> int:
    args = parser().parse_args(words)
    try:
        sys.stdout.write(args.run(args))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
