"""A small ONNX model written by hand (one Conv, then Relu), so that a session needs no onnx package."""


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _value_info(name: str, shape: tuple[int, ...]) -> bytes:
    dims = b"".join(_field(1, _field(1, n)) for n in shape)
    tensor_type = _field(1, 1) + _field(2, dims)  # element type 1: float
    return _field(1, name.encode()) + _field(2, _field(1, tensor_type))


def conv_model() -> bytes:
    """ModelProto: x[1,4,16,16] * w[4,4,3,3] -> Conv -> Relu -> y, opset 13."""
    conv = _field(1, b"x") + _field(1, b"w") + _field(2, b"c") + _field(4, b"Conv")
    relu = _field(1, b"c") + _field(2, b"y") + _field(4, b"Relu")
    graph = (
        _field(1, conv) + _field(1, relu) + _field(2, b"g")
        + _field(11, _value_info("x", (1, 4, 16, 16))) + _field(11, _value_info("w", (4, 4, 3, 3)))
        + _field(12, _value_info("y", (1, 4, 14, 14)))
    )  # fmt: skip
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 13))
