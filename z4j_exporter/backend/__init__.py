"""The result backend: asked for the groups of tasks, which events do not tell."""
