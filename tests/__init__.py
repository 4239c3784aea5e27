"""The tests: unit (pure), integration (one real server each), acceptance (the command)."""
