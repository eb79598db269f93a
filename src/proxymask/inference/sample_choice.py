"""Which samples of a generator are most worth labelling, judged by their clusters.

A label can only be learnt where it is seen, and what is seen shows in the clusters. With h_i[k] the share of sample i's proxy mask in
cluster k, and m[k] the mean of that share over the candidates, a set S of samples covers

    cover(S) = mean_k min(1, max_{i in S} h_i[k] / m[k]),

that is, a cluster counts in full once one chosen sample shows it at its usual size.

Shapes: n candidates, K clusters.
"""

from collections.abc import Sequence

import torch

USUAL = 0.5  # share of its usual size from which a cluster counts as shown, where clusters are counted in words


class SampleChoice:
    """The candidates, and the order in which they should be labelled.

    Args:
        shares: (n, K), h.
        distance: (n,), of each sample's w from the mean w.
    """

    def __init__(self, shares: torch.Tensor, distance: torch.Tensor) -> None:
        self.shares, self.distance = shares, distance
        self.shown = (shares / shares.mean(dim=0).clamp_min(1e-9)).clamp_max(1.0)  # a cluster nobody shows adds nothing to anyone

    def first(self) -> int:
        """Of the candidates that cover at least 95 % of what the best one covers, the one nearest to the mean w: complete, and typical."""
        cover = self.shown.mean(dim=1)
        complete = cover >= 0.95 * cover.max()
        return int(torch.where(complete, self.distance, torch.full_like(self.distance, float("inf"))).argmin())

    def after(self, chosen: Sequence[int]) -> int:
        """The candidate to follow those that are chosen: the one with the largest sum of what it adds to the cover and of its distance to
        the nearest chosen one (half the L1 of the shares, 0 to 1), so that once all clusters are covered samples differ as they can.
        """
        if not chosen:
            return self.first()
        have = self.shown[list(chosen)].max(dim=0).values
        gain = torch.maximum(self.shown, have).mean(dim=1) - have.mean()
        apart = 0.5 * torch.cdist(self.shares, self.shares[list(chosen)], p=1.0).min(dim=1).values
        score = gain + apart
        score[list(chosen)] = -1.0
        return int(score.argmax())

    def order(self, count: int, chosen: Sequence[int] = ()) -> list[int]:
        """The next ``count`` candidates after those that are chosen already."""
        found = list(chosen)
        while len(found) < len(chosen) + count:
            found.append(self.after(found))
        return found[len(chosen) :]

    def why(self, index: int, chosen: Sequence[int]) -> str:
        """Why a candidate is proposed after the chosen ones, in words."""
        seen = self.shown >= USUAL
        if not chosen:
            return f"typical: {int(seen[index].sum())} of {seen.shape[1]} kinds of region"
        new = int((seen[index] & ~seen[list(chosen)].any(dim=0)).sum())
        if new:
            return f"adds {new} {'kind' if new == 1 else 'kinds'} of region"
        return "another layout"
