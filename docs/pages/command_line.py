"""Every verb with its arguments and options, from the program itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from docs.pages.said import code, table
from docs.pages.said import page as put_together
from xpcs_dask.cli.main import app


def page() -> str:
    """One section a verb."""
    found = list(verbs())
    return put_together(
        "# Verbs and options",
        "What `xpcs-dask VERB --help` says, for all verbs at once. The [guide](../cli.md) says when to use what; "
        "[exit codes](codes.md#exit-codes) stand with the other codes.",
        table(("verb", ""), ((f"[`{name}`](#{_anchor(name)})", _said(verb)) for name, verb in found)),
        *(_section(name, verb) for name, verb in found),
    )


def program() -> Any:
    """Return the program as a click command."""
    return typer.main.get_command(app)


def verbs() -> Iterator[tuple[str, Any]]:
    """Name and command of every verb, also of those below another (`cache list`)."""
    for name, verb in program().commands.items():
        if hasattr(verb, "commands"):
            yield from ((f"{name} {below}", command) for below, command in verb.commands.items())
        else:
            yield name, verb


def _anchor(name: str) -> str:
    return f"verb-{name.replace(' ', '-')}"


def _said(verb: Any) -> str:
    """First paragraph of what the verb says of itself."""
    return " ".join((verb.help or "").split("\n\n")[0].split())


def _section(name: str, verb: Any) -> str:
    arguments = [one for one in verb.params if one.param_type_name == "argument"]
    options = [one for one in verb.params if one.param_type_name == "option"]
    words = " ".join(_argument(one) for one in arguments)
    usage = " ".join(part for part in (f"xpcs-dask {name}", words, "[OPTIONS]" if options else "") if part)
    rows = [(code(_argument(one)), one.help or "", "needed" if one.required else "") for one in arguments]
    rows += [(_spelled(one), one.help or "", _default(one)) for one in options]
    return put_together(
        f"({_anchor(name)})=\n## {name}",
        "\n\n".join(" ".join(part.split()) for part in (verb.help or "").split("\n\n")),
        f"    {usage}",
        table(("", "meaning", "default"), rows),
    ).rstrip("\n")


def _argument(one: Any) -> str:
    return f"{str(one.metavar or one.name).upper().replace('_', ' ')}{'...' if one.nargs == -1 else ''}"


def _spelled(option: Any) -> str:
    """All spellings of an option; of a switch that can be turned off, those too."""
    return ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))


def _default(option: Any) -> str:
    """Return the default as it would be typed; a switch that is not given is off."""
    value = option.default() if callable(option.default) else option.default
    if option.required:
        return "needed"
    if option.is_flag:
        return "on" if value else "off" if value is not None else ""
    return "" if value in (None, "", (), []) else code(value)
