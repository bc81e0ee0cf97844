# SPDX-License-Identifier: BSD-3-Clause
"""The formatter keeps what a program says, and what its author says of it."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fpl.fpl2 import FplError, pretty
from fpl.fpl2.comments import Beside
from fpl.fpl2.parse import parse
from fpl.fpl2.random_programs import Programs
from fpl.fpl2.report import Source

WRITTEN = """// the file

// about the first
use "own.fpl"; /* behind it */
macro X when R[0]
   = 5; macro Y=6;


R[0]=1 // in the middle
  +2;// behind that
/* of two
   lines */
if R[0]==1 // the test
then // and so
  // within

  R[1]="//" in {"/*"};

  // at its end
else
  // nothing
fi
for(R[2]=0;R[2]<3;R[2]++)max 3 // thrice
  break;
  // the last
rof; // after
return 1;
// end
"""
FORMATTED = """// the file

// about the first
USE "own.fpl";  /* behind it */
MACRO X WHEN R[0] = 5;
MACRO Y = 6;

R[0] = 1 + 2;  // in the middle
// behind that
/* of two
   lines */
IF R[0] == 1 THEN  // the test
    // and so
    // within

    R[1] = "//" IN {"/*"};

    // at its end
ELSE
    // nothing
FI
FOR (R[2] = 0; R[2] < 3; R[2]++) MAX 3  // thrice
    BREAK;
    // the last
ROF  // after
RETURN 1;
// end
"""


def test_comments_and_empty_lines_stay() -> None:
    assert pretty.source(Source(WRITTEN)) == FORMATTED
    assert pretty.source(Source(FORMATTED)) == FORMATTED


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1 << 64))
def test_no_comment_is_lost_wherever_it_stands(seed: int) -> None:
    chance = random.Random(seed)
    program = Programs(seed).program()
    pieces = re.split(r'("[^"]*"|\s+)', program)
    said: list[str] = []
    for place, piece in enumerate(pieces):
        if piece.isspace() and chance.random() < 0.15:
            said.append(
                chance.choice(("// {}\n", "/* {} */", "\n// {}\n", "\n\n/* {}\n x */", '// "{}\n')).format(len(said))
            )
            pieces[place] = piece + said[-1] + chance.choice(" \n")
    text = "".join(pieces)
    once = pretty.source(Source(text))
    assert parse(Source(once)) == parse(Source(program))
    assert [comment.text for comment in Beside(once).comments] == [comment.strip() for comment in said]
    assert pretty.source(Source(once)) == once


@pytest.mark.parametrize("path", sorted(Path(__file__).parent.glob("*.fpl")), ids=lambda path: path.name)
def test_our_own_programs_are_written_so(path: Path) -> None:
    text = path.read_text()
    assert pretty.source(Source(text, path.name)) == text


def test_a_program_that_does_not_parse_is_refused() -> None:
    with pytest.raises(FplError, match="the program ends too early"):
        pretty.source(Source("IF 1 THEN // c"))
