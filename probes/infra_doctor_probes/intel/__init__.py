"""Intel GPUs and NPUs, Level Zero and OpenCL: what sysfs, the loader's view and Intel's own tools say."""
