"""NVIDIA's driver API through ctypes, in the context that torch has made: a kernel that does nothing.

Signatures: CUDA Driver API reference (cuModuleLoadData, cuModuleGetFunction, cuLaunchKernel). The PTX is compiled by the driver
for whatever the device is."""

import ctypes

PTX = b""".version 6.0
.target sm_50
.address_size 64
.visible .entry nothing()
{
    ret;
}
"""


class DriverError(RuntimeError):
    """A call that did not give CUDA_SUCCESS."""


def checked(code, what):
    """Raise where the code is not 0."""
    if code:
        raise DriverError("%s: CUDA error %d" % (what, code))


class EmptyKernel:
    """A loaded kernel without arguments; `prepared` gives what launches it."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        self.module, self.function = ctypes.c_void_p(), ctypes.c_void_p()
        checked(self.library.cuModuleLoadData(ctypes.byref(self.module), PTX), "cuModuleLoadData")
        checked(
            self.library.cuModuleGetFunction(ctypes.byref(self.function), self.module, b"nothing"),
            "cuModuleGetFunction",
        )
        launch = self.library.cuLaunchKernel
        launch.argtypes = [ctypes.c_void_p] + [ctypes.c_uint] * 7 + [ctypes.c_void_p] * 3
        self.launch = launch
        version = self.library.cuDriverGetVersion
        version.argtypes = [ctypes.c_void_p]
        number = ctypes.c_int()
        self.nothing = lambda: version(ctypes.addressof(number))

    def prepared(self, stream):
        """A call that launches one block of one thread on this stream."""
        launch, function, place = self.launch, self.function, ctypes.c_void_p(stream)
        checked(launch(function, 1, 1, 1, 1, 1, 1, 0, place, None, None), "cuLaunchKernel")
        return lambda: launch(function, 1, 1, 1, 1, 1, 1, 0, place, None, None)
