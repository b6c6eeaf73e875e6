"""Burn, in Rust: `burn/` is a process of its own for each case, and times itself."""

import subprocess
from pathlib import Path

import numpy as np

BINARY = Path(__file__).resolve().parent / "burn/target/release/burn-peer"


class Run:
    """The process. It computes once at its start, to be compared."""

    def __init__(self, peer, case, data):
        conv = case.conv
        numbers = (conv.batch, conv.side, conv.c_in, conv.c_out, conv.kernel)
        command = [BINARY, peer.split()[1], case.kind, *map(str, numbers)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.write(*(np.ascontiguousarray(data[name], "<f4").tobytes() for name in ("x", "weight", "bias", "dy")))
        # y, and what the gradients are of.
        expected = [data["dy"], data["x"], data["weight"]][: 3 if case.kind == "forward_backward" else 1]
        self.results = [self.read(each.shape) for each in expected]

    def ended(self):
        return SystemExit(f"burn-peer ended with code {self.process.wait()}")

    def write(self, *parts):
        try:
            for part in parts:
                self.process.stdin.write(part)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise self.ended() from None

    def read(self, shape):
        count = 4 * int(np.prod(shape))
        values = self.process.stdout.read(count)
        if len(values) < count:
            raise self.ended()
        return np.frombuffer(values, "<f4").reshape(shape)

    def __call__(self):
        return self.results


def prepare(peer, threads, case, data):
    """Threads are set by the environment."""
    return Run(peer, case, data), lambda results: results


def times(run, seconds):
    """Milliseconds of each run."""
    run.write(f"{seconds}\n".encode())
    line = run.process.stdout.readline()
    if not line:
        raise run.ended()
    return [float(word) for word in line.split()]
