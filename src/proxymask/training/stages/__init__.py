"""One definition a stage, shared by ``train``, ``fit`` and ``estimate``: its inputs, its identity, how its networks are built.

| stage | definition | one step | source |
|---|---|---|---|
| generator | ``generator.py`` | ``training/generator.py`` | StyleGAN2 |
| proxy clusters | ``clusters.py`` | none, they are computed | supplement A.2, B.2 |
| rearranger | ``rearranger.py`` | ``training/rearranger.py`` | supplement A.1, A.2 |
| few-shot segmenter | ``segmenter.py`` | ``training/segmenter.py`` | supplement E |
| mapper of masks | ``mapper.py`` | ``training/mapper.py`` | supplement A.1, A.2 |
| mapper of another condition | ``condition_mapper.py`` | ``training/mapper.py`` | supplement A.1, E |
| mapper that learns from others | ``distillation.py`` | ``training/distillation.py`` | beyond the paper |
| depth network | ``depth.py`` | ``training/depth.py`` | beyond the paper |

When a loss or a regulariser is due is part of the step (``adversarial_due``, ``r1_due``, ``step_kind``). The judge
(``training/judge.py``) is no stage of a bundle: its run folder is the judge itself.
"""
