"""Programs that the suite starts, one process for each framework and configuration, and that do what it asks for."""
