"""The option that chooses between text for people and JSON for programs."""

import click

#: Decorates a command; hands it ``form``, text or json.
output_option = click.option(
    "--output",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or for programs.",
)
