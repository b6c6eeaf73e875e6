"""ONNX Runtime and OpenVINO, on ONNX models in f32 that are built here."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import unet

OPSET = 17


class OnnxOps:
    """Emits a node for every operation of `unet.forward`; tensors are names, in ONNX's order `[n, c, h, w]`."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def emit(self, op, *inputs, **attributes):
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, values):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def conv(self, x, weight, bias=None):
        pad = weight.shape[1] // 2
        inputs = [self.constant(weight.transpose(0, 3, 1, 2)), *([] if bias is None else [self.constant(bias)])]
        return self.emit("Conv", x, *inputs, pads=[pad] * 4)

    def group_norm_relu(self, x, gamma, beta):
        # Each group as a channel of an instance norm: both engines are slower with GroupNormalization.
        groups = unet.GROUPS
        grouped = self.emit("Reshape", x, self.constant(np.int64([0, groups, -1])))
        ones, zeros = self.constant(np.ones(groups, np.float32)), self.constant(np.zeros(groups, np.float32))
        normal = self.emit("InstanceNormalization", grouped, ones, zeros, epsilon=unet.EPS)
        apart = self.emit("Reshape", normal, self.emit("Shape", x))
        y = self.emit("Mul", apart, self.constant(gamma[:, None, None]))
        return self.emit("Relu", self.emit("Add", y, self.constant(beta[:, None, None])))

    def max_pool(self, x):
        return self.emit("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])

    def upsample(self, x):
        scales = self.constant(np.float32([1, 1, 2, 2]))
        return self.emit("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")

    def concat(self, a, b):
        return self.emit("Concat", a, b, axis=1)

    def model(self, result, x, channels):
        """A model of one input like `x` whose result has so many channels."""
        n, h, w, c = x.shape
        tensor = lambda name, channels: helper.make_tensor_value_info(name, TensorProto.FLOAT, [n, channels, h, w])
        graph = helper.make_graph(self.nodes, "peer", [tensor("x", c)], [tensor(result, channels)], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        onnx.checker.check_model(model)
        return model.SerializeToString()


def prepare(peer, threads, case, data):
    ops = OnnxOps()
    if case.conv:
        model = ops.model(ops.conv("x", data["weight"], data["bias"]), data["x"], case.conv.c_out)
    else:
        model = ops.model(unet.forward(ops, "x", data["values"]), data["x"], 1)
    x = np.ascontiguousarray(data["x"].transpose(0, 3, 1, 2))
    run = {"onnxruntime": onnx_runtime, "openvino": open_vino}[peer](model, x, threads)
    return run, lambda y: [y.transpose(0, 2, 3, 1)]


def onnx_runtime(model, x, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that spin take processors from whatever else runs, at times from their own: it is faster without.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def open_vino(model, x, threads):
    import openvino

    core = openvino.Core()
    # Without the hint it may compute in bf16; threads that are pinned wait for whatever else runs there.
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    settings |= {"ENABLE_CPU_PINNING": False}
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    return lambda: request.infer({0: x}, share_inputs=True, share_outputs=True)[0]
