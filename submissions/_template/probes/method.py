import torch


class NewMethod:
    def __init__(self, *, penalty):
        self.penalty = penalty

    def fit(self, activations, labels, *, n_classes, seed):
        self.mean = activations.mean(dim=0)
        x, y = activations - self.mean, torch.nn.functional.one_hot(labels, n_classes).float()
        gram = x.T @ x + self.penalty * x.square().sum() / x.shape[1] * torch.eye(x.shape[1])
        self.share = y.mean(dim=0)
        self.weights = torch.linalg.solve(gram, x.T @ (y - self.share))
        return self

    def predict(self, x):
        return ((x - self.mean) @ self.weights + self.share).clamp(min=1e-4).log()
