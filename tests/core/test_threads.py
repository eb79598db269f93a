"""Number of threads: what this process may use, and what pictures and trainings take of it."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from proxymask.core.threads import available_cpus, inference, one_thread, training_threads
from proxymask.inference.synthesizer import Synthesizer
from proxymask.training.distributed import processes

CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Four threads, and no choice of the user's."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def system(root: Path, cgroup: str, **files: str) -> Path:
    """A file system that describes control groups: /proc/self/cgroup and files below /sys/fs/cgroup by their paths."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2 = "0::/user.slice/job\n"
V1 = "3:cpuset:/\n2:cpu,cpuacct:/docker/abc\n1:memory:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "allowed"),
    [
        (V2, {"user.slice/job/cpu.max": "100000 100000\n"}, 1),
        (V2, {"user.slice/job/cpu.max": "50000 100000\n"}, 1),  # half a CPU is one thread
        (V2, {"user.slice/job/cpu.max": "190000 100000\n"}, 1),  # rounded down
        (V2, {"user.slice/job/cpu.max": "max 100000\n", "user.slice/cpu.max": "100000 100000\n"}, 1),  # the group above counts too
        (V2, {"user.slice/job/cpu.max": "max 100000\n"}, CPUS),
        (V2, {"user.slice/job/cpu.max": "6400000 100000\n"}, CPUS),  # more than there are
        ("0::/\n", {"cpu.max": "100000 100000\n"}, 1),  # inside a container
        ("0::/\n", {"cpu.max": ""}, CPUS),
        (V1, {"cpu,cpuacct/docker/abc/cpu.cfs_quota_us": "100000\n", "cpu,cpuacct/docker/abc/cpu.cfs_period_us": "100000\n"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 1),  # a container shows its own group as the root
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, CPUS),
        (V1, {"cpuset/cpu.cfs_quota_us": "100000\n", "cpuset/cpu.cfs_period_us": "100000\n"}, CPUS),  # of another controller
    ],
)
def test_the_limit_of_the_control_groups_counts(cgroup: str, files: dict[str, str], allowed: int, tmp_path: Path) -> None:
    assert available_cpus(system(tmp_path, cgroup, **files)) == allowed


def test_a_system_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    assert available_cpus(tmp_path) == CPUS


def asked(code: str, **environment: str) -> str:
    """What a new process prints."""
    given = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | environment
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no processes")
def test_a_process_bound_to_one_cpu_has_one() -> None:
    bind = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    assert asked(bind + "from proxymask.core.threads import available_cpus; print(available_cpus())") == "1"


def test_a_real_control_group_is_read(tmp_path: Path) -> None:
    """A group of this machine with a limit of one CPU, with the process in it."""
    for place, limit in (
        (Path("/sys/fs/cgroup"), {"cpu.max": "100000 100000"}),
        (Path("/sys/fs/cgroup/cpu"), {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"}),
    ):
        group = place / f"proxymask-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if not all((group / name).is_file() for name in limit):
                continue
            for name, value in limit.items():
                (group / name).write_text(value)
            enter = f"import os; open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); "
            assert asked(enter + "from proxymask.core.threads import available_cpus; print(available_cpus())") == "1"
            return
        finally:
            group.rmdir()
    pytest.skip("no control group can be made here")


def test_one_thread_inside_and_as_before_after_it() -> None:
    with one_thread():
        assert torch.get_num_threads() == 1
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 4


def test_the_number_comes_back_after_an_error() -> None:
    @inference
    def fails() -> None:
        assert torch.get_num_threads() == 1
        assert torch.is_inference_mode_enabled()
        raise ValueError("a reason")

    with pytest.raises(ValueError, match="a reason"):
        fails()
    assert torch.get_num_threads() == 4
    assert not torch.is_inference_mode_enabled()


def test_half_of_the_cpus_train() -> None:
    with training_threads():
        assert torch.get_num_threads() == min(4, max(1, available_cpus() // 2))
    with processes("cpu"):
        assert torch.get_num_threads() == min(4, max(1, available_cpus() // 2))
    assert torch.get_num_threads() == 4


def test_who_sets_the_variable_has_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with one_thread():
        assert torch.get_num_threads() == 4
    with training_threads():
        assert torch.get_num_threads() == 4


def test_threads_of_a_process_do_not_change_each_other() -> None:
    inside, checked, seen = threading.Event(), threading.Event(), []

    def paint() -> None:
        with one_thread():
            inside.set()
            checked.wait(10)
            seen.append(torch.get_num_threads())

    thread = threading.Thread(target=paint)
    thread.start()
    inside.wait(10)
    assert torch.get_num_threads() == 4
    checked.set()
    thread.join()
    assert seen == [1]
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_picture_is_the_same_whatever_the_number_of_threads(precision: str) -> None:
    synth = Synthesizer.from_pretrained("avatars", "cpu", precision)
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 1
    pictures = []
    for threads in (1, 2, 4):
        torch.set_num_threads(threads)
        style = synth.make_style(seed=3)
        pictures.append([synth(mask, style, output_type="tensor"), synth.sample(synth.w([5]))[0]])
        assert torch.get_num_threads() == threads
    for others in pictures[1:]:
        assert all(torch.equal(one, other) for one, other in zip(pictures[0], others, strict=True))


def test_every_public_step_computes_with_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of threads at every convolution of a picture, a style, a sample and a transfer."""
    synth = Synthesizer.from_pretrained("avatars", "cpu")
    seen: set[int] = set()
    convolve = torch.nn.functional.conv2d

    def noted(*args: torch.Tensor, **more: object) -> torch.Tensor:
        seen.add(torch.get_num_threads())
        return convolve(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "conv2d", noted)
    style = synth.make_style(seed=1)
    mask = np.zeros((64, 64), np.uint8)
    synth(mask, style)
    synth.generate(mask, style)
    synth.transfer(1, 2)
    synth.sample(synth.w([1]))
    assert seen == {1}
