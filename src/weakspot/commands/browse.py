"""What `browse.py` does."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from weakspot.commands.earlier import check_trusted, parts_of
from weakspot.commands.running import say, typed_command
from weakspot.config import all_words

if TYPE_CHECKING:
    from weakspot.app.audits import Words
    from weakspot.app.server import Server


def main(cfg: DictConfig, folder: Path) -> None:
    import webbrowser

    what = cfg.tree or f"runs under {', '.join(cfg.folders)}"
    with serving(cfg) as server:
        say(f"{what} → {server.address} (Ctrl+C ends)")
        if cfg.open:
            webbrowser.open(server.address)
        server.serve_forever()


@contextmanager
def serving(cfg: DictConfig) -> Iterator[Server]:
    """The server that a line asks for; what it has started ends with it."""
    from weakspot.app.site import Site, make_page_server, make_server

    if not 0 <= cfg.port < 1 << 16:
        raise ValueError(f"port={cfg.port} is none: ports are 1 to 65535, and port=0 takes any that is free")
    if not cfg.folders:
        raise ValueError("folders=[] names none: name the folders of runs, folders=[outputs]")
    if cfg.tree:
        written = page_of_tree(cfg.tree)
        with _address(cfg):
            server = make_page_server(written, cfg.port, cfg.host, cfg.token)
        yield server
        return
    check_trusted(cfg.trust)
    if cfg.root is not None and not Path(cfg.root).is_dir():
        raise ValueError(f"root={cfg.root} is no folder: name the one in which the data lie now")
    parts = partial(parts_of, trust=tuple(cfg.trust), root=cfg.root)
    site = Site([Path(name) for name in cfg.folders], words_of(cfg), parts)
    with _address(cfg):
        server = make_server(site, cfg.port, cfg.host, cfg.token)
    try:
        yield server
    finally:
        site.audits.stop()


@contextmanager
def _address(cfg: DictConfig) -> Iterator[None]:
    """Say what to do where an address cannot be had."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = "port=0 takes any that is free"
        else:
            remedy = "host=127.0.0.1 is this machine alone, host=0.0.0.0 all of its addresses"
        said = (error.strerror or str(error)).partition(" (")[0]
        raise OSError(f"port={cfg.port} of host={cfg.host} cannot be had ({said}); {remedy}") from error


def words_of(cfg: DictConfig) -> Words:
    """What may be chosen for an uploaded model: every word but `module`, which runs code that the line names."""
    from weakspot.app.audits import Words

    mine = Path(sys.argv[0])
    discover = mine.with_name(mine.name.replace("browse", "discover"))  # discover.py, or weakspot-discover
    models = [word for word in all_words("model") if word != "module"]
    return Words(
        (sys.executable, str(discover)),
        tuple(all_words("dataset")),
        tuple(models),
        tuple(all_words("method")),
        tuple(cfg.words),
    )


def page_of_tree(file: str) -> str:
    from weakspot.interop.udis_tree import read
    from weakspot.pipeline.discover import page_of_tree

    return page_of_tree(read(file), file, typed_command())
