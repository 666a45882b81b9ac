"""What `browse.py` does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from weakspot.commands.running import say, typed_command

if TYPE_CHECKING:
    from weakspot.report.server import BoundedServer


def main(cfg: DictConfig, folder: Path) -> None:
    import webbrowser

    what = cfg.tree or f"reports under {', '.join(cfg.folders)}"
    with serving(cfg) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        say(f"{what} → {address} (Ctrl+C ends)")
        if cfg.open:
            webbrowser.open(address)
        server.serve_forever()


def serving(cfg: DictConfig) -> BoundedServer:
    from weakspot.report.browser import make_page_server, make_server

    port = cfg.port
    if not 0 <= port < 1 << 16:
        raise ValueError(f"port={port} is none: ports are 1 to 65535, and port=0 takes any that is free")
    page = page_of_tree(cfg.tree) if cfg.tree else None
    try:
        return (
            make_server([Path(name) for name in cfg.folders], port)
            if page is None
            else make_page_server(page, port)
        )
    except OSError as error:
        raise OSError(
            f"port={port} cannot be had ({error.strerror}); port=0 takes any that is free"
        ) from error


def page_of_tree(file: str) -> str:
    from weakspot.methods.udis.published import read
    from weakspot.pipeline.discover import page_of_tree

    return page_of_tree(read(file), file, typed_command())
