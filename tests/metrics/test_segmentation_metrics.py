import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from sklearn.metrics import confusion_matrix, jaccard_score

from proxymask.core.errors import ProxymaskError
from proxymask.metrics.segmentation import ConfusionMatrix, boundary_f_score, class_then_mean, per_image_iou

N = 6


def random_masks(seed, shape=(4, 12, 12), used=5):
    """Prediction and target that agree in about half of the pixels; ids from ``used`` on never occur."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, used, shape)
    pred = np.where(rng.random(shape) < 0.5, target, rng.integers(0, used, shape))
    return torch.from_numpy(pred), torch.from_numpy(target)


def test_pooled_against_sklearn():
    matrix = ConfusionMatrix(N)
    pred, target = random_masks(0)
    matrix.update(pred[:1], target[:1]).update(pred[1:].to(torch.uint8), target[1:])
    p, t = pred.flatten().numpy(), target.flatten().numpy()
    np.testing.assert_array_equal(matrix.counts.numpy(), confusion_matrix(t, p, labels=range(N)))
    assert matrix.counts.dtype == torch.int64
    np.testing.assert_allclose(matrix.iou()[:5], jaccard_score(t, p, labels=range(5), average=None))
    assert torch.isnan(matrix.iou()[5])
    assert matrix.miou() == pytest.approx(jaccard_score(t, p, labels=range(5), average="macro"))  # class 5 is skipped, not 0
    assert matrix.pixel_accuracy() == pytest.approx((p == t).mean())
    np.testing.assert_allclose(matrix.frequency(), np.bincount(t, minlength=N) / t.size)


def test_class_in_one_of_both_counts_as_zero():
    matrix = ConfusionMatrix(3).update(torch.tensor([0, 0, 1]), torch.tensor([0, 0, 0]))
    assert matrix.iou()[1] == 0
    assert matrix.miou() == pytest.approx((2 / 3 + 0) / 2)


def test_per_image_against_sklearn():
    pred, target = random_masks(2)
    target[0][target[0] == 3], pred[0][pred[0] == 3] = 1, 1  # class 3 is missing from picture 0
    table = per_image_iou(pred, target, N)
    assert torch.isnan(table[:, 0]).all()
    assert torch.isnan(table[0, 3])
    columns = []
    for label in range(1, 5):
        values = []
        for p, t in zip(pred.numpy(), target.numpy(), strict=True):
            if (p == label).any() or (t == label).any():
                values.append(jaccard_score((t == label).ravel(), (p == label).ravel()))
        columns.append(np.mean(values))
    per_class, score = class_then_mean(table)
    np.testing.assert_allclose(per_class[1:5], columns)
    assert score == pytest.approx(np.mean(columns))
    assert not torch.isnan(per_image_iou(pred, target, N, ignore=())[:, 0]).any()


def test_mean_over_pictures_comes_before_mean_over_classes():
    target = torch.tensor([[[1, 1, 1, 1]], [[1, 2, 2, 2]]])
    pred = torch.tensor([[[1, 1, 1, 1]], [[2, 2, 2, 2]]])
    per_class, score = class_then_mean(per_image_iou(pred, target, 3))
    np.testing.assert_allclose(per_class[1:], [0.5, 0.75])
    assert score == pytest.approx(0.625)


def naive_boundary(region):
    """Pixels with a 4-neighbour, inside the picture, that is not of the region."""
    edge = np.zeros_like(region)
    height, width = region.shape
    for y, x in zip(*np.nonzero(region), strict=True):
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            if 0 <= y + dy < height and 0 <= x + dx < width and not region[y + dy, x + dx]:
                edge[y, x] = True
    return edge


@pytest.mark.parametrize("tolerance", [0, 1, 2])
def test_boundary_against_distance_transform(tolerance):
    rng = np.random.default_rng(3)
    blocks = rng.integers(0, 3, (3, 4, 4)).repeat(5, 1).repeat(5, 2)
    target = np.roll(blocks, 1, axis=2)
    pred = np.where(rng.random(blocks.shape) < 0.05, rng.integers(0, 3, blocks.shape), blocks)  # specks: a square is no disc
    table = boundary_f_score(torch.from_numpy(pred), torch.from_numpy(target), 4, tolerance)
    for b in range(3):
        for label in range(3):
            ours, theirs = naive_boundary(pred[b] == label), naive_boundary(target[b] == label)
            precision = (distance_transform_edt(~theirs)[ours] <= tolerance).mean()
            recall = (distance_transform_edt(~ours)[theirs] <= tolerance).mean()
            expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
            assert float(table[b, label]) == pytest.approx(expected)
    assert torch.isnan(table[:, 3]).all()


def test_boundary_of_a_shifted_square():
    target = torch.zeros(1, 20, 20, dtype=torch.long)
    target[0, 5:15, 5:15] = 1
    pred = target.roll(2, 2)
    scores = [float(boundary_f_score(pred, target, 2, t)[0, 1]) for t in (0, 1, 2)]
    assert scores[0] < scores[1] < scores[2] == 1
    missing = boundary_f_score(torch.zeros_like(target), target, 2)[0]
    assert missing[1] == 0
    assert torch.isnan(boundary_f_score(pred * 0, target * 0, 2)).all()  # one region that fills the picture has no outline
    assert torch.isnan(boundary_f_score(pred, target, 2, ignore=(0,))[0, 0])


def test_errors():
    matrix = ConfusionMatrix(3)
    with pytest.raises(ProxymaskError, match="differ in shape"):
        matrix.update(torch.zeros(2, 2), torch.zeros(2, 3))
    with pytest.raises(ProxymaskError, match="outside 0 to 2"):
        matrix.update(torch.tensor([0]), torch.tensor([3]))
    with pytest.raises(ProxymaskError, match="outside 0 to 2"):
        matrix.update(torch.tensor([-1]), torch.tensor([0]))
