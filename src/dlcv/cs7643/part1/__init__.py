"""Part 1: a convolutional network in NumPy alone."""
