"""The 256-pixel avatars, cut at 64, on a GPU that is there for minutes: every stage in one command that ends in time.

    python benchmarks/gpu/avatars256.py prepare --start runs/g128 --out .carry
    PYTHONPATH=src:.carry/site python3 benchmarks/gpu/avatars256.py run --start .carry/start --seconds 480 --out $OUT

``prepare`` puts what the machine needs into one folder: the smaller generator and discriminator as float16, and the drawings. ``run`` grows
them, trains the stages after one another and writes the bundle. At the start of a stage its steps are measured; batch and number of steps
are chosen so that they fit the stage's share of the time. The same command goes on after any stop: from ``--work`` on the same machine, or
from the files in ``--from``, which are those that the last run wrote to ``--out``, at most 6, each below 16 MiB.
``sizes`` writes networks of full size with random weights, to see that they fit into those files.

Labels come from a network that learns from composed pictures with exact masks and labels 16 samples. It takes no part in any measurement.
"""

import argparse
import dataclasses
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
from carried import unpack
from composed import ComposedAvatars, OnTheCpu
from PIL import Image
from start import start_networks
from timed import Job, OutOfTime, train_stage

from proxymask.core.device import resolve_device
from proxymask.core.errors import ProxymaskError
from proxymask.core.files import load_tensors, save_tensors, write_json
from proxymask.data.avatars import AVATAR_LABELS, AVATARS
from proxymask.imaging.grids import tile, to_uint8
from proxymask.inference.bundle import Bundle
from proxymask.inference.samples import select_samples_to_label
from proxymask.inference.synthesizer import Synthesizer
from proxymask.models.detail_network import DetailNetwork
from proxymask.models.discriminator import Discriminator
from proxymask.models.few_shot_segmenter import FewShotSegmenter
from proxymask.models.proxy_clusters import ProxyClusters
from proxymask.models.segmentation_nets import UNetSegmenter
from proxymask.models.stylegan2 import Generator
from proxymask.training.loop import LoopConfig, Stage
from proxymask.training.parts import Frozen
from proxymask.training.presets import load_preset
from proxymask.training.segmentation import SegmentationConfig, SegmentationStage, unweight
from proxymask.training.stages.clusters import cluster_features
from proxymask.training.stages.definition import new_discriminator
from proxymask.training.stages.detail import DetailDefinition
from proxymask.training.stages.generator import GeneratorDefinition, new_generator
from proxymask.training.stages.mapper import MapperDefinition
from proxymask.training.stages.rearranger import RearrangerDefinition
from proxymask.training.stages.segmenter import SegmenterDefinition

HERE = Path(__file__).parent
MIB = 2**20
MOST_FILES, MOST_BYTES = 8, 16 * MIB  # files that come back from the machine, and the size of each
LABELLED, CANDIDATES = 16, 512  # samples that are labelled, and out of how many
FIRST_SEED = 5_000_000
SHOWN = 6  # pictures in a row of the sheet


# ----------------------------------------------------------------------------------------------------------------- stages


def train_generator(job: Job, start: Path) -> None:
    """Grow the smaller generator and train it on the pool."""
    assert job.pool is not None
    pictures = job.pool
    config, size = job.preset.generator, job.preset.resolution
    generator, discriminator = start_networks(start)
    config = dataclasses.replace(config, z_dim=generator.z_dim, mapping_layers=generator.config["mapping_layers"])

    def make(loop: LoopConfig) -> Stage:
        alone = 0 if discriminator is not None else max(1, loop.steps // 10)
        stage = GeneratorDefinition(
            config=dataclasses.replace(config, discriminator_first=alone),
            loop=loop,
            pictures=pictures,
            size=size,
            start=generator,
            discriminator=discriminator,
            grow=True,
        ).build()
        stage.warmup = max(1, min(stage.warmup, loop.steps // 20))
        return stage

    _, networks = train_stage(job, "generator", job.preset.generator_loop, make, larger=True)
    job.save("generator", networks, start=str(start), composed=len(pictures))


def make_clusters(job: Job) -> None:
    """Cluster the features at the cut."""
    job.check_time()
    began = time.monotonic()
    found = cluster_features(job.split(), job.preset.num_clusters, job.preset.cluster_samples, 0, job.device)
    job.save("clusters", {"clusters": found.cpu()}, seconds=round(time.monotonic() - began, 1))


def train_rearranger(job: Job) -> None:
    """Train the rearranger; real pictures are those of the pool."""

    def definition(loop: LoopConfig) -> RearrangerDefinition:
        return RearrangerDefinition(
            config=job.preset.rearranger,
            loop=loop,
            split=job.split(),
            clusters=job.get("clusters"),
            discriminator=job.get("generator", "discriminator"),
            pictures=job.pool,
        )

    stage, networks = train_stage(job, "rearranger", job.preset.rearranger_loop, lambda loop: definition(loop).build())
    job.save("rearranger", definition(job.preset.rearranger_loop).finalize(stage, networks))


def train_annotator(job: Job) -> None:
    """Train a network on composed pictures with exact masks, and label the samples that are most worth labelling."""
    assert job.pool is not None
    job.pool.stop()  # augmentation needs the processors
    data = OnTheCpu(job.pool)

    def make(loop: LoopConfig) -> Stage:
        torch.manual_seed(2)
        return SegmentationStage(UNetSegmenter(len(AVATAR_LABELS)), data, SegmentationConfig(), loop.steps)

    stage, networks = train_stage(job, "annotator", LoopConfig(batch=16), make)
    assert isinstance(stage, SegmentationStage)
    net = networks["net"].eval().requires_grad_(False).to(job.device)
    assert isinstance(net, UNetSegmenter)
    unweight(net, stage.weight)
    split, clusters = job.split().to(job.device), job.get("clusters").to(job.device)
    seeds = select_samples_to_label(split, clusters, LABELLED, CANDIDATES, FIRST_SEED)
    with torch.no_grad():
        ws = split.w(split.generator.z(seeds).to(job.device))
        masks = torch.cat([net(split.generator.synthesis(split.generator.broadcast(w)).clamp(-1, 1)).argmax(dim=1) for w in ws.split(4)])
    (job.work / "labels").mkdir(exist_ok=True)
    save_tensors(job.work / "labels" / "labels.safetensors", {"ws": ws.float(), "masks": masks.to(torch.uint8)})
    job.save("annotator", {"net": net.cpu()}, seeds=seeds)


def train_segmenter(job: Job) -> None:
    """Train the few-shot segmenter on the labelled samples."""
    labelled = load_tensors(job.work / "labels" / "labels.safetensors")

    def make(loop: LoopConfig) -> Stage:
        return SegmenterDefinition(
            config=job.preset.segmenter,
            loop=loop,
            split=job.split(),
            labels=AVATAR_LABELS,
            ws=labelled["ws"],
            masks=labelled["masks"].long(),
        ).build()

    _, networks = train_stage(job, "segmenter", job.preset.segmenter_loop, make)
    job.save("segmenter", networks)


def train_mapper(job: Job) -> None:
    """Train the mapper of masks."""

    def make(loop: LoopConfig) -> Stage:
        return MapperDefinition(
            config=job.preset.mapper,
            loop=loop,
            frozen=Frozen(job.split(), job.get("clusters"), job.get("rearranger")),
            segmenter=job.get("segmenter"),
            labels=AVATAR_LABELS,
            discriminator=job.get("rearranger", "discriminator"),
            pictures=job.pool,
        ).build()

    _, networks = train_stage(job, "mapper", job.preset.mapper_loop, make)
    job.save("mapper", networks)


def train_detail(job: Job) -> None:
    """Train the detail network of the mapper."""

    def make(loop: LoopConfig) -> Stage:
        return DetailDefinition(
            config=job.preset.detail,
            loop=loop,
            frozen=Frozen(job.split(), job.get("clusters"), job.get("rearranger")),
            segmenter=job.get("segmenter"),
            mapper=job.get("mapper"),
            labels=AVATAR_LABELS,
            discriminator=job.get("generator", "discriminator"),
            mode=job.preset.mapper.proxy_mask_mode,
        ).build()

    _, networks = train_stage(job, "detail", job.preset.detail_loop, make)
    job.save("detail", networks)


# ----------------------------------------------------------------------------------------------------------------- results


def write_bundle(job: Job) -> None:
    """Write the bundle."""
    bundle = Bundle(
        generator=job.get("generator"),
        cut=job.preset.cut,
        clusters=job.get("clusters"),
        rearranger=job.get("rearranger"),
        labels=AVATAR_LABELS,
        segmenter=job.get("segmenter"),
        mappers={"mask": job.get("mapper")},
        details={"mask": job.get("detail")},
        name=f"avatars-{job.preset.resolution}",
        about={
            "proxy_mask_mode": job.preset.mapper.proxy_mask_mode,
            "trained": job.report["stages"],
            "licence": "weights Apache-2.0; made from avatars by Pablo Stanley (avataaars.com, free for personal and commercial use)",
        },
    )
    bundle.save(job.work / "bundle")
    job.export()


def write_sheet(job: Job) -> None:
    """Write a sheet: samples; composed avatars, their masks, and pictures painted from these masks in two other styles."""
    assert job.pool is not None
    synth = Synthesizer.from_pretrained(job.work / "bundle", device=job.device)
    real = job.pool.images(range(SHOWN)).cpu()
    masks = AVATAR_LABELS.colors[job.pool.masks(range(SHOWN)).numpy()]
    with torch.no_grad():
        samples = synth.split.generator(synth.split.generator.z(range(SHOWN)).to(job.device))
    painted = [np.stack([np.asarray(synth.generate(mask, style=seed).picture) for mask in masks]) for seed in (1, 2)]
    tile([to_uint8(samples), to_uint8(real), masks, *painted]).save(job.work / "sheet.jpg", quality=92)


def run(args: argparse.Namespace) -> int:
    """Train until the time is used up; 0 when the bundle is written, 3 when a further call has to go on."""
    preset = load_preset(str(args.preset))
    pool = ComposedAvatars(args.work.with_name(f"{args.work.name}.composed"), preset.resolution, args.capacity, args.workers)
    torch.backends.cudnn.benchmark = True  # every step has the same shapes
    torch.backends.cudnn.allow_tf32 = True
    if args.source is not None and unpack(args.source, args.work):
        print(f"goes on from {args.source}", flush=True)
    args.work.mkdir(parents=True, exist_ok=True)
    device = resolve_device(args.device)
    job = Job(args.work, args.out, preset, args.seconds, args.reserve, args.later, device)
    job.pool = pool
    job.report["torch"] = torch.__version__
    try:
        waited = pool.wait(args.first)
        pool.to(device)
        job.say(f"{len(pool)} pictures are composed, {waited:.1f} s waited; {job.machine}, torch {torch.__version__}")
        stages = {
            "generator": lambda: train_generator(job, args.start),
            "clusters": lambda: make_clusters(job),
            "rearranger": lambda: train_rearranger(job),
            "annotator": lambda: train_annotator(job),
            "segmenter": lambda: train_segmenter(job),
            "mapper": lambda: train_mapper(job),
            "detail": lambda: train_detail(job),
        }
        for name, work in stages.items():
            if job.is_done(name):
                job.load(name)
            else:
                work()
                job.say(f"{name}: done; {len(pool)} pictures are composed")
        write_bundle(job)
        write_sheet(job)
        job.export()
        job.say(f"the bundle is written: {args.work / 'bundle'}, and in the files in {args.out}")
        return 0
    except OutOfTime:
        job.export()
        job.say("the time is used up: run the same command again, with --from where the files of --out lie now")
        return 3
    finally:
        pool.stop()


# --------------------------------------------------------------------------------------------------- before, and afterwards


def prepare(args: argparse.Namespace) -> int:
    """Put the start as float16 and the drawings into a folder that travels to the machine."""
    generator, discriminator = start_networks(args.start)
    generator.save_pretrained(args.out / "start" / "generator", half=True)
    if discriminator is not None:
        discriminator.save_pretrained(args.out / "start" / "discriminator", half=True)
    target = args.out / "site" / "robohash" / "sets" / AVATARS.folder
    if not target.is_dir():
        temporary = target.with_name(f"{target.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        _smaller_drawings(temporary)
        os.replace(temporary, target)
    (args.out / "site" / "robohash" / "__init__.py").write_text("")  # so that it goes before an installed one
    total = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {total / MIB:.1f} MiB")
    return 0


def _smaller_drawings(target: Path) -> None:
    """The drawings as lossless WebP, half their size, under their old names: Pillow goes by a file's content."""
    import robohash

    source = Path(robohash.__file__).parent / "sets" / AVATARS.folder
    for path in sorted(source.rglob("*.png")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as opened:
            picture = opened.convert("RGBA")
        picture.save(copy, "WEBP", lossless=True, exact=True, method=2, quality=30)
        with Image.open(copy) as again:
            if not np.array_equal(np.asarray(again.convert("RGBA")), np.asarray(picture)):
                raise ProxymaskError(f"{path} is not the same as WebP: carry the drawings of the package as they are")


def sizes(args: argparse.Namespace) -> int:
    """Write networks of full size with random weights, in the middle of the generator and at the end, and check the files."""
    preset, device = load_preset(str(args.preset)), torch.device("cpu")
    for what, fill in (("in the generator stage", _fill_unfinished), ("at the end", _fill_finished)):
        shutil.rmtree(args.work, ignore_errors=True)
        shutil.rmtree(args.out, ignore_errors=True)
        args.work.mkdir(parents=True)
        job = Job(args.work, args.out, preset, 1.0, 0.0, 0.0, device)
        fill(job)
        job.export()
        found = [path for path in args.out.rglob("*") if path.is_file()]
        shown = ", ".join(f"{path.name} {path.stat().st_size / MIB:.1f}" for path in found)
        print(f"{what}: {len(found)} files, MiB: {shown}")
        if len(found) > MOST_FILES or any(path.stat().st_size > MOST_BYTES for path in found):
            raise ProxymaskError(f"{what}: more than {MOST_FILES} files, or one above {MOST_BYTES / MIB:.0f} MiB")
    return 0


def _random_networks(job: Job) -> tuple[Generator, Discriminator]:
    generator = new_generator(job.preset.generator, job.preset.resolution, 0)
    return generator, new_discriminator(generator, 0)


def _fill_unfinished(job: Job) -> None:
    generator, discriminator = _random_networks(job)
    kinds = {"module.generator": generator, "module.discriminator": discriminator, "average.generator": generator}
    folder = job.work / "generator" / "checkpoint-00000001"
    folder.mkdir(parents=True)
    save_tensors(folder / "state.safetensors", {f"{name}.{key}": v for name, net in kinds.items() for key, v in net.state_dict().items()})
    write_json(folder / "state.json", {"step": 1})


def _fill_finished(job: Job) -> None:
    preset, (generator, discriminator) = job.preset, _random_networks(job)
    job.save("generator", {"generator": generator, "discriminator": discriminator})
    split = job.split()
    clusters = ProxyClusters(preset.num_clusters, split.channels, preset.cut, cut=preset.cut)
    clusters.centroids.copy_(torch.nn.functional.normalize(torch.randn_like(clusters.centroids)))
    job.save("clusters", {"clusters": clusters})
    loop = dataclasses.replace(preset.rearranger_loop, steps=10, device="cpu")
    made = RearrangerDefinition(config=preset.rearranger, loop=loop, split=split, clusters=job.get("clusters"), rms=(1.0, 1.0)).build()
    job.save("rearranger", {"rearranger": made.rearranger, "discriminator": discriminator})
    job.save("annotator", {"net": UNetSegmenter(len(AVATAR_LABELS))})
    widths = [generator.synthesis.channels(side) for side in generator.synthesis.block_resolutions]
    job.save("segmenter", {"segmenter": FewShotSegmenter(widths, preset.resolution, len(AVATAR_LABELS))})
    frozen = Frozen(job.split(), job.get("clusters"), job.get("rearranger"))
    mapper = MapperDefinition(config=preset.mapper, loop=loop, frozen=frozen, segmenter=job.get("segmenter"), labels=AVATAR_LABELS)
    job.save("mapper", {"mapper": mapper.new_mask_mapper()})
    channels = generator.synthesis.channels(2 * preset.cut)
    job.save("detail", {"detail": DetailNetwork(len(AVATAR_LABELS), channels, preset.resolution, preset.cut, preset.detail.width)})
    job.pool = ComposedAvatars(job.work.with_name(f"{job.work.name}.composed"), preset.resolution, SHOWN, 1)
    job.pool.wait(SHOWN)
    job.pool.stop()
    write_bundle(job)
    write_sheet(job)


def main(arguments: list[str] | None = None) -> int:
    """Read the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for name, verb in (("prepare", prepare), ("run", run), ("sizes", sizes)):
        one = verbs.add_parser(name, help=(verb.__doc__ or "").splitlines()[0])
        one.set_defaults(verb=verb)
        one.add_argument("--out", type=Path, required=True, help="folder of the results")
        if name != "sizes":
            one.add_argument("--start", type=Path, required=True, help="run, or folder of a generator and its discriminator")
        if name != "prepare":
            one.add_argument("--preset", type=Path, default=HERE / "avatars256.json", help="settings of all stages")
            one.add_argument("--work", type=Path, default=Path("runs/avatars256"), help="folder of the stages")
        if name == "run":
            one.add_argument("--seconds", type=float, required=True, help="time of this call")
            one.add_argument("--later", type=float, default=0.0, help="seconds that later calls will have")
            one.add_argument("--reserve", type=float, default=25.0, help="seconds of this call for writing")
            one.add_argument("--from", dest="source", type=Path, help="folder of the files that the last call wrote to --out")
            one.add_argument("--device", default="auto")
            one.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 1) - 2), help="processes that compose pictures")
            one.add_argument("--capacity", type=int, default=40_000, help="most pictures that are composed")
            one.add_argument("--first", type=int, default=1_000, help="pictures that are composed before training starts")
    args = parser.parse_args(arguments)
    try:
        return int(args.verb(args))
    except ProxymaskError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
