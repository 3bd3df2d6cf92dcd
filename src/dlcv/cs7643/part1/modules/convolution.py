"""2D convolution (cross-correlation, as deep learning means it) by im2col and one matrix product an image."""

import numpy as np


class Conv2D:
    """weight (out_channels, in_channels, k, k), bias (out_channels,); zero padding on all four sides."""

    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=0):
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.cache = None
        self.dx = self.dw = self.db = None
        self._init_weights()

    def _init_weights(self):
        np.random.seed(1024)  # the course's tests compare with weights that were stored from this stream
        shape = (self.out_channels, self.in_channels, self.kernel_size, self.kernel_size)
        self.weight = 1e-3 * np.random.randn(*shape)
        self.bias = np.zeros(self.out_channels)

    def forward(self, x):
        """x (N, in_channels, H, W) -> (N, out_channels, H', W') with H' = (H + 2 padding - k) // stride + 1."""
        n, channels = x.shape[:2]
        k, p, s = self.kernel_size, self.padding, self.stride
        padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p))) if p else x
        windows = np.lib.stride_tricks.sliding_window_view(padded, (k, k), axis=(2, 3))[:, :, ::s, ::s]
        height, width = windows.shape[2:4]
        # One row for each weight of a filter, one column for each output pixel.
        columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(n, channels * k * k, height * width)
        out = self.weight.reshape(self.out_channels, -1) @ columns
        out += self.bias[:, None]
        self.cache = x.shape, columns
        return out.reshape(n, self.out_channels, height, width)

    def backward(self, dout):
        """dout (N, out_channels, H', W'); sets dx, dw and db."""
        (n, channels, height, width), columns = self.cache
        k, p, s = self.kernel_size, self.padding, self.stride
        out_height, out_width = dout.shape[2:]
        flat = dout.reshape(n, self.out_channels, -1)
        self.db = flat.sum(axis=(0, 2))
        self.dw = (flat @ columns.transpose(0, 2, 1)).sum(axis=0).reshape(self.weight.shape)
        dcolumns = self.weight.reshape(self.out_channels, -1).T @ flat
        dcolumns = dcolumns.reshape(n, channels, k, k, out_height, out_width)
        dpadded = np.zeros((n, channels, height + 2 * p, width + 2 * p), dtype=dcolumns.dtype)
        for i in range(k):  # over the positions in the kernel, the only loop: windows overlap, so they must be added up
            for j in range(k):
                rows, cols = slice(i, i + s * out_height, s), slice(j, j + s * out_width, s)
                dpadded[:, :, rows, cols] += dcolumns[:, :, i, j]
        self.dx = dpadded[:, :, p : p + height, p : p + width]
