"""The crop U-Net of the default configuration, written once for all sides.

`forward` asks an `ops` object for the network's operations; what an operation does there - compute, emit an ONNX node, name a
benchmark case - is that side's business. Activations are `[n, h, w, c]` in the words of this file, weights `[out, kh, kw, in]`.
"""

CHANNELS = (16, 32, 64)
GROUPS = 4
EPS = 1e-5
SIDE = 64
BATCH = 16


def parameters():
    """Name, shape and standard deviation of every parameter, in the order that `forward` takes them; 0 for a constant start."""
    every = []

    def block(name, c_in, c_out):
        every.append((f"{name}.weight", (c_out, 3, 3, c_in), (2 / (9 * c_in)) ** 0.5))
        every.append((f"{name}.gamma", (c_out,), 0))
        every.append((f"{name}.beta", (c_out,), 0))

    def pair(name, c_in, c):
        block(f"{name}a", c_in, c)
        block(f"{name}b", c, c)

    for i, c in enumerate(CHANNELS):
        pair(f"encoder{i}", CHANNELS[i - 1] if i else 1, c)
    for i in reversed(range(len(CHANNELS) - 1)):
        pair(f"decoder{i}", CHANNELS[i + 1] + CHANNELS[i], CHANNELS[i])
    every.append(("head.weight", (1, 1, 1, CHANNELS[0]), CHANNELS[0] ** -0.5))
    every.append(("head.bias", (1,), 0))
    return every


def forward(ops, x, values):
    """Logits `[n, SIDE, SIDE, 1]` of crops `[n, SIDE, SIDE, 1]`; `values` are the parameters in order."""
    values = iter(values)

    def pair(x):
        for _ in range(2):
            x = ops.conv(x, next(values))
            x = ops.group_norm_relu(x, next(values), next(values))
        return x

    skips = []
    for i in range(len(CHANNELS)):
        x = pair(ops.max_pool(x) if i else x)
        skips.append(x)
    for i in reversed(range(len(CHANNELS) - 1)):
        x = pair(ops.concat(ops.upsample(x), skips[i]))
    return ops.conv(x, next(values), next(values))
