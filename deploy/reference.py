"""Reference of the commands and the settings, made from the code itself as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer

from schemas.settings import Settings

DIRECTORIES: Final[Mapping[str, str]] = {"home": "~/.local/share/sallyport", "cache": "~/.cache/sallyport"}
"""Defaults that depend on the machine, as they are on Linux."""


def commands(app: typer.Typer) -> Iterator[tuple[str, Any]]:
    """Every command of an app that does something, by what a person types, such as `import roster`; hidden ones not."""
    yield from _commands("", typer.main.get_command(app))


def _commands(prefix: str, command: Any) -> Iterator[tuple[str, Any]]:
    parts = getattr(command, "commands", None)
    if parts is None:
        yield prefix.strip(), command
        return
    for name, part in parts.items():
        if not part.hidden:
            yield from _commands(f"{prefix} {name}", part)


def parameters(command: Any) -> list[Any]:
    """The arguments and options of a command that people are told of."""
    return [one for one in command.params if not one.hidden]


def commands_page(app: typer.Typer, notice: str) -> str:
    """What each command does, with its options and an example."""
    listed = sorted(commands(app))
    lines = [
        "# Commands",
        "",
        notice,
        "",
        "What `sallyport COMMAND --help` says. All take where the bus is from the [settings](operations.md#settings).",
        "An error that can be expected is one line on standard error that begins with `sallyport:`; what each means is",
        "in [operations](operations.md#errors). Ctrl-C ends any command with exit code 130.",
        "",
        *(f"- [`sallyport {name}`](#sallyport-{name.replace(' ', '-')})" for name, _ in listed),
        "",
    ]
    for name, command in listed:
        lines += _command(name, command)
    return "\n".join(lines)


def _command(name: str, command: Any) -> Iterator[str]:
    yield from (f"## sallyport {name}", "")
    for paragraph in (command.help or "").split("\n\n"):
        if paragraph.startswith("Example: "):
            yield from ("```sh", paragraph.removeprefix("Example: ").strip(), "```", "")
        else:
            yield from (" ".join(paragraph.split()), "")
    yield from ("| option | default | meaning |", "| --- | --- | --- |")
    for one in parameters(command):
        argument = one.param_type_name == "argument"
        spelled = str(one.name).upper() if argument else ", ".join(one.opts)
        yield f"| `{spelled}` | {_default(one)} | {_cell(one.help or '')} |"
    yield ""


def _default(one: Any) -> str:
    if one.required:
        return "required"
    return "" if one.default is None or one.default is False else f"`{one.default}`"


def settings_table() -> str:
    """Every setting, with its default and meaning."""
    return "\n".join(
        [
            "| setting | default | meaning |",
            "| --- | --- | --- |",
            *(
                f"| `{setting_name(name)}` | {_setting_default(name, field)} | {_cell(field.description or '')} |"
                for name, field in Settings.model_fields.items()
            ),
        ]
    )


def setting_name(field: str) -> str:
    """The environment variable of a setting."""
    return f"{Settings.model_config['env_prefix']}{field}".upper()


def _setting_default(name: str, field: Any) -> str:
    if name in DIRECTORIES:
        return f"`{DIRECTORIES[name]}`"
    if field.default is None:
        return ""
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def with_block(page: str, name: str, content: str) -> str:
    """A page with the generated block of that name replaced. Raises ValueError where it has none."""
    begin, end = f"<!-- begin {name}, generated -->\n", f"<!-- end {name} -->"
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"no block {name!r} in the page")
    return f"{head}{begin}\n{content}\n\n{end}{tail}"
