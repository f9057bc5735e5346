"""NVIDIA devices by NVML. A software power cap is the board working at its limit, not a fault; heat, the power brake and a
slowdown by the hardware are (NVML API reference, nvmlClocksEventReasons)."""

from infra_doctor.plugin import Monitor

MONITORS = (
    Monitor(
        id="nvidia",
        title="NVIDIA GPUs by NVML",
        module="infra_doctor_probes.monitor_children.nvidia",
        harmful=("hw_slowdown", "hw_thermal_slowdown", "hw_power_brake", "sw_thermal_slowdown"),
    ),
)
