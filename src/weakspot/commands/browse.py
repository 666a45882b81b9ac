"""What `browse.py` does."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from weakspot.commands.running import say, typed_command

if TYPE_CHECKING:
    from weakspot.app.server import Server


def main(cfg: DictConfig, folder: Path) -> None:
    import webbrowser

    what = cfg.tree or f"reports under {', '.join(cfg.folders)}"
    server = serving(cfg)
    say(f"{what} → {server.address} (Ctrl+C ends)")
    if cfg.open:
        webbrowser.open(server.address)
    server.serve_forever()


def serving(cfg: DictConfig) -> Server:
    from weakspot.app.site import make_page_server, make_server

    port, host = cfg.port, cfg.host
    if not 0 <= port < 1 << 16:
        raise ValueError(f"port={port} is none: ports are 1 to 65535, and port=0 takes any that is free")
    page = page_of_tree(cfg.tree) if cfg.tree else None
    try:
        if page is not None:
            return make_page_server(page, port, host)
        return make_server([Path(name) for name in cfg.folders], port, host)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = "port=0 takes any that is free"
        else:
            remedy = "host=127.0.0.1 is this machine alone, host=0.0.0.0 all of its addresses"
        said = (error.strerror or str(error)).partition(" (")[0]
        raise OSError(f"port={port} of host={host} cannot be had ({said}); {remedy}") from error


def page_of_tree(file: str) -> str:
    from weakspot.methods.udis.published import read
    from weakspot.pipeline.discover import page_of_tree

    return page_of_tree(read(file), file, typed_command())
