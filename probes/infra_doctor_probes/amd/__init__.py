"""AMD GPUs and ROCm: what sysfs, the kernel driver, ROCm's files and AMD's own tools say."""
