"""What is compared, and with whom."""

from dataclasses import dataclass

import unet


@dataclass(frozen=True)
class Conv:
    """A convolution of stride 1 that keeps an image's size."""

    batch: int
    side: int
    c_in: int
    c_out: int
    kernel: int


    def name(self):
        k = self.kernel
        return f"conv {k}x{k}, {self.c_in} -> {self.c_out}, {self.batch}x{self.side}x{self.side}"


@dataclass(frozen=True)
class Case:
    """A computation in f32; `conv` is none for the U-Net."""

    name: str
    kind: str  # forward, forward_backward or train_step
    conv: Conv | None = None
    devices: tuple[str, ...] = ("cpu",)


@dataclass(frozen=True)
class Peer:
    """Whom we stand beside: the module that speaks for it, the packages that this needs, and what it can do."""

    module: str
    packages: tuple[str, ...]
    kinds: tuple[str, ...]
    device: str = "cpu"
    crate: str | None = None  # a folder that cargo builds
    unet: bool = True


BOTH = ("cpu", "gpu")
CONVS = (
    (Conv(batch=1, side=128, c_in=32, c_out=32, kernel=3), BOTH),
    (Conv(batch=1, side=128, c_in=64, c_out=64, kernel=1), BOTH),
    (Conv(batch=1, side=64, c_in=48, c_out=16, kernel=3), ("cpu",)),
    (Conv(batch=1, side=64, c_in=64, c_out=64, kernel=3), ("gpu",)),
)
UNET = f"U-Net, {unet.BATCH} crops of {unet.SIDE}x{unet.SIDE}"

CASES = (
    *(Case(conv.name(), "forward", conv, devices) for conv, devices in CONVS),
    Case(UNET, "forward"),
    *(Case(conv.name(), "forward_backward", conv, devices) for conv, devices in CONVS),
    Case(UNET, "train_step"),
)

TRAINS = ("forward", "forward_backward", "train_step")
PEERS = {
    "onnxruntime": Peer("onnx_peers", ("onnx", "onnxruntime"), ("forward",)),
    "openvino": Peer("onnx_peers", ("onnx", "openvino"), ("forward",)),
    "jax": Peer("jax_peer", ("jax[cpu]",), TRAINS),
    "torch": Peer("torch_peer", ("torch",), TRAINS),
    "burn flex": Peer("burn_peer", (), TRAINS, crate="burn", unet=False),
    "burn wgpu": Peer("burn_peer", (), TRAINS, device="gpu", crate="burn", unet=False),
}


def cases_of(name):
    """Numbers of the cases that a peer runs."""
    peer = PEERS[name]
    runs = lambda case: case.kind in peer.kinds and peer.device in case.devices and (case.conv or peer.unet)
    return [i for i, case in enumerate(CASES) if runs(case)]
