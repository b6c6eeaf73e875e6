"""PyTorch on the CPU, its images channels-last in memory as oneDNN likes them."""

import torch
import torch.nn.functional as F

import unet
from training import BETA1, BETA2, CLIP, DECAY, EMA, EPSILON, RATE


class TorchOps:
    """The operations of `unet.forward`, in PyTorch's order `[n, c, h, w]`."""

    @staticmethod
    def conv(x, weight, bias=None):
        return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2)

    @staticmethod
    def group_norm_relu(x, gamma, beta):
        return F.relu(F.group_norm(x, unet.GROUPS, gamma, beta, unet.EPS))

    @staticmethod
    def max_pool(x):
        return F.max_pool2d(x, 2)

    @staticmethod
    def upsample(x):
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    @staticmethod
    def concat(a, b):
        return torch.cat((a, b), 1)


def inward(value):
    """From `[n, h, w, c]` or `[out, kh, kw, in]`, whose memory is already in the right order."""
    tensor = torch.from_numpy(value)
    return tensor.permute(0, 3, 1, 2) if tensor.ndim == 4 else tensor


def outward(tensor):
    tensor = tensor.detach()
    return (tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor).numpy()


def prepare(peer, threads, case, data):
    torch.set_num_threads(threads)
    return {"forward": forward, "forward_backward": forward_backward, "train_step": train_step}[case.kind](data)


def forward(data):
    x = inward(data["x"])
    if "values" in data:
        values = [inward(v) for v in data["values"]]
        work = lambda: unet.forward(TorchOps, x, values)
    else:
        weight, bias = inward(data["weight"]), inward(data["bias"])
        work = lambda: TorchOps.conv(x, weight, bias)
    return torch.inference_mode()(work), lambda y: [outward(y)]


def forward_backward(data):
    x, weight, bias, dy = (inward(data[name]) for name in ("x", "weight", "bias", "dy"))
    x.requires_grad_(), weight.requires_grad_()

    def run():
        y = TorchOps.conv(x, weight, bias)
        return y, *torch.autograd.grad(y, (x, weight), dy)

    return run, lambda results: [outward(each) for each in results]


def train_step(data):
    values = [inward(v).clone().requires_grad_() for v in data["values"]]
    averages = [v.detach().clone() for v in values]
    crops, targets = inward(data["x"]), torch.from_numpy(data["targets"]).flatten(1)
    optimizer = torch.optim.AdamW(
        values, lr=RATE, betas=(BETA1, BETA2), eps=EPSILON, weight_decay=DECAY, fused=True
    )

    def run():
        optimizer.zero_grad()
        logits = unet.forward(TorchOps, crops, values)
        loss = F.cross_entropy(logits.flatten(1), targets)
        loss.backward()
        gradients = [v.grad for v in values]
        norm = torch.nn.utils.clip_grad_norm_(values, CLIP)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, values, 1 - EMA)
        return loss, gradients, norm

    def arrays(results):
        loss, gradients, norm = results
        # They are clipped in place.
        scale = max(1.0, float(norm) / CLIP)
        return [loss.item(), [scale * outward(g) for g in gradients]]

    return run, arrays
