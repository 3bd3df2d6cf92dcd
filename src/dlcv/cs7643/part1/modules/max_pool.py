"""2D max pooling."""

import numpy as np


class MaxPooling:
    """The largest value of each window of kernel_size x kernel_size pixels; rows and columns left over are dropped."""

    def __init__(self, kernel_size, stride):
        self.kernel_size = kernel_size
        self.stride = stride
        self.cache = None
        self.dx = None

    def forward(self, x):
        """x (N, C, H, W) -> (N, C, H', W') with H' = (H - k) // stride + 1."""
        k, s = self.kernel_size, self.stride
        windows = np.lib.stride_tricks.sliding_window_view(x, (k, k), axis=(2, 3))[:, :, ::s, ::s]
        windows = windows.reshape(*windows.shape[:4], k * k)
        winners = windows.argmax(axis=-1)  # the first of equals
        self.cache = x.shape, x.dtype, winners
        return np.take_along_axis(windows, winners[..., None], axis=-1)[..., 0]

    def backward(self, dout):
        """dout (N, C, H', W'); sets dx: the gradient goes to the first maximum of each window."""
        shape, dtype, winners = self.cache
        k, s = self.kernel_size, self.stride
        height, width = dout.shape[2:]
        self.dx = np.zeros(shape, dtype=np.result_type(dtype, dout.dtype))
        for position in range(k * k):  # windows may overlap, so they must be added up
            i, j = divmod(position, k)
            rows, columns = slice(i, i + s * height, s), slice(j, j + s * width, s)
            self.dx[:, :, rows, columns] += dout * (winners == position)
