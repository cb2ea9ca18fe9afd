"""Export to ONNX: `python -m htmdsep.onnx`."""

from htmdsep.onnx.cli import main

if __name__ == "__main__":
    main()
