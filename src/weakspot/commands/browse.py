"""Serves the explorer: the command `browse.py`."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from weakspot.commands.component_builders import check_trusted_modules, run_previews
from weakspot.commands.run_logging import log_on_main, typed_command
from weakspot.config.choices import all_choices

if TYPE_CHECKING:
    from weakspot.app.server import Server
    from weakspot.app.uploaded_models import UploadChoices


def main(cfg: DictConfig, folder: Path) -> None:
    """Serve the explorer, or the page of one tree, until it is interrupted."""
    import webbrowser

    any_folder_exists = any(Path(name).is_dir() for name in cfg.folders)
    source = (
        cfg.tree
        or f"runs under {', '.join(cfg.folders)}{'' if any_folder_exists else ' (no such folder yet)'}"
    )
    with open_server(cfg) as server:
        log_on_main(f"{source} → {server.address} (Ctrl+C ends)")
        if cfg.open:
            webbrowser.open(server.address)
        server.serve_forever()


@contextmanager
def open_server(cfg: DictConfig) -> Iterator[Server]:
    """Yield the server that the configuration describes, and finally end the audits that it has started.

    Raises:
        ValueError: If a setting cannot be used.
        OSError: If the address cannot be used.
    """
    from weakspot.app.site import Site, make_page_server, make_server

    if not 0 <= cfg.port < 1 << 16:
        raise ValueError(
            f"port={cfg.port} is not a port: ports are 1 to 65535, and port=0 takes any that is free"
        )
    if not cfg.folders:
        raise ValueError("folders=[] names no folder: name the folders of runs, folders=[outputs]")
    if cfg.tree:
        html = render_tree_file(cfg.tree)
        with _explained_address_errors(cfg):
            server = make_page_server(html, cfg.port, cfg.host, cfg.token)
        yield server
        return
    check_trusted_modules(cfg.trust)
    if cfg.root is not None and not Path(cfg.root).is_dir():
        raise ValueError(f"root={cfg.root} is not a folder: name the one in which the data lie now")
    previews_of = partial(run_previews, trust=tuple(cfg.trust), root=cfg.root)
    data_folders = [Path.cwd(), *([] if cfg.root is None else [Path(cfg.root)])]
    site = Site([Path(name) for name in cfg.folders], upload_choices(cfg), previews_of, data_folders)
    with _explained_address_errors(cfg):
        server = make_server(site, cfg.port, cfg.host, cfg.token)
    try:
        yield server
    finally:
        site.audits.stop()


@contextmanager
def _explained_address_errors(cfg: DictConfig) -> Iterator[None]:
    """Explain what to do if an address cannot be used."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = "port=0 takes any that is free"
        else:
            remedy = "host=127.0.0.1 is this machine alone, host=0.0.0.0 all of its addresses"
        reason = (error.strerror or str(error)).partition(" (")[0]
        raise OSError(f"port={cfg.port} of host={cfg.host} cannot be used ({reason}); {remedy}") from error


def upload_choices(cfg: DictConfig) -> UploadChoices:
    """Return what may be chosen for an uploaded model: everything but `model=module`, which runs the user's code."""
    from weakspot.app.uploaded_models import UploadChoices

    script = Path(sys.argv[0])
    # discover.py, or weakspot-discover
    discover = script.with_name(script.name.replace("browse", "discover"))
    models = [word for word in all_choices("model") if word != "module"]
    return UploadChoices(
        (sys.executable, str(discover)),
        tuple(all_choices("dataset")),
        tuple(models),
        tuple(all_choices("method")),
        tuple(cfg.words),
    )


def render_tree_file(file: str) -> str:
    """Return the report of a tree file of the published UDIS tool."""
    from weakspot.interop.udis_tree import read
    from weakspot.pipeline.discover import render_tree

    return render_tree(read(file), file, typed_command())
