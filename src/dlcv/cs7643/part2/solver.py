"""Trains one of the models on CIFAR-10: Solver(**kwargs).train(), kwargs as in configs/*.yaml. It prints nothing.

The epoch that is kept is the best on `validation` training images that training does not see (5,000; 0 keeps the last
epoch). The test set is not read.
"""

import copy
import pathlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision

try:
    from losses import FocalLoss, reweight  # as it is submitted: this folder is the working directory
    from models import MyModel, TwoLayerNet, VanillaCNN, resnet32
except ImportError:
    from .losses import FocalLoss, reweight
    from .models import MyModel, TwoLayerNet, VanillaCNN, resnet32

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
MODELS = {
    "TwoLayerNet": lambda: TwoLayerNet(3072, 256, 10),
    "VanillaCNN": VanillaCNN,
    "MyModel": MyModel,
    "ResNet-32": resnet32,
}


def has_bf16(device):
    """Whether the device computes in bfloat16: elsewhere, as without AVX-512, it is far slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def long_tail(labels, factor, seed=0):
    """Rows of a long-tailed subset: class c of C keeps n_max * factor^(-c / (C - 1)) images.

    n_max is the size of the smallest class before. The exponential profile of Cui et al. 2019 (arXiv:1901.05555),
    section 5.1. labels: array (N,) of 0 … C - 1.
    """
    rng = np.random.RandomState(seed)
    rows = [np.flatnonzero(labels == c) for c in range(labels.max() + 1)]
    most = min(len(r) for r in rows)
    counts = [int(most * factor ** (-c / (len(rows) - 1))) for c in range(len(rows))]
    return np.sort(np.concatenate([rng.permutation(r)[:n] for r, n in zip(rows, counts)]))


class Solver:
    def __init__(self, **kwargs):
        get = kwargs.get
        self.path_prefix = get("path_prefix", ".")
        self.imbalance = get("imbalance", "regular")
        self.imbalance_factor = get("imbalance_factor", 100)
        self.batch_size = get("batch_size", 128)
        self.model_type = get("model", "TwoLayerNet")
        self.device = torch.device(get("device", "cpu"))
        self.loss_type = get("loss_type", "CE")
        self.label_smoothing = get("label_smoothing", 0.0)
        self.lr = get("learning_rate", 0.0001)
        self.schedule = get("schedule", "steps")
        self.momentum = get("momentum", 0.9)
        self.nesterov = get("nesterov", False)
        self.reg = get("reg", 0.0005)
        self.beta = get("beta", 0.9999)
        self.gamma = get("gamma", 1.0)
        self.steps = get("steps", [6, 8])
        self.epochs = get("epochs", 10)
        self.warmup = get("warmup", 0)
        self.save_best = get("save_best", True)
        self.validation = get("validation", 5000)
        self.seed = get("seed", 0)
        self.bf16 = get("bf16", False) and has_bf16(self.device)
        self.augment = get("augment", True)
        self.border, self.patch = get("border", "black"), get("patch", 0)
        self.small, self.small_until = get("small", 32), get("small_until", 0.0)
        if self.model_type not in MODELS:
            raise ValueError(f"model {self.model_type}: one of {', '.join(MODELS)}")
        if self.loss_type not in ("CE", "Focal"):
            raise ValueError(f"loss_type {self.loss_type}: CE or Focal")
        if self.border not in ("black", "reflect"):
            raise ValueError(f"border {self.border}: black or reflect")
        if self.schedule not in ("steps", "triangular"):
            raise ValueError(f"schedule {self.schedule}: steps or triangular")

        images, labels = get("images"), get("labels")  # uint8 (N, 32, 32, 3) and (N,), instead of the files
        if images is None:
            root = pathlib.Path(self.path_prefix) / "data" / "cifar10"
            there = (root / "cifar-10-batches-py").is_dir()
            dataset = torchvision.datasets.CIFAR10(root=root, train=True, download=not there)
            images, labels = dataset.data, np.asarray(dataset.targets)
        order = np.random.RandomState(0).permutation(len(labels))
        held_out, rows = order[: self.validation], np.sort(order[self.validation :])
        if self.imbalance != "regular":
            rows = rows[long_tail(labels[rows], self.imbalance_factor)]
        self.cls_num_list = np.bincount(labels[rows], minlength=10).tolist()
        images = torch.as_tensor(images).permute(0, 3, 1, 2)
        self.train_images, self.train_labels = images[rows].contiguous(), torch.as_tensor(labels[rows]).long()
        self.val_images, self.val_labels = images[held_out], torch.as_tensor(labels[held_out]).long()
        self.steps_per_epoch = -(-len(rows) // self.batch_size)

        torch.manual_seed(self.seed)
        self.model = MODELS[self.model_type]()
        self.model = self.model.to(self.device).to(memory_format=torch.channels_last)
        if self.loss_type == "CE":
            self.criterion = nn.CrossEntropyLoss(label_smoothing=self.label_smoothing)
        else:
            weight = reweight(self.cls_num_list, beta=self.beta).to(self.device)
            self.criterion = FocalLoss(weight=weight, gamma=self.gamma)
        self.optimizer = torch.optim.SGD(
            [p for p in self.model.parameters() if p.requires_grad],
            self.lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.reg,
        )
        # Where several processes share each batch: the network that averages their gradients, the rows of a batch that
        # are this process's, and what the mean over these is multiplied by. The course trains in one process.
        self.network, self.part, self.share = self.model, lambda rows: rows, lambda size: 1.0
        self.weight = 1.0
        self._reset()

    def _reset(self):
        self.best, self.best_cm, self.best_model = -1.0, None, None

    def train(self):
        for epoch in range(self.epochs):
            self._train_step(epoch)
            acc, cm = self._evaluate(epoch)
            if self.validation == 0 or acc > self.best:
                self.best, self.best_cm, self.best_model = acc, cm, copy.deepcopy(self.model)
        if self.save_best:
            folder = pathlib.Path(__file__).parent.resolve() / "checkpoints"
            folder.mkdir(exist_ok=True)
            torch.save(self.best_model.state_dict(), folder / f"{self.model_type.lower()}.pth")

    def _train_step(self, epoch):
        """Epoch 0, 1, …: all of its updates."""
        for step in range(epoch * self.steps_per_epoch, (epoch + 1) * self.steps_per_epoch):
            self.update(step)

    def update(self, step):
        """Step 0, 1, … of the whole training: returns the loss and the share of the batch that was right, 0-d."""
        self._adjust_learning_rate(step / self.steps_per_epoch)
        self.model.train()
        data, target = self._batch(step)
        self.weight = self.share(len(target))
        data, target = self.part(data), self.part(target)
        if step < self.small_until * self.epochs * self.steps_per_epoch:  # a smaller image costs less
            data = F.interpolate(data, size=(self.small, self.small), mode="bilinear", antialias=True)
            data = data.contiguous(memory_format=torch.channels_last)
        output, loss = self._compute_loss_update_params(data, target)
        return loss.detach(), self.weight * self._check_accuracy(output, target)

    def _check_accuracy(self, output, target):
        """Share of the logits (N, C) whose largest is the target (N,): a 0-d tensor."""
        return (output.argmax(1) == target).float().mean()

    def _evaluate(self, epoch):
        """Accuracy on the validation images, and the confusion matrix (true, predicted), rows summing to 1."""
        self.model.eval()
        cm = torch.zeros(10, 10)
        for images, target in zip(self.val_images.split(250), self.val_labels.split(250)):
            output, _ = self._compute_loss_update_params(self._normalise(images), target.to(self.device))
            cm.index_put_((target, output.argmax(1).cpu()), torch.ones(len(target)), accumulate=True)
        total = cm.sum()
        acc = float(cm.diag().sum() / total) if total else 0.0
        return acc, cm / cm.sum(1, keepdim=True).clamp(min=1)

    def _compute_loss_update_params(self, data, target):
        """Logits and loss; in training mode the parameters are updated, otherwise nothing is."""
        with torch.set_grad_enabled(self.model.training):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16 and self.model.training):
                output = (self.network if self.model.training else self.model)(data)
            output = output.float()
            loss = self.criterion(output, target)
        if self.model.training:
            loss = self.weight * loss
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return output, loss

    def _normalise(self, images):
        """uint8 (N, 3, 32, 32) -> standardised float32 on the device."""
        x = images.to(self.device).float() / 255
        mean, std = (torch.tensor(v, device=self.device).view(3, 1, 1) for v in (MEAN, STD))
        return ((x - mean) / std).contiguous(memory_format=torch.channels_last)

    def _batch(self, step):
        """Every image once an epoch, moved by up to 4 pixels and mirrored; what is drawn depends on seed and step.

        With `patch` a square of that many pixels shows another image of the batch, the label stays.
        """
        epoch, number = divmod(step, self.steps_per_epoch)
        shuffle = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.train_images), generator=shuffle)
        rows = order[number * self.batch_size : (number + 1) * self.batch_size]
        if not self.augment:
            return self._normalise(self.train_images[rows]), self.train_labels[rows].to(self.device)
        g = torch.Generator().manual_seed((self.seed + 1) * 1_000_000_007 + step)
        images, n = self.train_images[rows], len(rows)
        mirrored = torch.rand((n, 1, 1, 1), generator=g) < 0.5
        # Mirrored pixels look like a whole image, as test images do; in training mode a black border costs accuracy.
        mode = "reflect" if self.border == "reflect" else "constant"
        padded = F.pad(torch.where(mirrored, images.flip(3), images), (4, 4, 4, 4), mode).permute(0, 2, 3, 1)
        down, right = (torch.randint(0, 9, (n, 1), generator=g) + torch.arange(32) for _ in range(2))
        moved = padded[torch.arange(n)[:, None, None], down[:, :, None], right[:, None, :]]
        if self.patch:  # as cutout (DeVries and Taylor 2017), but filled with another image instead of the mean colour
            top, left = (torch.randint(0, 33 - self.patch, (n, 1), generator=g) for _ in range(2))
            down, across = ((at <= torch.arange(32)) & (torch.arange(32) < at + self.patch) for at in (top, left))
            moved = torch.where((down[:, :, None] & across[:, None, :])[..., None], moved.roll(1, 0), moved)
        return self._normalise(moved.permute(0, 3, 1, 2)), self.train_labels[rows].to(self.device)

    def _adjust_learning_rate(self, epoch):
        """steps: warm-up by epochs, then a tenth after epoch steps[0], a hundredth after steps[1]; or up and down.

        epoch: those that are done; 2.5 is in the middle of the third, which only up and down tells from its beginning.
        """
        if self.schedule == "triangular":
            progress = round(epoch * self.steps_per_epoch) / (self.epochs * self.steps_per_epoch)
            factor = min(0.2 + 0.8 * progress / 0.2, (1 - progress) / 0.8)
        else:
            number = int(epoch) + 1
            if number <= self.warmup:
                factor = number / self.warmup
            else:
                factor = 0.01 if number > self.steps[1] else 0.1 if number > self.steps[0] else 1.0
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * factor
