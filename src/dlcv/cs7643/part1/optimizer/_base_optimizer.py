"""What optimizers share: learning rate and L2 regularisation."""


class _BaseOptimizer:
    def __init__(self, model, learning_rate=1e-4, reg=1e-3):
        self.learning_rate = learning_rate
        self.reg = reg

    def update(self, model):
        raise NotImplementedError

    def apply_regularization(self, model):
        """Adds the gradient of reg / 2 * |weight|² to dw of every layer; biases are left alone."""
        for module in model.modules:
            if hasattr(module, "weight"):
                module.dw = module.dw + self.reg * module.weight
