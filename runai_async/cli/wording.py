"""How errors are worded on the command line: in lower case, options by their flags, nothing of Python."""

from __future__ import annotations

import builtins
import re

import click

from runai_async.cli.text import alternatives, clean, quoted, similar
from runai_async.errors import ApiError, RunaiError

_FLAGS = {
    "base_url": "--base-url",
    "ca_file": "--ca-file",
    "token_url": "RUNAI_TOKEN_URL",
    "client_id": "RUNAI_CLIENT_ID",
    "client_secret": "RUNAI_CLIENT_SECRET",
}
"""What the arguments of `RunaiClient` are called on the command line."""
_PHRASES = {"pass allow_http=True": "give --allow-http", "given as after": "given as --after"}
_ARGUMENT = re.compile(rf"\b({'|'.join(_FLAGS)})\b(?! *=)")

_REQUEST = re.compile(r"^[A-Z]+ https?://\S+: ")


def in_flags(text: str) -> str:
    """Return an error's text with arguments called by their flags, and without classes."""
    for phrase, ours in _PHRASES.items():
        text = text.replace(phrase, ours)
    return _ARGUMENT.sub(lambda found: _FLAGS[found[1]], without_classes(text))


def _names(kind: type[RunaiError]) -> list[str]:
    """Return the name of a class of errors, and those of all below it."""
    return [kind.__name__, *(name for below in kind.__subclasses__() for name in _names(below))]


_BEFORE = r"(^|\(|[,:]? (?:with )?)"
_CLASS = re.compile(rf"{_BEFORE}(?:{'|'.join(_names(RunaiError))}): ")
_FOREIGN = "|".join(
    [
        *(
            name
            for name, kind in vars(builtins).items()
            if isinstance(kind, type) and issubclass(kind, OSError)
        ),
        r"(?:Unix)?(?:Client|Server|Connection|Socket|SSL)\w*Error|ContentTypeError|gaierror",
    ]
)
_FOREIGN_CLASS = re.compile(rf"{_BEFORE}(?:{_FOREIGN}): ([A-Z](?=[a-z]))?")
_FOREIGN_ALONE = re.compile(rf"(?<=: )(?:{_FOREIGN})$")
_ADDRESSES = re.compile(r" \[(?:Multiple exceptions: )?(?:\[Errno \d+\] )?Connect call failed .*?\)\](?!,)")
_NUMBER = re.compile(r"\[Errno -?\d+\] ")


def without_classes(text: str) -> str:
    """Return a message without the names of classes: they say little more than the text behind them."""
    for redundant in (_ADDRESSES, _NUMBER):
        text = redundant.sub("", text)
    text = _FOREIGN_ALONE.sub("the connection failed", text)
    text = _FOREIGN_CLASS.sub(lambda found: _joined(found[1]) + (found[2] or "").lower(), text)
    return _CLASS.sub(lambda found: _joined(found[1]), text)


def _joined(before: str) -> str:
    return before if before in {"", "("} else ": "


def plain(error: RunaiError) -> str:
    """Describe an error in one line."""
    return without_classes(clean(str(error)))


def reason(error: RunaiError) -> str:
    """Describe an error without its request, which adds little to a workload's name."""
    if isinstance(error, ApiError):
        return clean(f"{error.status} {error.message} {error.details or ''}")
    return _REQUEST.sub("", plain(error))


REFUSALS = {"NotFoundError": "not found", "PermissionDeniedError": "may not be read by this account"}
"""What the refusals of a workload mean."""
_FAILURES = {
    **REFUSALS,
    "AuthenticationError": "the token is refused",
    "DecodeError": "the response cannot be read",
    "RateLimitError": "too many requests",
    "TransportError": "no connection",
    "AttemptTimeoutError": "no response in time",
    "DeadlineExceededError": "no response in time",
}


def failure(name: str) -> str:
    """Describe a failed poll of which only the class of its error is known."""
    return _FAILURES.get(name, "the control plane fails")


def name_of(param: click.Parameter | None) -> str:
    """Return the name of an argument or option as the help writes it."""
    if isinstance(param, click.Option):
        return max(param.opts, key=len)
    return param.human_readable_name.strip("[].") if param is not None else "a value"


def usage_text(error: click.ClickException) -> str:
    """Return the text of an error of click's, or of one of ours, which is worded already."""
    if isinstance(error, click.NoSuchOption):
        hint = _options_like(error.option_name, error.ctx)
        return f"no such option {quoted(error.option_name)}{hint and f' ({hint})'}"
    if isinstance(error, click.MissingParameter):
        return f"missing {error.param_type or _kind(error.param)} {name_of(error.param)}"
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{name_of(error.param)}: {_lower(error.message)}"
    return _lower(error.format_message())


def _options_like(name: str, ctx: click.Context | None) -> str:
    """Write which long options of a command may have been meant."""
    params = [] if ctx is None else ctx.command.get_params(ctx)
    known = [flag[2:] for param in params for flag in param.opts if flag.startswith("--")]
    meant = [quoted(f"--{flag}") for flag in similar(name.lstrip("-"), known)]
    return f"did you mean {alternatives(meant, 'or')}?" if meant else ""


def _kind(param: click.Parameter | None) -> str:
    return "parameter" if param is None else param.param_type_name


def _lower(text: str) -> str:
    """Return a sentence without its capital and its full stop; a name in capitals stays."""
    text = clean(text).removesuffix(".")
    is_sentence = text[:1].isupper() and text[1:2].islower()
    return text[:1].lower() + text[1:] if is_sentence else text
