"""JAX on XLA's CPU backend, every function jitted as a whole. Its convolutions run fastest in `[n, h, w, c]`."""

import jax
import jax.numpy as jnp
from jax import lax

from training import BETA1, BETA2, CLIP, DECAY, EMA, EPSILON, RATE
import unet


class JaxOps:
    """The operations of `unet.forward`; weights are `[kh, kw, in, out]`."""

    @staticmethod
    def conv(x, weight, bias=0.0):
        return lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias

    @staticmethod
    def group_norm_relu(x, gamma, beta):
        n, h, w, c = x.shape
        grouped = x.reshape(n, h * w, unet.GROUPS, c // unet.GROUPS)
        mean, variance = grouped.mean((1, 3), keepdims=True), grouped.var((1, 3), keepdims=True)
        y = (grouped - mean) * lax.rsqrt(variance + unet.EPS)
        return jax.nn.relu(y.reshape(x.shape) * gamma + beta)

    @staticmethod
    def max_pool(x):
        # `reduce_window` has a gradient that is many times slower here.
        n, h, w, c = x.shape
        return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))

    @staticmethod
    def upsample(x):
        n, h, w, c = x.shape
        return jax.image.resize(x, (n, 2 * h, 2 * w, c), "bilinear")

    @staticmethod
    def concat(a, b):
        return jnp.concatenate((a, b), -1)


def inward(values):
    """Convolutions' weights from `[out, kh, kw, in]`; the rest as it is."""
    return [jnp.asarray(v.transpose(1, 2, 3, 0) if v.ndim == 4 else v) for v in values]


def outward(values):
    return [v.transpose(3, 0, 1, 2) if v.ndim == 4 else v for v in values]


def prepare(peer, threads, case, data):
    """Threads are set by the environment."""
    return {"forward": forward, "forward_backward": forward_backward, "train_step": train_step}[case.kind](data)


def jitted(function, *inputs):
    compiled = jax.jit(function)
    return lambda: jax.block_until_ready(compiled(*inputs))


def forward(data):
    x = jnp.asarray(data["x"])
    if "values" in data:
        run = jitted(lambda x, values: unet.forward(JaxOps, x, values), x, inward(data["values"]))
    else:
        run = jitted(JaxOps.conv, x, *inward([data["weight"], data["bias"]]))
    return run, lambda y: [y]


def forward_backward(data):
    def function(x, weight, bias, dy):
        y, back = jax.vjp(lambda x, weight: JaxOps.conv(x, weight, bias), x, weight)
        return y, *back(dy)

    x, dy = jnp.asarray(data["x"]), jnp.asarray(data["dy"])
    run = jitted(function, x, *inward([data["weight"], data["bias"]]), dy)
    return run, lambda results: [*results[:2], *outward(results[2:])]


def loss(values, crops, targets):
    logits = unet.forward(JaxOps, crops, values)
    log_share = jax.nn.log_softmax(logits.reshape(len(logits), -1))
    return -(targets.reshape(log_share.shape) * log_share).sum() / len(logits)


def updated(step, gradients, state):
    """AdamW with clipping, and the parameters' average."""
    norm = jnp.sqrt(sum((g * g).sum() for g in gradients))
    scale = jnp.minimum(1.0, CLIP / norm)

    def one(g, p, m, v, ema):
        g = scale * g
        m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
        p -= RATE * (m / (1 - BETA1**step) / (jnp.sqrt(v / (1 - BETA2**step)) + EPSILON) + DECAY * p)
        return p, m, v, EMA * ema + (1 - EMA) * p

    return list(zip(*(one(*each) for each in zip(gradients, *state))))


def train_step(data):
    values = inward(data["values"])
    zeros = [jnp.zeros_like(v) for v in values]
    crops, targets = jnp.asarray(data["x"]), jnp.asarray(data["targets"])
    state = [values, zeros, zeros, values]

    @jax.jit
    def function(step, state, crops, targets):
        cost, gradients = jax.value_and_grad(loss)(state[0], crops, targets)
        return cost, gradients, updated(step, gradients, state)

    count = 0

    def run():
        nonlocal state, count
        count += 1
        cost, gradients, state = jax.block_until_ready(function(jnp.float32(count), state, crops, targets))
        return cost, gradients

    return run, lambda results: [results[0], outward(results[1])]
