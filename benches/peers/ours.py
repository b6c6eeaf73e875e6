"""Our side: rows of `onemark bench`."""

import json
import subprocess

import unet

# Seconds before times count, all rows of a case together.
WARMUP = 0.2


class BenchOps:
    """Names the benchmark case of every operation of `unet.forward`; tensors are shapes."""

    def __init__(self):
        self.cases = []

    def emit(self, op, fields, *inputs):
        shapes = [[1] * (5 - len(shape)) + list(shape) for shape in inputs]
        self.cases.append(json.dumps({"op": {op: fields}, "inputs": shapes}))

    def conv(self, x, weight, bias=None):
        fields = {"stride": 1, "pad": weight[1] // 2, "bias": bias is not None, "adapter": False, "activation": "identity"}
        self.emit("Conv2d", fields, x, weight, *([bias] if bias else []))
        return (*x[:3], weight[0])

    def group_norm_relu(self, x, gamma, beta):
        self.emit("GroupNorm", {"groups": unet.GROUPS, "activation": "relu"}, x, gamma, beta)
        return x

    def max_pool(self, x):
        self.emit("Pool", {"kind": "max"}, x)
        return (x[0], x[1] // 2, x[2] // 2, x[3])

    def upsample(self, x):
        y = (x[0], 2 * x[1], 2 * x[2], x[3])
        self.emit("Resize", {"h": y[1], "w": y[2]}, x)
        return y

    def concat(self, a, b):
        self.emit("Concat", {}, a, b)
        return (*a[:3], a[3] + b[3])


def arguments(case):
    """What `onemark bench` is asked for: rows whose times add up to the case."""
    if case.kind == "train_step":
        return ["step.single", "--landmarks", "1", "--batch", str(unet.BATCH)]
    conv = case.conv
    if case.kind == "forward_backward":
        # The convolution and both its gradients.
        shape = f"n={conv.batch},h={conv.side},ci={conv.c_in},co={conv.c_out},kh={conv.kernel}"
        return ["conv2d", "--shape", shape]
    ops = BenchOps()
    if conv:
        weight = (conv.c_out, conv.kernel, conv.kernel, conv.c_in)
        ops.conv((conv.batch, conv.side, conv.side, conv.c_in), weight, (conv.c_out,))
    else:
        unet.forward(ops, (unet.BATCH, unet.SIDE, unet.SIDE, 1), [shape for _, shape, _ in unet.parameters()])
    return [word for each in ops.cases for word in ("--case", each)]


def measure(binary, case, device, threads, seconds):
    """Milliseconds of the case, median and p10, and its 10^9 operations. On a GPU by wall time, as peers on one are timed."""
    asked = arguments(case)
    rows = max(1, asked.count("--case"))
    command = [binary, "bench", *asked, "--device", device, "--threads", str(threads), "--format", "json", "--quiet"]
    command += ["--warmup", str(WARMUP / rows), "--min-time", str(seconds / rows)]
    command += ["--slope"] if device == "gpu" else []
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = json.loads(printed)["rows"]
    times = {name: 1e3 * sum(row[name] for row in found) for name in ("median", "p10")}
    return times, sum(row["gflop"] for row in found)
