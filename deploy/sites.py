"""Finding a site: those shipped with Sallyport, or a directory of the operator's own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from deploy.private_files import private_directory, write_private
from schemas.agreements import SiteError
from schemas.settings import Settings
from schemas.site import Agency, Site, read_site

SITES_DIR: Final = Path(__file__).with_name("sites")


def shipped_sites() -> dict[str, Path]:
    """The sites shipped with Sallyport: name to directory."""
    return {path.parent.name: path.parent for path in sorted(SITES_DIR.glob("*/site.toml"))}


def load_site(settings: Settings) -> Site:
    """The site that the settings name.

    `settings.site_file` is a directory or its site.toml, and then the name comes from the file; else it is
    the shipped site called `settings.site`. Raises SiteError with what is wrong.
    """
    if settings.site_file is not None:
        path = settings.site_file
        return read_site(path.parent if path.name == "site.toml" else path)
    shipped = shipped_sites()
    if settings.site not in shipped:
        raise SiteError(
            f"no site {settings.site!r}: shipped are {', '.join(shipped)}; "
            "for one of your own set SALLYPORT_SITE_FILE to its directory"
        )
    return read_site(shipped[settings.site])


def agency_called(site: Site, name: str) -> Agency:
    """An agency of a site. Raises SiteError, naming those that there are."""
    agency = site.agency_by_id.get(name)
    if agency is None:
        raise SiteError(f"no agency {name!r} on site {site.name}; there are {', '.join(site.agency_by_id)}")
    return agency


def settings_for(settings: Settings, site: str | None) -> Settings:
    """The settings with a command's `--site` in them: a shipped site's name, or the directory of a site."""
    if site is None:
        return settings
    path = Path(site)
    if (path / "site.toml").is_file() or path.name == "site.toml":
        return settings.model_copy(update={"site_file": path})
    return settings.model_copy(update={"site_file": None, "site": site})


def keep_site_files(settings: Settings, site: Site) -> None:
    """Leave a copy of the files of a site of the operator's own in `home/sites/<name>`, for backups. Raises OSError."""
    given = settings.site_file
    if given is None:
        return
    source = (given.parent if given.name == "site.toml" else given).resolve()
    kept = (settings.home.expanduser() / "sites" / site.name).resolve()
    if kept in (source, *source.parents) or source.is_relative_to(SITES_DIR.resolve()):
        return
    shutil.rmtree(kept, ignore_errors=True)
    for path in (source / "site.toml", *sorted((source / "agreements").glob("*.toml"))):
        target = kept / path.relative_to(source)
        private_directory(target.parent)
        write_private(target, path.read_bytes())
