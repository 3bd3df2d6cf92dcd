"""A network from a list of layers, and its loss."""

from .convolution import Conv2D
from .linear import Linear
from .max_pool import MaxPooling
from .relu import ReLU
from .softmax_ce import SoftmaxCrossEntropy

LAYERS = {"Conv2D": Conv2D, "MaxPooling": MaxPooling, "ReLU": ReLU, "Linear": Linear}
CRITERIA = {"SoftmaxCrossEntropy": SoftmaxCrossEntropy}


def _build(known, description):
    arguments = dict(description)
    kind = arguments.pop("type")
    if kind not in known:
        raise ValueError(f"unknown type {kind!r}; known are {', '.join(known)}")
    return known[kind](**arguments)


class ConvNet:
    """modules: dicts such as dict(type="Conv2D", in_channels=3, ...), in order; criterion: dict(type=...)."""

    def __init__(self, modules, criterion):
        self.modules = [_build(LAYERS, module) for module in modules]
        self.criterion = _build(CRITERIA, criterion)

    def forward(self, x, y):
        """x (N, C, H, W), labels y (N,) -> probabilities (N, classes), loss."""
        for module in self.modules:
            x = module.forward(x)
        return self.criterion.forward(x, y)

    def backward(self):
        """Sets dx, and dw and db where there are parameters, of every module."""
        self.criterion.backward()
        dout = self.criterion.dx
        for module in reversed(self.modules):
            module.backward(dout)
            dout = module.dx
