"""What the README tells a new user to type and to write, so that a test does just that."""

import re

from daemon import TREE

_SECTION = re.search(r"^## Set it up in five minutes\n(.*?)^## ", (TREE / "README.md").read_text(), re.M | re.S).group(1)
# Debian's convention: `# ` is root's prompt, `$ ` another user's, and `> ` goes on with the line before.
_PROMPT = re.compile(r"^[#$>] ?", re.M)


def _blocks(language: str) -> list:
    return re.findall(rf"^```{language}\n(.*?)^```", _SECTION, re.M | re.S)


def configuration() -> str:
    """Its /etc/nullmta.toml."""
    (text,) = _blocks("toml")
    return text


def commands() -> list:
    """Its commands in their order; one that goes on is one, with its lines."""
    lines = []
    for block in _blocks("console"):
        for line in block.splitlines():
            if line.startswith(">"):
                lines[-1] += "\n" + _PROMPT.sub("", line)
            else:
                lines.append(_PROMPT.sub("", line))
    return lines
