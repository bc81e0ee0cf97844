# SPDX-License-Identifier: BSD-3-Clause
"""Last pass for userspace: LLVM IR to octets that a processor runs wherever they lie.

takes    text of a module of one function, `filter`, and constants
gives    Code: its octets, entered at the first; no relocation, no data but constants behind it, no call but through its
         arguments
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fpl.fpl2 import elf

TARGETS = {"x86-64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu"}


@dataclass(frozen=True)
class Code:
    target: str  # a key of TARGETS
    octets: bytes
    module: Any  # LLVM's, optimised

    @property
    def ir(self) -> str:
        return str(self.module)

    @property
    def assembly(self) -> str:
        """Made only when somebody asks: it takes as long as the code itself."""
        return str(_machine(self.target).emit_assembly(self.module))


class BackendError(Exception):
    """LLVM refused, or made what cannot be moved."""


@lru_cache(maxsize=4)
def _machine(target: str) -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(TARGETS[target]).create_target_machine(
        cpu="generic" if target == "aarch64" else "x86-64", opt=2, reloc="pic", codemodel="small"
    )


def _few_passes(llvm: Any) -> Any:
    """Registers become values, ways with known conditions are gone."""
    passes = llvm.create_new_module_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    passes.add_jump_threading_pass()
    passes.add_simplify_cfg_pass()
    passes.add_sccp_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_dead_code_elimination_pass()
    return passes


def compile_module(text: str, target: str = "x86-64", *, briefly: bool = False) -> Code:
    """briefly: of a long program without loops of its own, which a few passes make as fast as all of them do, in a
    third of the time. Raises BackendError."""
    import llvmlite.binding as llvm

    machine = _machine(target)
    try:
        module = llvm.parse_assembly(f'target triple = "{TARGETS[target]}"\n{text}')
        module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_vectorization = options.slp_vectorization = False  # their constants would lie in data
        builder = llvm.create_pass_builder(machine, options)
        passes = _few_passes(llvm) if briefly else builder.getModulePassManager()
        passes.run(module, builder)
        return Code(target, elf.code_of(machine.emit_object(module)), module)
    except (RuntimeError, ValueError) as error:
        raise BackendError(f"the compiler's back end refused: {error}") from None
