"""One folder, one adapter: a new one takes the place of the one before, all of it or nothing."""

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import InputError
from ..json_files import clear_errors
from . import whole

CONFIGURATIONS = {"adapter_config.json", "adapter_setup.json", "adapter_fusion_config.json", "config.json"}
ENCODER = "encoder.safetensors"
FILES = (  # of adapters, in all formats; what AdapterHub's fusion joins are adapters in folders of their own
    "adapter_config.json", "adapter_model.safetensors", ENCODER,
    "adapter.safetensors", "model_head.safetensors",
    "adapter_setup.json", "*/adapter_fusion_config.json", "*/model_adapter_fusion.safetensors",
)  # fmt: skip


@contextmanager
def replace_adapter(folder):
    """A folder to write an adapter into, whose files move into `folder` once they are all on disk.

    A kill never leaves tensors beside another adapter's configuration. Where the configuration is as it was
    and all tensors are in one file, they take their place in one rename: there is the old adapter, or the
    new one. (An encoder is beside its table, and is compared with it when it is read.) Else the old
    configuration goes first and the new one comes last: without one a folder is no adapter, and is refused.
    """
    with clear_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=folder, prefix=".adapter.", suffix=".tmp"))
        try:
            yield new
            move(new, folder)
        except InputError as error:  # what it says is said of the file as it is to be
            raise InputError(str(error).replace(str(new), str(folder))) from None
        finally:
            shutil.rmtree(new, ignore_errors=True)


def move(new, folder):
    """The files of `new` into `folder`, in place of the adapter there."""
    files = {path.relative_to(new) for path in new.rglob("*") if path.is_file()}
    old = {path.relative_to(folder) for pattern in FILES for path in folder.glob(pattern)}
    old |= {Path(name) for name in whole.FILES if whole.is_adapter(folder)}
    is_configuration = lambda file: file.name in CONFIGURATIONS
    several = sum(file.suffix == ".safetensors" and file.name != ENCODER for file in files) > 1
    changed = any(differ(new / file, folder / file) for file in filter(is_configuration, files))
    if old - files or several or changed:
        for file in sorted(old | set(filter(is_configuration, files)), key=is_configuration, reverse=True):
            (folder / file).unlink(missing_ok=True)
            if file.parent != Path():
                with suppress(OSError):  # it holds more, or is there no longer
                    (folder / file.parent).rmdir()
    for file in sorted(files, key=is_configuration):
        (folder / file).parent.mkdir(exist_ok=True)
        os.replace(new / file, folder / file)


def differ(a, b):
    """Do two small files differ, the second of which may be missing?"""
    return not b.is_file() or a.read_bytes() != b.read_bytes()
