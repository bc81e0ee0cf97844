# SPDX-License-Identifier: BSD-3-Clause
"""The last pass, in a process of its own: LLVM IR to eBPF.

takes    text of an LLVM module with one function, in section "program", and bitcode that it may call, or none; stdin,
         behind their lengths (u32 each)
gives    Object.packed() (link.py), which has no relocations but calls of functions that the module only declares;
         stdout, behind a status octet (0: good, 1: a text) and length

LLVM's back end ends the process on what it cannot lower (more than 512 octets of stack, for one), and may take any time
and memory; hence the process, and its limits, which it sets itself before each module.
"""

from __future__ import annotations

import os
import resource
import struct
import sys
from typing import Any, BinaryIO

from fpl.classify.link import INSN_BYTES, Object

SECTION = b"program"
ENTRY = "classify"  # the function in it
SHT_RELA, SHT_REL, SHN_UNDEF = 4, 9, 0
R_BPF_64_64, R_BPF_64_32 = 1, 10
LD_IMM64, PSEUDO_FUNC = 0x18, 4
CALL, PSEUDO_CALL = 0x85, 1


def section_of(elf: bytes) -> Object:
    """The program's section. Raises ValueError when it has relocations but calls, and addresses of its functions, which
    the kernel finds by their distance."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    entry, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQII", elf, table + i * entry) for i in range(count)]
    names_at = sections[names][4]
    found: tuple[int, bytearray] | None = None
    calls = list[tuple[int, str]]()
    for number, (name, kind, _flags, _address, at, size, link, info) in enumerate(sections):
        label = elf[names_at + name : elf.index(b"\0", names_at + name)]
        if label == SECTION:
            found = number, bytearray(elf[at : at + size])
        elif kind in (SHT_RELA, SHT_REL) and found and info == found[0]:
            if kind == SHT_RELA:
                raise ValueError("the emitted program needs relocations with addends")
            symbols, texts = sections[link][4], sections[sections[link][6]][4]
            for where, what in struct.iter_unpack("<QQ", elf[at : at + size]):
                symbol = elf[symbols + 24 * (what >> 32) :][:24]
                if what & 0xFFFFFFFF == R_BPF_64_32:
                    calls.append(_call(found[1], where, symbol, elf[texts:]))
                else:
                    _find_function(found[1], number=found[0], where=where, kind=what & 0xFFFFFFFF, symbol=symbol)
    if found is None:
        raise ValueError("the emitted object has no program")
    return Object(bytes(found[1]), tuple(calls))


def _call(code: bytearray, where: int, symbol: bytes, texts: bytes) -> tuple[int, str]:
    """(instruction, name) of a call of what the module only declares."""
    name, _info, _other, section, _value, _size = struct.unpack("<IBBHQQ", symbol)
    if section != SHN_UNDEF or code[where] != CALL or code[where + 1] >> 4 != PSEUDO_CALL:
        raise ValueError("the emitted program needs relocations")
    return where // INSN_BYTES, texts[name : texts.index(b"\0", name)].decode()


def _find_function(code: bytearray, *, number: int, where: int, kind: int, symbol: bytes) -> None:
    """Puts a function's distance, in instructions, into the load of its address."""
    _name, _info, _other, section, value, _size = struct.unpack("<IBBHQQ", symbol)
    if kind != R_BPF_64_64 or section != number or code[where] != LD_IMM64:
        raise ValueError("the emitted program needs relocations")
    (addend,) = struct.unpack_from("<i", code, where + 4)
    code[where + 1] = code[where + 1] & 0x0F | PSEUDO_FUNC << 4
    struct.pack_into("<i", code, where + 4, (value + addend - where) // INSN_BYTES - 1)


class Backend:
    def __init__(self) -> None:
        import llvmlite.binding as llvm

        self._llvm: Any = llvm
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        self._machine = llvm.Target.from_triple("bpfel").create_target_machine(
            cpu="v3", features="+allows-misaligned-mem-access", opt=2
        )

    def compile(self, text: str, library: bytes) -> Object:
        context = self._llvm.create_context()  # with a name and a constant for each, a context grows for ever
        module = self._llvm.parse_assembly(text, context)
        if library:
            module.link_in(self._llvm.parse_bitcode(library, context))
            for function in module.functions:
                if not function.is_declaration and function.name != ENTRY:
                    function.linkage = "internal"  # what is not called goes, and all else is put in line
        module.verify()
        options = self._llvm.create_pipeline_tuning_options(speed_level=2)
        builder = self._llvm.create_pass_builder(self._machine, options)
        builder.getModulePassManager().run(module, builder)
        return section_of(self._machine.emit_object(module))


def serve(requests: BinaryIO, replies: BinaryIO, cpu_seconds: int, memory_bytes: int) -> None:
    backend = Backend()
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while head := requests.read(8):
        text_bytes, library_bytes = struct.unpack("<II", head)
        text, library = requests.read(text_bytes).decode(), requests.read(library_bytes)
        used = resource.getrusage(resource.RUSAGE_SELF)
        allowed = int(used.ru_utime + used.ru_stime) + 1 + cpu_seconds
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, resource.RLIM_INFINITY))
        try:
            status, answer = 0, backend.compile(text, library).packed()
        except (RuntimeError, ValueError) as error:
            status, answer = 1, str(error).encode()
        replies.write(struct.pack("<BI", status, len(answer)) + answer)
        replies.flush()


def main() -> None:
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever LLVM prints is no reply
    serve(sys.stdin.buffer, replies, int(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
