"""Which sample to label next, and why."""

from collections.abc import Generator, Sequence

import torch

from ...inference.sample_choice import SampleChoice
from ..catalogue import Model
from ..turns import Pause

CANDIDATES = 96


def sample_choice(model: Model) -> Generator[Pause, None, SampleChoice]:
    """The candidates of a bundle, seeds 0 to ``CANDIDATES - 1``, a few a step."""
    synth, shares, away = model.synth, [], []
    for start in range(0, CANDIDATES, 4):
        w = synth.w(list(range(start, min(start + 4, CANDIDATES))))
        proxy, _ = synth.layout(w)
        hot = torch.nn.functional.one_hot(proxy.flatten(1), synth.bundle.clusters.num_clusters)
        shares.append(hot.float().mean(dim=1).cpu())
        away.append((w - synth.bundle.generator.mapping.w_avg).norm(dim=1).cpu())
        yield Pause.REST
    return SampleChoice(torch.cat(shares), torch.cat(away))


def proposals(choice: SampleChoice, labelled: Sequence[int], count: int) -> list[dict[str, object]]:
    """The next samples to label, as seed and reason.

    Args:
        labelled: seeds that are labelled; those beyond the candidates do not count.
    """
    chosen = [seed for seed in labelled if 0 <= seed < len(choice.shares)]
    found = []
    for index in choice.order(min(count, len(choice.shares) - len(chosen)), chosen):
        found.append({"seed": index, "why": choice.why(index, chosen)})
        chosen.append(index)
    return found
