"""Where events come from: one file for each transport, all behind base.Source."""
