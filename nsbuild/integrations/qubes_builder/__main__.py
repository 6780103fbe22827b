"""python -m nsbuild.integrations.qubes_builder: prints the directory for `plugins-dirs`."""

from nsbuild.integrations.qubes_builder import plugins_dir

print(plugins_dir())
