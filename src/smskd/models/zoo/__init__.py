"""The networks of the published experiments on CIFAR."""
