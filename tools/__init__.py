"""Programs that write files of this repository from its code; not a part of the package."""
