"""Fixtures shared by all tests, for the whole session. A test that trains or changes one makes its own with ``tiny``."""

import gc
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import tiny
from proxymask.data.avatars import AVATAR_LABELS
from proxymask.inference.bundle import Bundle
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.oasis_mapper import OasisMapper
from proxymask.models.proxy_clusters import ProxyClusters, fit_proxy_clusters
from proxymask.models.rearranger import Rearranger
from proxymask.models.split_generator import SplitGenerator
from proxymask.models.stylegan2 import Generator, seed_to_z

torch.set_num_threads(1)  # on such small networks more threads are slower
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; tests interrupt themselves
    signal.signal(signal.SIGINT, signal.default_int_handler)

SLOW_FILES = ("test_fit.py", "test_kill_resume.py", "test_stops.py", "test_ablations.py", "test_rectangles.py", "test_conditions.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that two processes end at the same time."""
    items.sort(key=lambda item: SLOW_FILES.index(item.path.name) if item.path.name in SLOW_FILES else len(SLOW_FILES))


def make_tiny_bundle(resolution: int = 32, cut: int = 16, clusters: int = 5) -> Bundle:
    """A complete bundle with random weights and the labels of avatars."""
    torch.manual_seed(0)
    generator = Generator(z_dim=16, w_dim=16, resolution=resolution, mapping_layers=2, channel_base=256, channel_max=16)
    generator.eval().requires_grad_(False)
    half = SplitGenerator(generator, cut)
    w = half.w(seed_to_z(range(8), 16))
    features = half.features(w).features
    found = fit_proxy_clusters(lambda: [features], clusters, cut)
    rearranger = Rearranger(half.channels, cut, clusters, position_channels=8, hidden=8, layers=2)
    rearranger.initialize(found.centroids, float(features.square().mean().sqrt()))
    rearranger.attend_to_clusters(tiny.SHARP)
    labels = len(AVATAR_LABELS)
    levels, _ = half.feature_pyramid(w)
    segmenter = FewShotSegmenter([level.shape[1] for level in levels], resolution, labels, width=8)
    mapper = OasisMapper(labels, clusters, cut, widths=(8, 8, 8), hidden=8)
    about = {"licences": {"avatars": "free for personal and commercial use"}, "proxy_mask_mode": "soft"}
    return Bundle(generator, cut, found, rearranger.eval(), AVATAR_LABELS, segmenter.eval(), {"mask": mapper.eval()}, "tiny", about)


@pytest.fixture(autouse=True, scope="module")
def _imported_modules_are_no_garbage() -> None:
    """Collections, of which every estimate of a training runs many, leave out what earlier tests imported: half of the time of a fit."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a saved tiny bundle. Read only: tests that damage it copy it first."""
    return make_tiny_bundle().save(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Bundle]:
    """:func:`make_tiny_bundle`, for one of other sizes."""
    return make_tiny_bundle


@pytest.fixture(scope="session")
def split() -> SplitGenerator:
    """A frozen 16-pixel generator, split at 8."""
    return tiny.make_cut()


@pytest.fixture(scope="session")
def clusters(split: SplitGenerator) -> ProxyClusters:
    """Five clusters of its features."""
    return tiny.make_clusters(split)


@pytest.fixture(scope="session")
def w(split: SplitGenerator) -> torch.Tensor:
    """Eight latents w."""
    return split.w(seed_to_z(range(8), tiny.Z))
