"""Rectified linear unit."""

import numpy as np


class ReLU:
    """max(0, x), for any shape; the gradient at 0 is 0."""

    def __init__(self):
        self.cache = None
        self.dx = None

    def forward(self, x):
        self.cache = x > 0
        return np.maximum(x, 0)

    def backward(self, dout):
        """Sets dx."""
        self.dx = dout * self.cache
