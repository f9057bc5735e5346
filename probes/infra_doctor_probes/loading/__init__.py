"""What importing PyTorch or ONNX Runtime would load, by reading: their start-up code as text, the rest as the loader does."""
