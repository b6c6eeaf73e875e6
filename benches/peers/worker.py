"""A peer's process: `worker.py PEER THREADS`, then a line of JSON for each measurement, `{"case": 0, "seconds": 0.5}`.

A case is compiled, run once and held to the reference before it is timed. A peer's module has

    prepare(peer, threads, case, data) -> run, arrays

where `run()` does the work once, waits for it and returns what it gave, and `arrays` lays that out as the reference is. One whose
work another process does may have `times`, in place of the one here.
"""

import importlib
import json
import statistics
import sys
import time

import numpy as np

import cases
import reference
import unet

TOLERANCE = 1e-4
RUNS = 5


def data(case):
    """Random inputs in f32."""
    random = np.random.default_rng(1)
    normal = lambda *shape: random.standard_normal(shape, np.float32)
    if case.conv:
        conv = case.conv
        image, fan_in = (conv.batch, conv.side, conv.side), conv.kernel**2 * conv.c_in
        return {
            "x": normal(*image, conv.c_in),
            "weight": normal(conv.c_out, conv.kernel, conv.kernel, conv.c_in) * np.float32(fan_in**-0.5),
            "bias": normal(conv.c_out),
            "dy": normal(*image, conv.c_out),
        }
    start = lambda name, shape, std: np.full(shape, name.endswith("gamma"), np.float32) + np.float32(std) * normal(*shape)
    points = random.uniform(16, unet.SIDE - 16, (unet.BATCH, 2, 1))
    near = np.exp(-((np.arange(unet.SIDE) - points) ** 2) / (2 * 1.5**2))
    maps = near[:, 1, :, None] * near[:, 0, None, :]
    return {
        "x": normal(unet.BATCH, unet.SIDE, unet.SIDE, 1),
        "values": [start(*parameter) for parameter in unet.parameters()],
        "targets": (maps / maps.sum((1, 2), keepdims=True)).astype(np.float32),
    }


def wide(values):
    return [np.asarray(v, np.float64) for v in values]


def error(case, given, got):
    """The largest error of the results, relative to the largest expected value."""
    if case.kind == "train_step":
        # The loss, and the gradient by its own length: what the loss falls by along it.
        loss, gradient = float(got[0]), wide(got[1])
        crops, targets, values = np.float64(given["x"]), np.float64(given["targets"]), wide(given["values"])
        length = np.sqrt(sum((g**2).sum() for g in gradient))
        slope = reference.slope(crops, targets, values, [g / length for g in gradient])
        pairs = [(reference.loss(crops, targets, values), loss), (slope, length)]
    elif case.conv:
        x, weight, bias, dy = wide(given[name] for name in ("x", "weight", "bias", "dy"))
        expected = [reference.NumpyOps.conv(x, weight, bias), *reference.conv_gradients(x, weight, dy)]
        pairs = list(zip(expected, wide(got)))
    else:
        pairs = [(unet.forward(reference.NumpyOps, np.float64(given["x"]), wide(given["values"])), wide(got)[0])]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in pairs)


def times(run, seconds):
    """Milliseconds of each run."""
    found, begin = [], time.perf_counter()
    while len(found) < RUNS or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        run()
        found.append(1e3 * (time.perf_counter() - start))
    return found


def main():
    peer, threads = sys.argv[1], int(sys.argv[2])
    module = importlib.import_module(cases.PEERS[peer].module)
    timed = getattr(module, "times", times)
    ready = {}
    for line in sys.stdin:
        request = json.loads(line)
        number = request["case"]
        if number not in ready:
            case = cases.CASES[number]
            given = data(case)
            run, arrays = module.prepare(peer, threads, case, given)
            wrong = error(case, given, arrays(run()))
            if not wrong < TOLERANCE:
                sys.exit(f"{peer}, {case.name}, {case.kind}: off by {wrong:.1e}")
            ready[number] = run
        # The other side had the caches since.
        timed(ready[number], request["seconds"] / 4)
        found = timed(ready[number], request["seconds"])
        p10 = statistics.quantiles(found, n=10, method="inclusive")[0]
        print(json.dumps({"median": statistics.median(found), "p10": p10}), flush=True)


if __name__ == "__main__":
    main()
