"""Foreign text that readers must survive: made by hypothesis out of real lines, the same in every run."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

PROPERTY = settings(
    derandomize=True, deadline=None, database=None, max_examples=80, suppress_health_check=list(HealthCheck)
)
# What breaks readers of tables, trees and XML: separators, numbers that are none, cut escapes, other alphabets.
SCRAPS = (
    "", " ", "\t", "\n", "\r\n", "\0", "\x1b[", "\x1b[4m", "|", "+", ":", " : ", ",", "N/A", "-", "²", "٣", "\ud800", "\ufeff",
    "<", ">", "</", "<a>", "&x;", "]]>", "0x", "99999999999999999999999", "1e999", "-0", "nan", "GPU 0:", "GPU 00000000:00:00.0",
)  # fmt: skip


def mutated(seeds: Sequence[str]) -> st.SearchStrategy[str]:
    """Texts out of the lines of these seeds, scraps and anything else, in any order."""
    lines = sorted({line for seed in seeds for line in seed.splitlines(keepends=True)})
    piece = st.one_of(st.sampled_from(lines), st.sampled_from(SCRAPS), st.text(max_size=20))
    spliced = st.lists(piece, max_size=40).map("".join)
    cut = st.tuples(
        st.sampled_from(list(seeds)), st.integers(0, 5000), st.integers(0, 200), st.sampled_from(SCRAPS)
    ).map(lambda t: t[0][: t[1]] + t[3] + t[0][t[1] + t[2] :])
    return st.one_of(spliced, cut)


def processor_seconds(call: Callable[[], Any], *, enough: float = 0.0) -> float:
    """What a call costs this process: the best of three, as others on the same core slow it. One that takes at most
    `enough` is not repeated."""
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
        if best <= enough:
            break
    return best
