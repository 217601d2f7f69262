"""The built-in world of moving coloured shapes, and the judge that reads its videos."""
