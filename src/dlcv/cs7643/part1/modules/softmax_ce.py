"""Softmax and cross entropy in one."""

import numpy as np


class SoftmaxCrossEntropy:
    def __init__(self):
        self.cache = None
        self.dx = None

    def forward(self, x, y):
        """Scores x (N, classes), labels y (N,) -> probabilities (N, classes), mean cross entropy in nats."""
        shifted = x - x.max(axis=1, keepdims=True)  # exp of large scores would overflow
        log_sum = np.log(np.exp(shifted).sum(axis=1))
        probs = np.exp(shifted - log_sum[:, None])
        rows = np.arange(len(y))
        self.cache = probs, y
        return probs, (log_sum - shifted[rows, y]).mean()

    def backward(self):
        """Sets dx, the gradient of the mean loss: (probabilities - one-hot labels) / N."""
        probs, y = self.cache
        self.dx = probs.copy()
        self.dx[np.arange(len(y)), y] -= 1
        self.dx /= len(y)
