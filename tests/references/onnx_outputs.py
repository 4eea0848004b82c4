#!/usr/bin/env python3
"""What ONNX Runtime computes of the models in tests/fixtures/onnx, for tests/launcher/weights/onnx_test.cpp.

    python3 tests/references/onnx_outputs.py tests/fixtures/onnx

NAME.onnx and the arrays "inputs/..." of NAME.h5 are written by onnx_test (see there); this adds "onnxruntime/..." to
NAME.h5. Needs onnx, onnxruntime, h5py. Made with onnx 1.23 and ONNX Runtime 1.32.
"""
import pathlib
import sys

import h5py
import numpy as np
import onnx
import onnxruntime

for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with h5py.File(path.with_suffix(".h5"), "a") as file:
        inputs = {name: array[()] for name, array in file["inputs"].items()}
        names = [output.name for output in session.get_outputs()]
        outputs = session.run(names, inputs)
        # The batch is free.
        for i, one in enumerate(zip(*outputs)):
            alone = session.run(names, {name: array[i:i + 1] for name, array in inputs.items()})
            for a, b in zip(one, alone):
                assert np.allclose(a, b[0], atol=1e-5), path
        if "onnxruntime" in file:
            del file["onnxruntime"]
        for name, output in zip(names, outputs):
            file.create_dataset("onnxruntime/" + name, data=output, track_times=False)
        print(path.name, {name: output.shape for name, output in zip(names, outputs)})
