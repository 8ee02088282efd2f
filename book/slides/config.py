"""Settings of nbconvert for the lectures.

`jupyter nbconvert --to slides --config book/slides/config.py chapters/vgg.ipynb` writes
_build/slides/vgg.slides.html: one file that needs no other, no network and no kernel.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "extensions")]  # lecture.py; claims, shared_scripts

c = get_config()  # noqa: F821 (traitlets gives it to a settings file)
c.SlidesExporter.extra_template_basedirs = [str(HERE)]
c.SlidesExporter.template_name = "deck"
c.FilesWriter.build_directory = str(HERE.parents[1] / "_build" / "slides")
