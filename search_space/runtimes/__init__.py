"""ONNX Runtime and OpenVINO: graphs, quantization, calibration."""
