"""The presets: which ids matter for training, for inference with ONNX Runtime, for Ascend, and at the least."""

from infra_doctor.plugin import Preset

PRESETS = (Preset(name="minimal", title="driver and devices only", checks=("DRV-OLD", "NVML-MISMATCH", "ECC/XID")),)
