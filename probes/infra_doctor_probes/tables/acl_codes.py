"""Error codes of CANN's runtime, operators and HCCL that tell something of the machine: number, name, meaning, and the finding
that they point to.

Numbers and names are those of CANN's public headers and documents. A code that a program's own mistake causes (shapes,
streams, contexts) points to nothing and is not here. `strength` is that of a log signature: what the code alone says."""

from dataclasses import dataclass
from functools import cache

from infra_doctor.plugin import LogSignature

# acl/error_codes/rt_error_codes.h of CANN 8.5, and torch_npu's own list of what each number means
RUNTIME = "https://github.com/Ascend/pytorch/blob/9e73e708ab93/torch_npu/csrc/core/npu/NPUErrorCodes.h"
# "aclnn return codes" of CANN's operator library reference; 561112 comes with the text "opp_kernel package"
OPERATOR = "https://github.com/vllm-project/vllm-ascend/issues/237"
HCCL = (
    "https://github.com/Ascend/mind-cluster/blob/22bb3d987bc0/component/ascend-faultdiag/src/ascend_fd/configuration/"
    "kg-config.json"
)
VLLM = "https://github.com/vllm-project/vllm-ascend/"
GPUSTACK = "https://github.com/gpustack/gpustack/issues/"
# How programs write a runtime's or an operator's number: "error code is 507033", "runtime result = 207001", "ErrCode=107001",
# "Call aclInit(nullptr) failed : 507008" (PaddlePaddle), "CANN failure 507013" (ONNX Runtime).
_BEFORE = (
    r"(?:[Ee]rror code|[Ee]rrCode|errorCode|runtime result|aclnnStatus|rtError|\bfailed|CANN failure|\bret(?:Code)?)"
    r"(?: is|:)?[ =:\[]{1,3}"
)


@dataclass(frozen=True, slots=True)
class Code:
    """One code. `number` is "507033" or "EI0006"; `source` where a log or document with it was published."""

    number: str
    name: str
    meaning: str
    finding: str
    strength: int
    source: str


CODES = tuple(
    Code(*row)
    for row in (
        ("107001", "ACL_ERROR_RT_INVALID_DEVICEID",
         "no device of this number is visible to the process", "ASCEND-CTR", 1, GPUSTACK + "3352"),
        ("207001", "ACL_ERROR_RT_MEMORY_ALLOCATION",
         "no memory left on the device", "NPU-BUSY", 2, VLLM + "issues/1993"),
        ("207004", "ACL_ERROR_RT_NO_DEVICE", "no usable device", "ASCEND-CTR", 2, GPUSTACK + "2527"),
        ("207006", "ACL_ERROR_RT_NO_PERMISSION", "the process may not use the device", "ASCEND-PERM", 3, RUNTIME),
        ("207018", "ACL_ERROR_RT_DEVICE_OOM", "the device is out of memory", "NPU-BUSY", 2, RUNTIME),
        ("507008", "ACL_ERROR_RT_SOC_VERSION", "the runtime does not know the chip", "ASCEND-SOC", 2, RUNTIME),
        ("507010", "ACL_ERROR_RT_LOST_HEARTBEAT",
         "the chip's task scheduler does not answer", "ASCEND-HEALTH", 2, RUNTIME),
        ("507033", "ACL_ERROR_RT_DEV_SETUP_ERROR",
         "the device could not be started", "CANN-DRV", 2, VLLM + "issues/4284"),
        ("507053", "ACL_ERROR_RT_DEVICE_MEM_ERROR", "an uncorrectable memory error", "ASCEND-HEALTH", 3, RUNTIME),
        ("507054", "ACL_ERROR_RT_HBM_MULTI_BIT_ECC_ERROR",
         "a multi-bit ECC error of the HBM", "ASCEND-HEALTH", 3, RUNTIME),
        ("507055", "ACL_ERROR_RT_SUSPECT_DEVICE_MEM_ERROR", "probably a memory error", "ASCEND-HEALTH", 2, RUNTIME),
        ("507056", "ACL_ERROR_RT_LINK_ERROR", "a link between devices failed", "ASCEND-LINK", 3, RUNTIME),
        ("507057", "ACL_ERROR_RT_SUSPECT_REMOTE_ERROR",
         "probably a failure of the other end", "ASCEND-LINK", 1, RUNTIME),
        ("561003", "ACLNN_ERR_INNER_FIND_KERNEL_ERROR",
         "no ready-made operator for this chip was found", "ASCEND-SOC", 2, OPERATOR),
        ("561103", "ACLNN_ERR_INNER_NULLPTR",
         "an operator's library met a null pointer: it does not fit the rest of CANN or the driver", "CANN-DRV", 2,
         VLLM + "issues/4859"),
        ("561107", "ACLNN_ERR_INNER_OPP_PATH_NOT_FOUND",
         "the folder of operators is not found: ASCEND_OPP_PATH", "CANN-ENV", 3, OPERATOR),
        ("561112", "ACLNN_ERR_INNER_OPP_KERNEL_PKG_NOT_FOUND",
         "no package of operators for this chip is loaded", "ASCEND-SOC", 3, OPERATOR),
        ("E30006", "OPP verification",
         "the device refused the operator package of the host", "CANN-DRV", 3, VLLM + "issues/4284"),
        ("E30008", "AI CPU operator timeout", "an operator on the AI CPU did not end", "ASCEND-HEALTH", 1, HCCL),
        ("EI0002", "Notify wait timeout",
         "another rank did not come to the same collective in time", "ASCEND-LINK", 1, HCCL),
        ("EI0006", "Socket timeout",
         "a connection between ranks did not come about in time", "ASCEND-LINK", 2,
         "https://github.com/hiyouga/LlamaFactory/issues/5071"),
        ("EI0007", "Resource allocation", "HCCL found no memory on the device", "NPU-BUSY", 2, HCCL),
        ("EI0009", "Transport init",
         "HCCL could not set up its transport to another rank", "ASCEND-LINK", 2, VLLM + "issues/3162"),
        ("EI0019", "Bind IP port", "HCCL's port is taken by another process", "NPU-BUSY", 3, VLLM + "pull/16205"),
        ("EJ0001", "HCCP process",
         "HCCL's helper on the device did not start: the last job still runs", "NPU-BUSY", 2, HCCL),
        ("EJ0002", "Network port down", "the NPU's network port is down", "ASCEND-LINK", 3, VLLM + "issues/1815"),
        ("EJ0003", "Bind IP port", "HCCL's port is taken by another process", "NPU-BUSY", 3, VLLM + "issues/405"),
        ("EL0004", "Memory allocation",
         "the driver found no memory on the device", "NPU-BUSY", 2, VLLM + "issues/1993"),
        ("EZ3003", "No operator", "no engine has an operator of this name for this chip", "ASCEND-SOC", 2, HCCL),
    )
)  # fmt: skip


@cache
def signatures(finding: str) -> tuple[LogSignature, ...]:
    """One signature per code that points to a finding: numbers behind the words that programs put before them, letter codes
    as CANN prints them ("EI0006: …" or "Communication_Error_Bind_IP_Port(EI0019)")."""
    return tuple(
        LogSignature(pattern=pattern_of(code.number), source=code.source, strength=code.strength)
        for code in CODES
        if code.finding == finding
    )


def pattern_of(number: str) -> str:
    """The regular expression of one code."""
    return rf"{_BEFORE}{number}\b" if number.isdecimal() else rf"(?:^|[^A-Za-z0-9]){number}(?::|\))"


def table(finding: str) -> str:
    """The codes that point to a finding, as Markdown for its explanation."""
    found = [code for code in CODES if code.finding == finding]
    return "\n".join(
        ("| code | name | meaning |", "|---|---|---|", *(f"| {c.number} | {c.name} | {c.meaning} |" for c in found))
    )
