"""Export to ONNX, for other runtimes; needs `pip install 'htmdsep[onnx]'`."""
