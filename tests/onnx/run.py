"""Runs an ONNX model on images: run.py MODEL [FILE WIDTH HEIGHT]...

An image is a file of little-endian f32, row by row; without images, the model runs once on no inputs. Prints a JSON object:
`inputs` and `outputs` of the model with their shapes, its `metadata`, and for each run the flat values of each output.
"""

import json
import sys

import numpy
import onnxruntime

model, images = sys.argv[1], sys.argv[2:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


def run(feed):
    found = session.run(None, feed)
    return {output.name: values.ravel().tolist() for output, values in zip(session.get_outputs(), found)}


runs = []
for path, width, height in zip(*[iter(images)] * 3):
    pixels = numpy.fromfile(path, "<f4").reshape(1, 1, int(height), int(width))
    runs.append(run({"image": pixels}))
print(
    json.dumps(
        {
            "inputs": {i.name: i.shape for i in session.get_inputs()},
            "outputs": {o.name: o.shape for o in session.get_outputs()},
            "metadata": session.get_modelmeta().custom_metadata_map,
            "runs": runs or [run({})],
        }
    )
)
