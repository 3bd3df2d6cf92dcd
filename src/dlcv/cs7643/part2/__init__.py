"""Part 2: PyTorch networks and losses for CIFAR-10."""
