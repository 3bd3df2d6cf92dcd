"""Stochastic gradient descent with momentum."""

import numpy as np

from ._base_optimizer import _BaseOptimizer


class SGD(_BaseOptimizer):
    """v = momentum * v - learning_rate * gradient; w += v."""

    def __init__(self, model, learning_rate=1e-4, reg=1e-3, momentum=0.9):
        super().__init__(model, learning_rate, reg)
        self.momentum = momentum
        self.velocity = [
            (np.zeros_like(module.weight), np.zeros_like(module.bias)) if hasattr(module, "weight") else None
            for module in model.modules
        ]

    def update(self, model):
        """One step with the gradients that model.backward() left behind."""
        self.apply_regularization(model)
        for module, velocity in zip(model.modules, self.velocity):
            if velocity is None:
                continue
            for parameter, gradient, v in (
                (module.weight, module.dw, velocity[0]),
                (module.bias, module.db, velocity[1]),
            ):
                v *= self.momentum
                v -= self.learning_rate * gradient
                parameter += v
