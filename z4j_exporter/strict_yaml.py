"""Reads YAML of configuration files: no key twice, all scalars stay text, no input quoted."""

import re
from typing import Any

import yaml

from z4j_exporter.errors import ConfigError


class TextLoader(yaml.BaseLoader):
    """YAML whose scalars stay text, and whose keys are there once.

    A name ``007`` or ``no`` keeps its writing; a second ``role`` cannot hide the first.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a dictionary; raises ConstructorError for a key that is there twice."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    problem="a key must be text", problem_mark=key.start_mark
                )
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem="a key is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load(text: str, *, name: str) -> Any:
    """Return the document in a text: strings, lists and dictionaries; None for an empty one.

    Raises ConfigError that names the file and the line, and quotes nothing of it.
    """
    try:
        # TextLoader is yaml.BaseLoader, which makes strings, lists and dicts only.
        return yaml.load(text, Loader=TextLoader)  # noqa: S506 - see the line above
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not valid YAML: {_problem(error)}") from None
    except RecursionError:
        raise ConfigError(f"{name} is not valid YAML: it is nested too deeply") from None


def _problem(error: yaml.YAMLError) -> str:
    # Not str(error): it quotes the lines around the place.
    problem = getattr(error, "problem", None) or "it cannot be read"
    if isinstance(error, yaml.composer.ComposerError):
        problem = "a value that begins with * or & needs quotes"  # yaml quotes the value
    problem = re.sub("'![^']*'", "a value that begins with !", problem)  # so it does here
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}: {problem}" if mark else str(problem)
