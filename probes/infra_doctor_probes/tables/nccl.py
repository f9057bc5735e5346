"""NCCL releases with known faults, for the copies that something loads. Facts: issue threads (`nccl_known_bad`).

A known fault needs its own conditions (a topology, an abort, a compiler), so it is a hint and never a verdict."""

from collections.abc import Iterator

from infra_doctor.plugin import CheckContext, Compatibility, CompatibilityRule, Verdict, in_range, pair
from infra_doctor_probes.tables.common import arch_of, label, rows, table_text

RULE = "nccl-known-bad"


def judge(ctx: CheckContext) -> Iterator[Compatibility]:
    """Every loaded copy against every known fault of its version on this architecture."""
    for copy in ctx.by_kind("nccl"):
        consumers = dict.fromkeys(use.consumer for use in copy.loaded_by)
        if not consumers or copy.version is None:
            continue
        for row in rows("nccl_known_bad"):
            if row["arch"] in {"", arch_of(ctx)} and in_range(copy.version, row["spec"]):
                detail = f"{label(copy)} has a known fault: {row['known_bad']}."
                for consumer in consumers:
                    yield pair(
                        copy.key, consumer, RULE, Verdict.UNKNOWN, detail, source=table_text("nccl_known_bad", row),
                        certain=False,
                    )  # fmt: skip


RULES = (
    CompatibilityRule(
        id=RULE,
        title="The loaded NCCL has no known fault",
        explanation="Some NCCL releases hang or fail under conditions that files do not show. They are named as hints.",
        sources=(
            "https://github.com/pytorch/pytorch/issues/174338",
            "https://github.com/pytorch/pytorch/issues/149546",
            "https://github.com/pytorch/pytorch/issues/97843",
        ),
        judge=judge,
    ),
)
