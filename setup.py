"""All metadata are in setup.cfg. A build starts clean: a wheel would hold all that build/ does."""

import shutil

from setuptools import setup
from setuptools.command.build import build


class CleanBuild(build):
    """The build, without what an earlier one has left."""

    def run(self) -> None:
        shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build": CleanBuild})
