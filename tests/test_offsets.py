"""Where chunks lie: offsets in bytes and pages, of offsets in characters."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from docstore.ingest import offsets


def test_page_numbers_and_byte_offsets() -> None:
    content = "ä\f\f€b\f𝄞"
    starts = np.array([0, 1, 3, 5, 6])
    assert offsets.page_numbers(content, starts).tolist() == [1, 3, 3, 4, 4]
    assert offsets.byte_offsets(content, np.arange(8)).tolist() == [0, 2, 3, 4, 7, 8, 9, 13]


@given(st.text(st.sampled_from("a é€\U0001f600"), max_size=40), st.lists(st.integers(0, 40)), st.integers(1, 9))
def test_byte_offsets_are_counted_in_parts(content: str, characters: list[int], at_once: int) -> None:
    wanted = [min(each, len(content)) for each in characters]
    before, offsets._AT_ONCE = offsets._AT_ONCE, at_once
    try:
        found = offsets.byte_offsets(content, np.array(wanted, np.int64)).tolist()
    finally:
        offsets._AT_ONCE = before
    assert found == [len(content[:each].encode()) for each in wanted]
