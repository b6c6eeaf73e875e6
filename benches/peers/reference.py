"""What the peers' results are held to: the definitions in f64, `[n, h, w, c]`."""

import numpy as np

import unet


class NumpyOps:
    """The operations of `unet.forward`."""

    @staticmethod
    def conv(x, weight, bias=0.0):
        n, h, w, _ = x.shape
        k = weight.shape[1]
        padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
        taps = ((i, j) for i in range(k) for j in range(k))
        return sum(padded[:, i : i + h, j : j + w] @ weight[:, i, j].T for i, j in taps) + bias

    @staticmethod
    def group_norm_relu(x, gamma, beta):
        n, h, w, c = x.shape
        grouped = x.reshape(n, h * w, unet.GROUPS, c // unet.GROUPS)
        centred = grouped - grouped.mean((1, 3), keepdims=True)
        y = centred / np.sqrt((centred**2).mean((1, 3), keepdims=True) + unet.EPS)
        return np.maximum(y.reshape(x.shape) * gamma + beta, 0)

    @staticmethod
    def max_pool(x):
        n, h, w, c = x.shape
        return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))

    @staticmethod
    def upsample(x):
        """Bilinear, half-pixel centres, edges clamped: a quarter of one neighbour, three of the other."""
        for axis in (1, 2):
            size = x.shape[axis]
            before = x.take(np.maximum(np.arange(size) - 1, 0), axis)
            after = x.take(np.minimum(np.arange(size) + 1, size - 1), axis)
            both = np.stack((0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after), axis + 1)
            x = both.reshape(*x.shape[:axis], 2 * size, *x.shape[axis + 1 :])
        return x

    @staticmethod
    def concat(a, b):
        return np.concatenate((a, b), -1)


def conv_gradients(x, weight, dy):
    """Of input and weights."""
    k, (h, w) = weight.shape[1], x.shape[1:3]
    dx = NumpyOps.conv(dy, weight[:, ::-1, ::-1].transpose(3, 1, 2, 0))
    padded = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    taps = [[np.einsum("nhwo,nhwi->oi", dy, padded[:, i : i + h, j : j + w], optimize=True) for j in range(k)] for i in range(k)]
    return dx, np.array(taps).transpose(2, 0, 1, 3)


def loss(crops, targets, values):
    """Mean over the crops of the cross-entropy between target and spatial softmax."""
    logits = unet.forward(NumpyOps, crops, values)[..., 0]
    top = logits.max((1, 2), keepdims=True)
    log_sum = top + np.log(np.exp(logits - top).sum((1, 2), keepdims=True))
    return (targets * (log_sum - logits)).sum() / len(crops)


def slope(crops, targets, values, direction, step=1e-7):
    """The loss's derivative along a direction, by central differences."""
    at = lambda sign: loss(crops, targets, [v + sign * step * d for v, d in zip(values, direction)])
    return (at(1) - at(-1)) / (2 * step)
