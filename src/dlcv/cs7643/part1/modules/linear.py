"""Fully connected layer."""

import numpy as np


class Linear:
    """weight (in_dim, out_dim), bias (out_dim,); whatever comes in is flattened to (N, in_dim)."""

    def __init__(self, in_dim, out_dim):
        self.in_dim = in_dim
        self.out_dim = out_dim
        self.cache = None
        self.dx = self.dw = self.db = None
        self._init_weights()

    def _init_weights(self):
        np.random.seed(1024)  # the course's tests compare with weights that were stored from this stream
        self.weight = 1e-3 * np.random.randn(self.in_dim, self.out_dim)
        self.bias = np.zeros(self.out_dim)

    def forward(self, x):
        """x (N, ...) with in_dim values each -> (N, out_dim)."""
        self.cache = x
        return x.reshape(len(x), -1) @ self.weight + self.bias

    def backward(self, dout):
        """dout (N, out_dim); sets dx (in the shape that came in), dw and db."""
        x = self.cache
        self.dw = x.reshape(len(x), -1).T @ dout
        self.db = dout.sum(axis=0)
        self.dx = (dout @ self.weight.T).reshape(x.shape)
